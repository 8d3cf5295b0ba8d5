//! Init containers that others have put into a pod.

use kubeci_engine::Cause;

use super::cause;
use super::task_steps::TaskSteps;
use crate::observed::{ContainerKind, ContainerState, ObservedPod};

/// Why no step of a pod starts any more in which an init container failed that is no step.
pub fn failed_init(steps: TaskSteps, pod: &ObservedPod) -> Option<Cause> {
    let is_other = |name: &str| !steps.has(name);
    let inits = pod.containers.iter();
    let inits = inits.filter(|it| it.kind == ContainerKind::Init && is_other(&it.name));
    let mut others = inits.filter(|it| !it.is_own());
    others.find_map(|it| match &it.state {
        ContainerState::Ended(end) if end.exit_code != 0 => {
            let message = format!(
                "the init container {}, which is no step, failed in the pod {}: {}. Correct what adds it to pods",
                it.name,
                pod.name,
                cause::of_end(end).sentence(Some(end.exit_code))
            );
            Some(Cause::new("InitContainerFailed", message))
        }
        _ => None,
    })
}
