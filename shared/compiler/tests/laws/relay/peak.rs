use kubeci_api::{Order, Step};
use kubeci_compiler::{first_pod_requests, relay_pod_requests, widest_moment};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{plan_within, requesting};
use crate::graphs::{closure, dependencies, graphs_to_relay, index, members};
use crate::simulation::run;

fn with_requests(
    sizes: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = (Vec<Step>, Vec<u128>)> {
    let cpus = vec(0..9_u128, *sizes.end());
    (graphs_to_relay(sizes), cpus).prop_map(|(steps, cpus)| {
        let steps = requesting(steps, |at| vec![("cpu", cpus[at].to_string())]);
        (steps, cpus)
    })
}

/// The largest sum of weights of items of which no two are in order.
fn heaviest(items: &[usize], weights: &[u128], in_order: impl Fn(usize, usize) -> bool) -> u128 {
    let chosen = |set: usize| {
        let chosen = (0..items.len()).filter(move |at| set >> at & 1 == 1);
        chosen.map(|at| items[at]).collect::<Vec<usize>>()
    };
    let apart = |set: &Vec<usize>| {
        let pairs = set
            .iter()
            .flat_map(|&one| set.iter().map(move |&other| (one, other)));
        pairs.into_iter().all(|(one, other)| !in_order(one, other))
    };
    let sets = (0..1_usize << items.len()).map(chosen).filter(apart);
    let sums = sets.map(|set| set.into_iter().map(|item| weights[item]).sum());
    sums.max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn relay_pod_requests_its_widest_moment((steps, cpus) in with_requests(1..=10)) {
        let closure = closure(&dependencies(&steps));
        for task in plan_within(&steps, 100).tasks {
            let expected = 1000 * heaviest(&members(&task), &cpus, |one, other| closure[one][other]);
            let requests = relay_pod_requests(&task, &[], None);
            prop_assert_eq!(requests.is_none(), expected == 0);
            prop_assert_eq!(requests.unwrap_or_default().milli("cpu"), expected);
        }
    }

    #[test]
    fn widest_moment_is_heaviest_set_of_concurrent_pods(
        (steps, _) in with_requests(1..=11),
        containers in 1..=5_usize,
    ) {
        let plan = plan_within(&steps, containers);
        let closure = closure(&dependencies(&steps));
        let pods: Vec<Vec<usize>> = plan.tasks.iter().map(members).collect();
        let over_before = |one: usize, other: usize| {
            pods[other].iter().all(|&step| pods[one].iter().all(|&needed| closure[step][needed]))
        };
        let requests: Vec<u128> = plan.tasks.iter().map(|task| relay_pod_requests(task, &[], None).unwrap_or_default().milli("cpu")).collect();
        let all: Vec<usize> = (0..pods.len()).collect();
        let beside: Vec<usize> = all.iter().copied().filter(|&pod| pod != 0 && !over_before(0, pod) && !over_before(pod, 0)).collect();
        let widest = widest_moment(plan.order, &plan.tasks, &[], None).milli("cpu");
        prop_assert_eq!(widest, heaviest(&all, &requests, over_before));
        let first = first_pod_requests(plan.order, &plan.tasks, &[], 0, None).unwrap_or_default().milli("cpu");
        prop_assert_eq!(first, widest - heaviest(&beside, &requests, over_before));
        prop_assert!(first >= requests[0]);
    }

    #[test]
    fn run_never_needs_more_than_pod_requests(
        (steps, cpus) in with_requests(1..=80),
        durations in vec(1..100_u64, 80),
    ) {
        let plan = plan_within(&steps, 30);
        let run = run(plan.order, &plan.tasks, |step| durations[index(step)]);
        for task in &plan.tasks {
            let requests = relay_pod_requests(task, &[], None).unwrap_or_default().milli("cpu");
            for step in task.steps() {
                let moment = run.steps[&step.name].start;
                let running = task.steps().filter(|step| {
                    let span = run.steps[&step.name];
                    (span.start..span.end).contains(&moment)
                });
                let needed: u128 = running.map(|step| 1000 * cpus[index(step)]).sum();
                prop_assert!(needed <= requests, "{} of {}", needed, requests);
            }
        }
    }
}

#[test]
fn resources_peak_at_different_moments() {
    let steps = crate::graphs::with_commands(&[vec![], vec![0], vec![0]]);
    let steps = requesting(steps, |at| match at {
        0 => vec![("cpu", "4".to_owned()), ("memory", "1Mi".to_owned())],
        _ => vec![("cpu", "1".to_owned()), ("memory", "2Mi".to_owned())],
    });
    let plan = plan_within(&steps, 100);
    assert_eq!(plan.order, Order::Relay);
    let requests = widest_moment(plan.order, &plan.tasks, &[], None);
    assert_eq!(requests.milli("cpu"), 4000);
    assert_eq!(requests.milli("memory"), 4 * 1024 * 1024 * 1000);
}
