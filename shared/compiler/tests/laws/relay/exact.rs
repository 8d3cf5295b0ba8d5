use kubeci_api::Order;
use proptest::collection::vec;
use proptest::prelude::*;

use super::plan_within;
use crate::graphs::{dependencies, graphs_to_relay, index, members};
use crate::simulation::{critical_path, run};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn step_starts_when_the_critical_path_lets_it(
        steps in prop_oneof![graphs_to_relay(1..=10), graphs_to_relay(100..=300)],
        containers in prop_oneof![1..=10_usize, 20..=400_usize],
        durations in vec(0..1000_u64, 300),
    ) {
        let plan = plan_within(&steps, containers);
        let run = run(plan.order, &plan.tasks, |step| durations[index(step)]);
        let expected = critical_path(&dependencies(&steps), |step| durations[step]);
        prop_assert_eq!(run.steps.len(), steps.len());
        for (step, expected) in steps.iter().zip(expected) {
            prop_assert_eq!(run.steps[&step.name], expected, "{}", step.name);
        }
    }

    #[test]
    fn step_is_in_one_task_as_written(
        steps in graphs_to_relay(1..=100),
        containers in 1..=100_usize,
    ) {
        let plan = plan_within(&steps, containers);
        let mut planned: Vec<_> = plan.tasks.iter().flat_map(|task| task.parallel_steps.clone()).collect();
        planned.sort_by_key(index);
        prop_assert_eq!(planned, steps);
        prop_assert_eq!(plan.order, Order::Relay);
        prop_assert!(plan.tasks.iter().all(|task| task.serial_steps.is_empty()));
        prop_assert!(plan.tasks.iter().all(|task| (1..=containers).contains(&task.parallel_steps.len())));
    }

    #[test]
    fn steps_that_cannot_wait_have_own_pods(steps in graphs_to_relay(1..=60)) {
        for task in plan_within(&steps, 100).tasks {
            let mut steps = task.steps();
            prop_assert!(task.steps().count() == 1 || steps.all(|step| !step.isolate && !step.commands.is_empty()));
        }
    }

    #[test]
    fn containers_are_ordered_by_longest_remaining_path(
        steps in graphs_to_relay(1..=60),
    ) {
        let longest_paths = longest_paths(&dependencies(&steps));
        for task in plan_within(&steps, 100).tasks {
            let remaining: Vec<usize> = members(&task).iter().map(|&step| longest_paths[step]).collect();
            // A step has a longer way to go than those that wait for it, so this order is topological.
            prop_assert!(remaining.is_sorted_by(|one, next| one >= next), "{:?}", remaining);
        }
    }

    #[test]
    fn same_steps_give_the_same_plan(steps in graphs_to_relay(1..=60), containers in 1..=60_usize) {
        prop_assert_eq!(plan_within(&steps, containers), plan_within(&steps, containers));
    }
}

/// For each step how many steps the longest chain has that starts with it.
fn longest_paths(dependencies: &[Vec<usize>]) -> Vec<usize> {
    let mut longest = vec![1; dependencies.len()];
    // No chain is longer than there are steps.
    for _ in dependencies {
        for (step, dependencies) in dependencies.iter().enumerate() {
            for &dependency in dependencies {
                longest[dependency] = longest[dependency].max(longest[step] + 1);
            }
        }
    }
    longest
}
