use kubeci_api::Order;
use kubeci_compiler::compile;
use proptest::prelude::*;
use rstest::rstest;

use crate::graphs::{closure, dependencies, graphs_with_isolated, indices, members, steps};

proptest! {
    #[test]
    fn tasks_come_after_their_dependencies(steps in graphs_with_isolated(1..=60)) {
        let plan = compile(&steps).unwrap();
        let dependencies = dependencies(&steps);
        let mut listed = Vec::new();
        for task in &plan.tasks {
            let members = members(task);
            listed.extend(&members);
            for dependency in members.iter().flat_map(|&step| &dependencies[step]) {
                prop_assert!(listed.contains(dependency));
            }
        }
    }

    #[test]
    fn order_is_linear_exactly_when_that_is_exact(
        steps in graphs_with_isolated(1..=9),
    ) {
        let plan = compile(&steps).unwrap();
        let closure = closure(&dependencies(&steps));
        let tasks: Vec<Vec<usize>> = plan.tasks.iter().map(members).collect();
        // Exact in a row, whatever the row: then each two tasks have one that all of the other needs.
        let all_need = |one: &Vec<usize>, other: &Vec<usize>| {
            one.iter().all(|&step| other.iter().all(|&needed| closure[step][needed]))
        };
        let pairs = tasks.iter().enumerate().flat_map(|(at, one)| tasks[..at].iter().map(move |other| (one, other)));
        let in_a_row = pairs.into_iter().all(|(one, other)| all_need(one, other) || all_need(other, one));
        prop_assert_eq!(plan.order == Order::Linear, in_a_row);
    }
}

/// Tasks as `chain | parallel`, by the indices of their steps.
fn shape(dependencies: &[&[usize]], isolated: &[bool]) -> (Order, Vec<String>) {
    let dependencies: Vec<_> = dependencies.iter().map(|row| row.to_vec()).collect();
    let plan = compile(&steps(&dependencies, isolated)).unwrap();
    let shape = |task: &kubeci_api::Task| {
        format!(
            "{:?} | {:?}",
            indices(&task.serial_steps),
            indices(&task.parallel_steps)
        )
    };
    (plan.order, plan.tasks.iter().map(shape).collect())
}

#[rstest]
#[case::one(&[&[][..]], Order::Linear, &["[] | [0]"])]
#[case::chain(&[&[][..], &[0], &[1], &[2]], Order::Linear, &["[0, 1, 2] | [3]"])]
#[case::chain_written_backwards(&[&[1][..], &[2], &[]], Order::Linear, &["[2, 1] | [0]"])]
#[case::apart(&[&[][..], &[], &[]], Order::Linear, &["[] | [0, 1, 2]"])]
#[case::fan_out(&[&[][..], &[0], &[0]], Order::Linear, &["[0] | [1, 2]"])]
#[case::fan_in(&[&[][..], &[], &[0, 1]], Order::Linear, &["[] | [0, 1]", "[] | [2]"])]
#[case::diamond(&[&[][..], &[0], &[0], &[1, 2]], Order::Linear, &["[0] | [1, 2]", "[] | [3]"])]
#[case::long_way_round(&[&[][..], &[0], &[0, 1], &[2, 0]], Order::Linear, &["[0, 1, 2] | [3]"])]
#[case::two_chains(&[&[][..], &[0], &[], &[2]], Order::Graph, &["[0] | [1]", "[2] | [3]"])]
#[case::chain_beside_a_step(&[&[][..], &[0], &[]], Order::Graph, &["[0] | [1]", "[] | [2]"])]
#[case::unequal_diamond(
    &[&[][..], &[0], &[1], &[0], &[2, 3]], Order::Graph, &["[0] | [3]", "[1] | [2]", "[] | [4]"]
)]
fn plan_has_the_natural_shape(
    #[case] dependencies: &[&[usize]],
    #[case] order: Order,
    #[case] tasks: &[&str],
) {
    let tasks = tasks.iter().map(|&task| task.to_owned()).collect();
    assert_eq!(shape(dependencies, &[]), (order, tasks));
}

#[test]
fn isolated_step_cuts_a_chain() {
    let (order, tasks) = shape(&[&[], &[0], &[1], &[2]], &[false, true]);
    assert_eq!(order, Order::Linear);
    assert_eq!(tasks, ["[] | [0]", "[] | [1]", "[2] | [3]"]);
}
