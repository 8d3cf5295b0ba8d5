//! Pods whose steps are stopped.

use kubeci_engine::Steps;
use kubeci_plan::Plan;

use super::action::Action;
use crate::observed::{ObservedState, Owner};

/// Stops the pods of steps that are stopped; in a plan that ends, all pods with open steps. A pod that no node has
/// taken is deleted. In any other one a step may have started that is not reported yet, and the pod keeps its log.
pub fn stopped_pods(plan: &Plan, steps: &Steps, state: &ObservedState) -> Vec<Action> {
    let pods = state.pods.iter().filter(|(task, pod)| {
        pod.owner == Owner::Workplan
            && !pod.deleting
            && !pod.is_quiet()
            && ends_now(plan, steps, **task)
    });
    let actions = pods.filter_map(|(task, pod)| {
        if pod.started.is_none() {
            Some(Action::DeletePod(*task))
        } else {
            (!pod.stopped).then_some(Action::StopPod(*task))
        }
    });
    actions.collect()
}

/// Also if the step at its time limit has just ended: otherwise the kubelet would start the next one.
fn ends_now(plan: &Plan, steps: &Steps, task: usize) -> bool {
    let is_stopped = || steps.has_timed_out(task) && !plan.is_relay(task);
    steps.is_ending(task) || steps.is_open(task) && is_stopped()
}
