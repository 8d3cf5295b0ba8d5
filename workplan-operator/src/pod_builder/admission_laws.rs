//! For all `LimitRange`s: a namespace admits the pods of a plan if it admits the steps as written.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, LimitRange, LimitRangeItem, LimitRangeSpec, PodSpec, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::names::{OPENER_CONTAINER, RUNNER_CONTAINER};
use kubeci_api::{Order, Workplan};
use kubeci_compiler::{Limits, first_pod_requests};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::{Placement, build};
use crate::testing::{spec, workplan_of};

type Quantities = BTreeMap<String, Quantity>;

/// For each of two resources an amount, or none.
type Amounts = [Option<u32>; 2];

fn amounts() -> impl Strategy<Value = Amounts> {
    let amount = || proptest::option::of(1..=40_u32);
    (amount(), amount()).prop_map(|(cpu, memory)| [cpu, memory])
}

fn quantities(amounts: Amounts) -> Option<Quantities> {
    let cpu = amounts[0].map(|it| ("cpu".to_owned(), Quantity(format!("{}m", it * 50))));
    let memory = amounts[1].map(|it| ("memory".to_owned(), Quantity(format!("{}Mi", it * 10))));
    let all: Quantities = cpu.into_iter().chain(memory).collect();
    (!all.is_empty()).then_some(all)
}

/// As many times half as much again as that.
fn ratios(amounts: Amounts) -> Option<Quantities> {
    let ratio = |(name, it): (&str, Option<u32>)| {
        let ratio = f64::from(it?) / 4.0 + 1.0;
        Some((name.to_owned(), Quantity(ratio.to_string())))
    };
    let all: Quantities = ["cpu", "memory"]
        .into_iter()
        .zip(amounts)
        .filter_map(ratio)
        .collect();
    (!all.is_empty()).then_some(all)
}

fn each(amounts: [Amounts; 2], choose: fn(u32, u32) -> u32) -> Amounts {
    [0, 1].map(|at| match (amounts[0][at], amounts[1][at]) {
        (Some(one), Some(other)) => Some(choose(one, other)),
        (one, _) => one,
    })
}

/// An item as the API server stores it: in order, and with the defaults that follow from its bounds.
fn item(type_: &'static str) -> impl Strategy<Value = LimitRangeItem> {
    let sparse = || prop_oneof![2 => Just([None, None]), 1 => amounts()];
    [sparse(), sparse(), sparse(), sparse(), sparse()].prop_map(move |it| {
        let [min, max, default, default_request, ratio] = it;
        let max = [0, 1].map(|at| max[at].map(|it| it.max(min[at].unwrap_or_default())));
        let within = |it: Amounts| each([each([it, max], u32::min), min], u32::max);
        let default = [0, 1].map(|at| within(default)[at].or(max[at]));
        let default_request = each([within(default_request), default], u32::min);
        let default_request = [0, 1].map(|at| default_request[at].or(default[at]).or(min[at]));
        let of_container = type_ == "Container";
        LimitRangeItem {
            type_: type_.into(),
            min: quantities(min),
            max: quantities(max),
            default: of_container.then(|| quantities(default)).flatten(),
            default_request: of_container.then(|| quantities(default_request)).flatten(),
            max_limit_request_ratio: ratios(ratio),
        }
    })
}

fn limit_ranges() -> impl Strategy<Value = Vec<LimitRange>> {
    let one = (item("Container"), proptest::option::of(item("Pod")));
    let range = one.prop_map(|(container, pod)| LimitRange {
        spec: Some(LimitRangeSpec {
            limits: [container].into_iter().chain(pod).collect(),
        }),
        ..LimitRange::default()
    });
    vec(range, 0..=2)
}

fn resources() -> impl Strategy<Value = ResourceRequirements> {
    (amounts(), amounts()).prop_map(|(requests, limits)| ResourceRequirements {
        requests: quantities(each([requests, limits], u32::min)),
        limits: quantities(limits),
        ..ResourceRequirements::default()
    })
}

/// A relay with the edges of a chain and of a fan, or tasks in a row; the steps are not all root's.
fn plan(order: Order, chain: usize, resources: &[ResourceRequirements]) -> Workplan {
    let names = (0..resources.len()).map(|at| format!("s{at}"));
    let names: Vec<String> = names.collect();
    let (serial, parallel) = names.split_at(chain.min(names.len() - 1));
    let text = if order == Order::Relay {
        let link = |at: usize| {
            if at == 0 {
                names[0].clone()
            } else {
                format!("{}:s{}", names[at], at.min(chain) - 1)
            }
        };
        let linked = (0..names.len()).map(|at| {
            if chain == 0 {
                names[at].clone()
            } else {
                link(at)
            }
        });
        format!("| {}", linked.collect::<Vec<_>>().join(" "))
    } else {
        format!("{} | {}", serial.join(" "), parallel.join(" "))
    };
    let mut spec = spec(order, &[&text, "| last"]);
    let task = &mut spec.tasks[0];
    let steps = task.serial_steps.iter_mut().chain(&mut task.parallel_steps);
    for (step, resources) in steps.zip(resources) {
        step.commands = vec!["run".into()];
        step.resources = Some(resources.clone());
    }
    spec.tasks[1].parallel_steps[0].resources = resources.first().cloned();
    spec.pod.security_context = serde_json::from_value(json!({"runAsUser": 1000})).unwrap();
    workplan_of(spec)
}

/// The steps in a pod as a user would write it, optionally with a small container instead of kubeci's own one.
fn by_hand(workplan: &Workplan, small: Option<Container>) -> PodSpec {
    let task = &workplan.spec.tasks[0];
    let container = |step: &kubeci_api::Step| Container {
        name: step.name.clone(),
        resources: step.resources.clone(),
        ..Container::default()
    };
    let parallel = task.parallel_steps.iter().map(container);
    PodSpec {
        init_containers: Some(task.serial_steps.iter().map(container).collect()),
        containers: parallel.chain(small).collect(),
        ..PodSpec::default()
    }
}

fn small() -> Container {
    let least = json!({"cpu": "100m", "memory": "32Mi"});
    Container {
        name: "small".into(),
        resources: serde_json::from_value(json!({"requests": least, "limits": least})).unwrap(),
        ..Container::default()
    }
}

fn stated(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn admitted_steps_are_admitted_as_a_plan(
        ranges in limit_ranges(),
        resources in vec(resources(), 1..=6),
        chain in 0..=4_usize,
        order in prop_oneof![Just(Order::Linear), Just(Order::Relay)],
    ) {
        let limits = Limits::of(&ranges);
        let workplan = plan(order, chain, &resources);
        let tasks: Vec<_> = workplan.spec.tasks.iter().map(|task| limits.complete(task.clone())).collect();
        let placement = Placement {
            number: 1,
            node: None,
            steps: &[],
            nothing_has_run: true,
            room: first_pod_requests(order, &tasks, &[], 0, None),
            limits: &limits,
            image: "operator",
        };
        let pod = build(&workplan, 0, |_| true, placement).spec.unwrap();
        let by_hand = [None, Some(small())].map(|small| by_hand(&workplan, small));
        if by_hand.iter().all(|it| limits.admits(it)) {
            prop_assert!(limits.admits(&pod), "{pod:#?}");
        }
        for container in stated(&pod) {
            let own = [RUNNER_CONTAINER, OPENER_CONTAINER].contains(&container.name.as_str());
            prop_assert!(own || container.resources.is_some() || ranges.is_empty());
        }
    }
}
