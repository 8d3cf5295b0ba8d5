use kubeci_api::Step;
use kubeci_compiler::{Apart, relay_apart};
use rstest::rstest;

use super::{plan, plan_within, requesting};
use crate::graphs::{members, with_commands};

/// Steps that depend on what is said for their index.
fn steps(count: usize, dependencies: impl Fn(usize) -> Vec<usize>) -> Vec<Step> {
    with_commands(&(0..count).map(dependencies).collect::<Vec<_>>())
}

/// `width` chains of `length`, one after the other in the list.
fn chains(width: usize, length: usize) -> Vec<Step> {
    steps(width * length, |at| {
        (at % length > 0).then(|| at - 1).into_iter().collect()
    })
}

/// A step, then chains, then a step that depends on them all.
fn diamond(width: usize, length: usize) -> Vec<Step> {
    let last = width * length + 1;
    steps(last + 1, |at| match at {
        0 => vec![],
        at if at == last => (1..=width).map(|chain| chain * length).collect(),
        at if (at - 1) % length == 0 => vec![0],
        at => vec![at - 1],
    })
}

/// The steps of each task, by index.
fn shape(steps: &[Step], containers: usize) -> Vec<Vec<usize>> {
    let plan = plan_within(steps, containers);
    plan.tasks.iter().map(members).collect()
}

#[rstest]
#[case::chain(steps(500, |at| (at > 0).then(|| at - 1).into_iter().collect()), 100, 5)]
#[case::apart(steps(500, |_| vec![]), 100, 5)]
#[case::fan_out(steps(500, |at| (at > 0).then_some(0).into_iter().collect()), 100, 5)]
#[case::layers(steps(500, |at| ((at / 25 * 25).saturating_sub(25)..at / 25 * 25).collect()), 100, 5)]
#[case::chains_are_not_cut(chains(16, 30), 100, 6)]
#[case::chains_that_must_be_cut(chains(2, 150), 100, 4)]
#[case::diamond(diamond(20, 5), 102, 1)]
#[case::diamond_whose_end_does_not_fit(diamond(20, 5), 101, 2)]
#[case::wide_diamond(diamond(98, 5), 100, 6)]
fn too_wide_set_is_cut_at_least_cost(
    #[case] steps: Vec<Step>,
    #[case] containers: usize,
    #[case] pods: usize,
) {
    assert_eq!(shape(&steps, containers).len(), pods);
}

#[test]
fn chain_goes_on_in_the_next_pod() {
    let steps = steps(5, |at| (at > 0).then(|| at - 1).into_iter().collect());
    assert_eq!(shape(&steps, 2), [vec![0, 1], vec![2, 3], vec![4]]);
}

#[test]
fn one_container_means_one_step_a_pod() {
    assert_eq!(shape(&diamond(2, 1), 1), [[0], [1], [2], [3]]);
}

#[test]
fn step_without_commands_parts_earlier_from_later_steps() {
    let mut steps = diamond(3, 1);
    steps[1].commands.clear();
    assert_eq!(shape(&steps, 100), [vec![0, 2, 3], vec![1], vec![4]]);
    let apart = relay_apart(&plan(&steps).tasks, &[]);
    assert_eq!(apart.len(), 1);
    assert_eq!(apart["s1"], Apart::NoCommands);
}

#[test]
fn steps_in_turn_with_device_have_own_pods() {
    let gpu = |steps, with: &[usize]| {
        requesting(steps, |at| {
            let gpu = ("nvidia.com/gpu", "1".to_owned());
            with.contains(&at).then_some(gpu).into_iter().collect()
        })
    };
    let in_turn = gpu(diamond(2, 1), &[0, 3]);
    assert_eq!(shape(&in_turn, 100), [vec![0], vec![1, 2], vec![3]]);
    let apart = relay_apart(&plan(&in_turn).tasks, &[]);
    assert!(apart["s0"].to_string().contains("`nvidia.com/gpu`"));
    let at_once = gpu(diamond(2, 1), &[1, 2]);
    assert_eq!(shape(&at_once, 100), [[0, 1, 2, 3]]);
}
