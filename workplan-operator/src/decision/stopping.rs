//! Pods whose steps are stopped.

use kubeci_engine::{Step, Steps};
use kubeci_plan::Plan;

use super::action::Action;
use crate::observed::{ContainerState, ObservedContainer, ObservedPod, ObservedState, Owner};

/// Stops the pods of steps that are stopped; in a plan that ends, all pods with open steps. A pod in which no step
/// has started has no logs, and is deleted.
pub fn stopped_pods(plan: &Plan, steps: &Steps, state: &ObservedState) -> Vec<Action> {
    let pods = state.pods.iter().filter(|(task, pod)| {
        pod.owner == Owner::Workplan
            && !pod.deleting
            && !pod.is_quiet()
            && ends_now(plan, steps, **task)
    });
    let actions = pods.filter_map(|(task, pod)| {
        if !has_started(steps.of_task(*task), pod) {
            Some(Action::DeletePod(*task))
        } else if pod.stopped {
            None
        } else {
            Some(Action::StopPod(*task))
        }
    });
    actions.collect()
}

/// Also if the step at its time limit has just ended: otherwise the kubelet would start the next one.
fn ends_now(plan: &Plan, steps: &Steps, task: usize) -> bool {
    let is_stopped = || steps.has_timed_out(task) && !plan.is_relay(task);
    steps.is_open(task) && (steps.is_halted() || is_stopped())
}

fn has_started(steps: &[Step], pod: &ObservedPod) -> bool {
    let is_step = |it: &&ObservedContainer| steps.iter().any(|step| step.name() == it.name);
    let mut containers = pod.containers.iter().filter(is_step);
    containers.any(|it| {
        matches!(
            it.state,
            ContainerState::Running { .. } | ContainerState::Ended(_)
        )
    })
}
