use std::num::NonZeroUsize;

use kubeci_api::Step;
use kubeci_compiler::{Plan, compile, compile_limited};
use proptest::prelude::*;

use crate::graphs::{closure, dependencies, graphs_with_isolated, is_alone};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn plan_has_fewest_pods_and_fewest_waiting_steps(
        steps in graphs_with_isolated(1..=8),
    ) {
        let plan = compile(&steps).unwrap();
        prop_assert_eq!(pods_and_steps_going_on(&plan), best(&steps, usize::MAX));
    }

    #[test]
    fn limited_plan_has_fewest_pods_and_fewest_waiting_steps(
        steps in graphs_with_isolated(1..=8),
        max_parallel in 1..=4_usize,
    ) {
        let plan = compile_limited(&steps, NonZeroUsize::new(max_parallel).unwrap()).unwrap();
        prop_assert_eq!(pods_and_steps_going_on(&plan), best(&steps, max_parallel));
    }
}

/// The pods of a plan, and its steps that start in a pod that another step of theirs was in.
pub fn pods_and_steps_going_on(plan: &Plan) -> (usize, usize) {
    let going_on = plan.tasks.iter().map(|task| match task.serial_steps.len() {
        0 => 0,
        serial => serial - 1 + task.parallel_steps.len(),
    });
    (plan.tasks.len(), going_on.sum())
}

/// The fewest pods that hold all steps, and then the most steps that go on in a pod. For each set of steps, as bits, how
/// many of them go on in their pod; none if they cannot share one.
pub fn fewest_pods(pods: &[Option<usize>]) -> (usize, usize) {
    let all = pods.len() - 1;
    let mut best: Vec<Option<(usize, usize)>> = vec![None; all + 1];
    best[0] = Some((0, 0));
    for steps in 1..=all {
        let lowest = steps & steps.wrapping_neg();
        let ways = (1..=steps).filter(|pod| pod & steps == *pod && pod & lowest != 0);
        best[steps] = ways
            .filter_map(|pod| {
                let (rest, on) = (best[steps & !pod]?, pods[pod]?);
                Some((rest.0 + 1, rest.1 + on))
            })
            .min_by_key(|&(pods, on)| (pods, std::cmp::Reverse(on)));
    }
    best[all].unwrap()
}

/// The fewest pods of any exact plan whose pods run at most so many steps at the same time, and then the most steps
/// that start in a pod that another step of theirs was in: over all ways to cut the steps into pods, each judged by
/// the definition alone.
fn best(steps: &[Step], max_parallel: usize) -> (usize, usize) {
    let judge = Judge {
        closure: closure(&dependencies(steps)),
        steps,
        max_parallel,
    };
    let all = (1_usize << steps.len()) - 1;
    let pods: Vec<Option<usize>> = (0..=all).map(|pod| judge.going_on(pod)).collect();
    fewest_pods(&pods)
}

struct Judge<'a> {
    closure: Vec<Vec<bool>>,
    steps: &'a [Step],
    max_parallel: usize,
}

impl Judge<'_> {
    /// How many steps of a pod follow another one in it; none if the pod cannot be exact.
    fn going_on(&self, pod: usize) -> Option<usize> {
        let members: Vec<usize> = (0..self.steps.len())
            .filter(|step| pod >> step & 1 == 1)
            .collect();
        if members.len() > 1 && members.iter().any(|&step| is_alone(&self.steps[step])) {
            return None;
        }
        let outside: Vec<usize> = (0..self.steps.len())
            .filter(|step| !members.contains(step))
            .filter(|&step| self.direct(&members).contains(&step))
            .collect();
        self.best_from(&mut Vec::new(), &members, &outside)
    }

    fn direct(&self, members: &[usize]) -> Vec<usize> {
        let names = members
            .iter()
            .flat_map(|&step| &self.steps[step].dependency);
        names
            .map(|name| {
                self.steps
                    .iter()
                    .position(|step| step.name == *name)
                    .unwrap()
            })
            .collect()
    }

    /// Tries every chain of the pod's steps, with the rest as the parallel ones.
    fn best_from(&self, chain: &mut Vec<usize>, pod: &[usize], outside: &[usize]) -> Option<usize> {
        let rest: Vec<usize> = pod
            .iter()
            .copied()
            .filter(|step| !chain.contains(step))
            .collect();
        let waited_for: Vec<usize> = outside.iter().chain(chain.iter()).copied().collect();
        let exact = |&step: &usize| {
            waited_for.iter().all(|&other| self.closure[step][other])
                && self
                    .direct(&[step])
                    .iter()
                    .all(|other| waited_for.contains(other))
        };
        let may_share = rest.len() == 1
            || rest.len() <= self.max_parallel
                && rest.iter().all(|&it| self.steps[it].timeout.is_none());
        let ends_here = may_share && rest.iter().all(exact);
        let mut best = ends_here.then(|| if chain.is_empty() { 0 } else { pod.len() - 1 });
        if rest.len() > 1 {
            for step in rest.into_iter().filter(exact) {
                chain.push(step);
                best = best.max(self.best_from(chain, pod, outside));
                chain.pop();
            }
        }
        best
    }
}
