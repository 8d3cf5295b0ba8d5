use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::Task;
use kubeci_compiler::{Limits, Requests, Room, relay_pod_requests, relay_room, relay_shares};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{plan, requesting};
use crate::graphs::{graphs, with_commands};

/// What containers with these requests ask for in all, and each.
fn requests_of(task: &Task) -> Vec<Requests> {
    let steps = task.steps().zip(shares(task));
    let single = steps.map(|(step, requests)| {
        let mut step = step.clone();
        step.resources.get_or_insert_default().requests = Some(requests);
        Requests::of_task(&Task {
            parallel_steps: vec![step],
            ..Task::default()
        })
    });
    single.collect()
}

fn shares(task: &Task) -> Vec<BTreeMap<String, Quantity>> {
    relay_shares(task, &[], None, &Limits::NONE, None)
}

fn chain_of_two(quantities: [[(&'static str, &'static str); 2]; 2]) -> Task {
    let steps = requesting(with_commands(&[vec![], vec![0]]), |at| {
        quantities[at]
            .map(|(name, quantity)| (name, quantity.to_owned()))
            .to_vec()
    });
    plan(&steps).tasks.remove(0)
}

proptest! {
    #[test]
    fn shares_add_up_and_none_exceeds_its_step(
        dependencies in graphs(1..=40),
        amounts in vec((0..9000_u64, 0..1_u64 << 50), 40),
    ) {
        let steps = requesting(with_commands(&dependencies), |at| {
            let (cpu, memory) = amounts[at];
            vec![("cpu", format!("{cpu}m")), ("memory", memory.to_string()), ("ephemeral-storage", format!("{memory}Ei"))]
        });
        for task in plan(&steps).tasks {
            let pod = relay_pod_requests(&task, &[], None).unwrap_or_default();
            let containers = requests_of(&task);
            for resource in ["cpu", "memory", "ephemeral-storage"] {
                let sum: u128 = containers.iter().map(|container| container.milli(resource)).sum();
                prop_assert_eq!(sum, pod.milli(resource));
                for (step, container) in task.steps().zip(&containers) {
                    let said = Requests::of_task(&Task { parallel_steps: vec![step.clone()], ..Task::default() });
                    prop_assert!(container.milli(resource) <= said.milli(resource));
                    prop_assert!(resource == "cpu" || container.milli(resource) % 1000 == 0);
                }
            }
        }
    }
}

#[test]
fn shares_are_proportional_to_step_requests() {
    let task = chain_of_two([
        [("cpu", "3"), ("memory", "1Gi")],
        [("cpu", "1"), ("memory", "1Gi")],
    ]);
    let quantity = |text: &str| Quantity(text.to_owned());
    assert_eq!(relay_room(&task, &[], None), Room::Spread);
    let containers = shares(&task);
    assert_eq!(containers[0]["cpu"], quantity("2250m"));
    assert_eq!(containers[1]["cpu"], quantity("750m"));
    assert_eq!(containers[0]["memory"], quantity("536870912"));
}

#[test]
fn requests_within_the_peak_stay_as_written() {
    let task = chain_of_two([
        [("cpu", "3"), ("memory", "0")],
        [("cpu", "0"), ("memory", "1Gi")],
    ]);
    assert_eq!(relay_room(&task, &[], None), Room::AsWritten);
    assert_eq!(shares(&task)[0]["cpu"], Quantity("3".to_owned()));
}

#[test]
fn limit_without_request_adds_no_request() {
    let mut task = chain_of_two([
        [("cpu", "1"), ("memory", "0")],
        [("cpu", "1"), ("memory", "0")],
    ]);
    for step in &mut task.parallel_steps {
        let resources = step.resources.as_mut().unwrap();
        resources.limits = resources.requests.take();
    }
    for container in shares(&task) {
        assert_eq!(container["cpu"], Quantity("500m".to_owned()));
        assert_eq!(container["memory"], Quantity("0".to_owned()));
    }
}

#[test]
fn device_is_requested_by_each_container_using_it() {
    let task = chain_of_two([
        [("cpu", "1"), ("gpu/one", "0")],
        [("cpu", "1"), ("gpu/one", "2")],
    ]);
    assert_eq!(shares(&task)[1]["gpu/one"], Quantity("2".to_owned()));
    assert_eq!(
        relay_pod_requests(&task, &[], None)
            .unwrap()
            .milli("gpu/one"),
        2000
    );
}
