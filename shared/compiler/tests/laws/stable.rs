use kubeci_compiler::compile;
use proptest::prelude::*;

use crate::graphs::{closure, dependencies, graphs_with_isolated, members};

proptest! {
    #[test]
    fn same_steps_give_the_same_plan(steps in graphs_with_isolated(1..=60)) {
        prop_assert_eq!(compile(&steps), compile(&steps));
    }

    #[test]
    fn dependency_order_and_implied_dependencies_change_no_pod(
        steps in graphs_with_isolated(1..=40),
    ) {
        let closure = closure(&dependencies(&steps));
        let mut said = steps.clone();
        for (step, ancestors) in said.iter_mut().zip(&closure) {
            let ancestors = (0..steps.len()).rev().filter(|&other| ancestors[other]);
            step.dependency = ancestors.map(|other| steps[other].name.clone()).collect();
        }
        let (plan, said) = (compile(&steps).unwrap(), compile(&said).unwrap());
        prop_assert_eq!(plan.order, said.order);
        let pods = |plan: &kubeci_compiler::Plan| plan.tasks.iter().map(members).collect::<Vec<_>>();
        prop_assert_eq!(pods(&plan), pods(&said));
    }

    #[test]
    fn step_order_changes_neither_pods_nor_task_order(
        (steps, shuffled) in graphs_with_isolated(1..=40)
            .prop_flat_map(|steps| (Just(steps.clone()), Just(steps).prop_shuffle())),
    ) {
        let (plan, shuffled) = (compile(&steps).unwrap(), compile(&shuffled).unwrap());
        prop_assert_eq!(plan.tasks.len(), shuffled.tasks.len());
        prop_assert_eq!(plan.order, shuffled.order);
    }
}
