use kubeci_compiler::compile;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::graphs::{dependencies, graphs_with_isolated, index, is_alone};
use crate::simulation::{critical_path, run};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn step_starts_when_the_critical_path_lets_it(
        steps in prop_oneof![graphs_with_isolated(1..=10), graphs_with_isolated(100..=300)],
        durations in vec(0..1000_u64, 300),
    ) {
        let plan = compile(&steps).unwrap();
        let run = run(plan.order, &plan.tasks, |step| durations[index(step)]);
        let expected = critical_path(&dependencies(&steps), |step| durations[step]);
        prop_assert_eq!(run.steps.len(), steps.len());
        for (step, expected) in steps.iter().zip(expected) {
            prop_assert_eq!(run.steps[&step.name], expected, "{}", step.name);
        }
    }

    #[test]
    fn step_is_in_one_task_as_written(steps in graphs_with_isolated(1..=100)) {
        let plan = compile(&steps).unwrap();
        let mut planned: Vec<_> = plan.tasks.iter().flat_map(|task| task.steps().cloned()).collect();
        planned.sort_by_key(index);
        prop_assert_eq!(planned, steps);
        prop_assert!(plan.tasks.iter().all(|task| !task.parallel_steps.is_empty()));
    }

    #[test]
    fn timed_step_runs_alone_in_its_pod(steps in graphs_with_isolated(1..=100)) {
        let plan = compile(&steps).unwrap();
        let is_timed = |step: &kubeci_api::Step| step.timeout.is_some();
        for task in plan.tasks.iter().filter(|task| task.parallel_steps.iter().any(is_timed)) {
            prop_assert_eq!(task.parallel_steps.len(), 1);
        }
    }

    #[test]
    fn isolated_step_and_approval_have_own_tasks(steps in graphs_with_isolated(1..=100)) {
        let plan = compile(&steps).unwrap();
        for task in plan.tasks.iter().filter(|task| task.steps().any(is_alone)) {
            prop_assert_eq!(task.steps().count(), 1);
        }
    }
}
