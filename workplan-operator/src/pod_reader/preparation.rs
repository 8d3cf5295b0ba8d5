//! Pods in which no step can run yet, because one of kubeci's own containers has not completed.

use jiff::Timestamp;
use kubeci_api::names::RUNNER_CONTAINER;
use kubeci_engine::{Cause, Observation, Waiting};

use super::relay::came_up;
use super::task_steps::TaskSteps;
use super::{cause, container};
use crate::observed::{ContainerState, Ended, ObservedContainer, ObservedPod};

/// What happens to the steps of a pod that is not prepared.
pub enum Unprepared {
    /// They wait for the step runner.
    Waits,
    /// They start in the next pod, after this one is deleted: its other containers may still start.
    Removed(Cause),
    /// They start in the next pod.
    Lost(Cause),
    Fails(Cause),
}

/// Why no step of the pod can run.
pub fn observe(
    task: TaskSteps,
    pod: &ObservedPod,
    now: Timestamp,
    waiting: &mut Waiting,
) -> Option<Unprepared> {
    let is_step = |name: &str| task.has(name);
    let own = pod.containers.iter().find(|it| it.is_own())?;
    if steps(is_step, pod).any(|it| came_up(&it.state)) {
        return None;
    }
    if must_be_recreated(is_step, pod) {
        let cause = cause::late_runner(&pod.name);
        return Some(if pod.is_quiet() {
            Unprepared::Lost(cause)
        } else {
            Unprepared::Removed(cause)
        });
    }
    match container::observe(own, pod, now) {
        Observation::Failed(cause, run) => {
            let cause = cause::unprepared(&own.name, &cause, run.exit_code);
            Some(Unprepared::Fails(cause))
        }
        Observation::Blocked { cause, until, .. } => {
            waiting.add_blocked(&own.name, &cause, until);
            let has_no_runner = without_runner(is_step, pod).next().is_some();
            has_no_runner.then_some(Unprepared::Waits)
        }
        _ => None,
    }
}

/// Whether the step runner was installed after the containers of the steps had started without it, so that no step
/// has run. The kubelet starts these containers if the image of the step runner cannot be pulled at first. The exit
/// code of the step runner does not matter.
pub fn must_be_recreated(is_step: impl Fn(&str) -> bool + Copy, pod: &ObservedPod) -> bool {
    let came = pod.containers.iter().find_map(|it| match &it.state {
        ContainerState::Ended(end) if it.name == RUNNER_CONTAINER => end.started,
        _ => None,
    });
    let too_late = |end: &Ended| came > end.finished && end.finished.is_some();
    without_runner(is_step, pod).any(too_late) && !steps(is_step, pod).any(|it| came_up(&it.state))
}

/// The ends of the containers that could not start, in a pod whose step runner is missing.
fn without_runner(
    is_step: impl Fn(&str) -> bool,
    pod: &ObservedPod,
) -> impl Iterator<Item = &Ended> {
    let has_runner = pod.has(RUNNER_CONTAINER);
    steps(is_step, pod).filter_map(move |it| match &it.state {
        ContainerState::Ended(end) if has_runner && !came_up(&it.state) => Some(end),
        _ => None,
    })
}

fn steps(
    is_step: impl Fn(&str) -> bool,
    pod: &ObservedPod,
) -> impl Iterator<Item = &ObservedContainer> {
    pod.containers.iter().filter(move |it| is_step(&it.name))
}
