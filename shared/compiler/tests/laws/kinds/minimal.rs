use fixedbitset::FixedBitSet;
use kubeci_api::Step;
use kubeci_compiler::{compile, compile_limited};
use kubeci_plan::Graph;
use proptest::prelude::*;

use super::{graph, graphs};
use crate::graphs::is_alone;
use crate::minimal::{fewest_pods, pods_and_steps_going_on};
use crate::reference::conditions::named;
use crate::relay::plan_within;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn law_2_plan_has_fewest_pods_and_waiting_steps(steps in graphs(1..=8)) {
        let graph = graph(&steps);
        let best = best(steps.len(), |pod| going_on_in(&steps, &graph, pod, usize::MAX));
        prop_assert_eq!(pods_and_steps_going_on(&compile(&steps).unwrap()), best);
    }

    #[test]
    fn law_2_limited_plan_has_fewest_pods(steps in graphs(1..=8), most in 1..=4_usize) {
        let graph = graph(&steps);
        let best = best(steps.len(), |pod| going_on_in(&steps, &graph, pod, most));
        let plan = compile_limited(&steps, most.try_into().unwrap()).unwrap();
        prop_assert_eq!(pods_and_steps_going_on(&plan), best);
    }

    #[test]
    fn law_2_relay_has_fewest_pods(steps in graphs(1..=8)) {
        let graph = graph(&steps);
        let best = best(steps.len(), |pod| is_relay(&steps, &graph, pod).then_some(0));
        prop_assert_eq!(plan_within(&steps, 100).tasks.len(), best.0);
    }
}

/// The fewest exact pods of steps, in `Pods` and in `Relay`.
pub fn fewest(steps: &[Step]) -> (usize, usize) {
    let graph = graph(steps);
    let pods = best(steps.len(), |pod| {
        going_on_in(steps, &graph, pod, usize::MAX)
    });
    let relay = best(steps.len(), |pod| is_relay(steps, &graph, pod).then_some(0));
    (pods.0, relay.0)
}

/// The fewest pods over all ways to cut the steps into exact ones, and then the most steps that go on in a pod.
fn best(steps: usize, going_on_in: impl Fn(&[usize]) -> Option<usize>) -> (usize, usize) {
    let all = (1_usize << steps) - 1;
    let members = |pod: usize| (0..steps).filter(move |step| pod >> step & 1 == 1);
    let pods = (0..=all).map(|pod| going_on_in(&members(pod).collect::<Vec<_>>()));
    let pods: Vec<Option<usize>> = pods.collect();
    fewest_pods(&pods)
}

/// How many steps of a pod follow another one in it, at the most; none if the pod cannot be exact, has more parallel
/// steps than it may, or has a step that another one of its steps names.
fn going_on_in(steps: &[Step], graph: &Graph, pod: &[usize], most: usize) -> Option<usize> {
    if pod.len() > 1 && pod.iter().any(|&step| is_alone(&steps[step])) {
        return None;
    }
    let is_inside = |name: &String| pod.iter().any(|&step| steps[step].name == *name);
    if pod
        .iter()
        .any(|&step| named(&steps[step]).iter().any(is_inside))
    {
        return None;
    }
    let follows = |step: usize, other: usize| {
        let (step, from) = ((step, &steps[step]), &steps[other]);
        let may_end_the_pod = from.allow_failure || is_alone(from) || is_alone(step.1);
        graph.parents[step.0] == [other]
            && step.1.dependency.contains(&from.name)
            && !may_end_the_pod
    };
    let mut pairs = pod.windows(2);
    let are_siblings =
        pod.len() <= most && pairs.all(|pair| graph.parents[pair[0]] == graph.parents[pair[1]]);
    let heads = pod.iter().filter_map(|&head| {
        let rest: Vec<usize> = pod.iter().copied().filter(|&it| it != head).collect();
        chain_from(head, &rest, most, &follows)
    });
    heads.chain(are_siblings.then_some(0)).max()
}

/// How many steps follow in a pod whose chain goes on with this step.
fn chain_from(
    last: usize,
    rest: &[usize],
    most: usize,
    follows: &impl Fn(usize, usize) -> bool,
) -> Option<usize> {
    if rest.is_empty() {
        return None;
    }
    let ends_here = rest.len() <= most && rest.iter().all(|&step| follows(step, last));
    let next = rest
        .iter()
        .filter(|&&step| follows(step, last))
        .filter_map(|&step| {
            let rest: Vec<usize> = rest.iter().copied().filter(|&it| it != step).collect();
            Some(1 + chain_from(step, &rest, most, follows)?)
        });
    next.chain(ends_here.then_some(rest.len())).max()
}

/// Whether steps have the same ancestors outside their pod.
pub fn is_relay(steps: &[Step], graph: &Graph, pod: &[usize]) -> bool {
    let is_apart = |&step: &usize| is_alone(&steps[step]) || steps[step].commands.is_empty();
    let outside = |step: usize| {
        let mut outside: FixedBitSet = graph.ancestors[step].clone();
        for &inside in pod {
            outside.remove(inside);
        }
        outside
    };
    let are_equal = pod
        .windows(2)
        .all(|pair| outside(pair[0]) == outside(pair[1]));
    pod.len() == 1 || are_equal && !pod.iter().any(is_apart)
}
