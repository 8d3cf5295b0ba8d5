//! A step's end does not depend on how the steps are executed.

use std::collections::BTreeMap;

use kubeci_api::{Order, Step, StepPhase, Task};
use kubeci_compiler::compile;
use proptest::collection::vec;
use proptest::prelude::*;

use super::plan_within;
use crate::graphs::{graphs_to_relay, index};
use crate::reference::outcomes;

/// How each step ends where nothing is known but the tasks: a pod's containers and steps start as their
/// order says, and an init container that did not complete ends its pod.
fn of_plan(
    order: Order,
    tasks: &[Task],
    fails: impl Fn(&Step) -> bool,
) -> BTreeMap<String, StepPhase> {
    let mut ended = BTreeMap::new();
    for task in tasks {
        let outside: Vec<&String> = task
            .steps()
            .flat_map(|step| &step.dependency)
            .filter(|name| task.steps().all(|step| step.name != **name))
            .collect();
        let completed = |ended: &BTreeMap<String, StepPhase>, names: &[&String]| {
            names
                .iter()
                .all(|&name| ended[name] == StepPhase::Completed)
        };
        let mut goes_on = match order {
            Order::Linear => ended.values().all(|&phase| phase == StepPhase::Completed),
            Order::Graph | Order::Relay => completed(&ended, &outside),
        };
        for (at, step) in task.steps().enumerate() {
            let own: Vec<&String> = step.dependency.iter().collect();
            let runs = goes_on && (order != Order::Relay || completed(&ended, &own));
            let phase = match (runs, fails(step)) {
                (false, _) => StepPhase::Skipped,
                (true, true) => StepPhase::Failed,
                (true, false) => StepPhase::Completed,
            };
            goes_on &= at >= task.serial_steps.len() || phase == StepPhase::Completed;
            ended.insert(step.name.clone(), phase);
        }
    }
    ended
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn steps_end_as_defined_in_pods_and_relay(
        steps in prop_oneof![graphs_to_relay(1..=10), graphs_to_relay(50..=150)],
        containers in 1..=100_usize,
        fails in vec(prop::bool::weighted(0.1), 150),
    ) {
        let fails = |step: &Step| fails[index(step)];
        let expected = outcomes(&steps, fails);
        let pods = compile(&steps).unwrap();
        prop_assert_eq!(&of_plan(pods.order, &pods.tasks, fails), &expected);
        let relay = plan_within(&steps, containers);
        prop_assert_eq!(&of_plan(relay.order, &relay.tasks, fails), &expected);
    }
}
