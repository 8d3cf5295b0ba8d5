use kubeci_api::Step;
use kubeci_compiler::compile;
use proptest::prelude::*;

use super::{plan, plan_within};
use crate::graphs::{closure, dependencies, graphs, graphs_to_relay, with_commands};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn plan_has_fewest_pods(steps in graphs_to_relay(1..=9)) {
        prop_assert_eq!(plan(&steps).tasks.len(), fewest(&steps, steps.len()));
    }

    #[test]
    fn one_pod_suffices_without_steps_set_apart(steps in graphs_to_relay(1..=60)) {
        let apart = steps.iter().any(|step| step.isolate || step.commands.is_empty());
        prop_assert!(apart || plan(&steps).tasks.len() == 1);
    }

    #[test]
    fn narrow_pods_are_nearly_fewest(
        steps in graphs_to_relay(1..=9),
        containers in 1..=6_usize,
    ) {
        let (found, fewest) = (plan_within(&steps, containers).tasks.len(), fewest(&steps, containers));
        prop_assert!((fewest..=fewest + 2).contains(&found), "{} instead of {}", found, fewest);
    }

    #[test]
    fn relay_never_needs_more_pods_than_pods(steps in graphs(1..=80)) {
        let steps = with_commands(&steps);
        let plan = compile(&steps).unwrap();
        let widest = plan.tasks.iter().map(|task| task.steps().count()).max().unwrap();
        prop_assert!(plan_within(&steps, widest).tasks.len() <= plan.tasks.len(), "{} {} {}", widest, plan_within(&steps, widest).tasks.len(), plan.tasks.len());
    }
}

/// The fewest pods of any exact plan: over all ways to cut the steps into pods that are no wider than that,
/// each judged by the definition alone.
pub fn fewest(steps: &[Step], containers: usize) -> usize {
    let dependencies = dependencies(steps);
    let closure = closure(&dependencies);
    let all = (1_usize << steps.len()) - 1;
    let is_pod = |pod: usize| {
        let members: Vec<usize> = (0..steps.len())
            .filter(|step| pod >> step & 1 == 1)
            .collect();
        let alone = |&step: &usize| steps[step].isolate || steps[step].commands.is_empty();
        let direct = members.iter().flat_map(|&step| &dependencies[step]);
        let mut outside = direct.filter(|&&step| pod >> step & 1 == 0);
        let waited_for_by_all = |&other: &usize| members.iter().all(|&step| closure[step][other]);
        members.len() == 1
            || members.len() <= containers
                && !members.iter().any(alone)
                && outside.all(waited_for_by_all)
    };
    let pods: Vec<bool> = (0..=all).map(is_pod).collect();
    let mut fewest = vec![usize::MAX; all + 1];
    fewest[0] = 0;
    for steps in 1..=all {
        let lowest = steps & steps.wrapping_neg();
        let mut pod = steps;
        while pod > 0 {
            if pod & lowest != 0 && pods[pod] {
                fewest[steps] = fewest[steps].min(fewest[steps & !pod] + 1);
            }
            pod = (pod - 1) & steps;
        }
    }
    fewest[all]
}
