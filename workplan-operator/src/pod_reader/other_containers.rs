//! Init containers that are not steps.

use kubeci_engine::Cause;

use super::cause;
use super::task_steps::TaskSteps;
use crate::observed::{ContainerKind, ContainerState, ObservedPod};

/// Why no step of the pod starts any more: an init container that is not a step failed.
pub fn failed_init(steps: TaskSteps, pod: &ObservedPod) -> Option<Cause> {
    let is_other = |name: &str| !steps.has(name);
    let inits = pod.containers.iter();
    let inits = inits.filter(|it| it.kind == ContainerKind::Init && is_other(&it.name));
    let mut others = inits.filter(|it| !it.is_own());
    others.find_map(|it| match &it.state {
        ContainerState::Ended(end) if end.exit_code != 0 => {
            let message = format!(
                "the init container {}, which is not a step, failed in the pod {}: {}. Correct the webhook or controller that \
                 adds it",
                it.name,
                pod.name,
                cause::of_end(end).sentence(Some(end.exit_code))
            );
            Some(Cause::new("InitContainerFailed", message))
        }
        _ => None,
    })
}
