use kubeci_api::{StepPhase, StepStatus};

use crate::observed::{ObservedContainer, ObservedPod};

/// Whether a pod only waits for containers whose steps have failed, or for one of kubeci's own that precedes failed
/// steps. Such a pod is deleted, with the logs of its completed steps, because Kubernetes does not end it.
pub fn is_stuck(steps: &[StepStatus], pod: &ObservedPod) -> bool {
    let has_failed =
        |step: &StepStatus| matches!(step.phase, StepPhase::Failed | StepPhase::Skipped);
    let have_ended = steps.iter().all(|step| step.phase.is_final());
    let never_starts = |container: &ObservedContainer| {
        let step = steps.iter().find(|step| step.name == container.name);
        let is_over = match step {
            Some(step) => has_failed(step),
            None => container.is_own() && steps.iter().any(has_failed),
        };
        is_over && !container.has_ended()
    };
    have_ended && !pod.is_quiet() && !pod.deleting && pod.containers.iter().any(never_starts)
}
