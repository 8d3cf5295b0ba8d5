//! The pod of a task whose steps start in the order of its containers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kubeci_api::{StepPhase, Workplan};
use kubeci_engine::{Observation, Place, Run, Start};

use super::task_steps::TaskSteps;
use super::{cause, container, outputs};
use crate::observed::{ContainerKind, ContainerState, ObservedContainer, ObservedPod, PodPhase};
use crate::output_bounds::of_message;

/// What is observed of the containers and of the pod's phase.
pub fn observe(
    workplan: &Workplan,
    steps: TaskSteps,
    pod: &ObservedPod,
    now: Timestamp,
) -> Vec<(usize, Observation)> {
    let mut observed = observe_containers(workplan, steps, pod, now);
    for (at, observation) in &mut observed {
        if let Some((_, step)) = steps.iter().find(|(known, _)| known == at) {
            let place = || Place {
                pod: pod.name.clone(),
                container: step.name().to_owned(),
            };
            with_phase(observation, place, pod, now);
        }
    }
    observed
}

/// What is observed of the containers.
pub fn observe_containers(
    workplan: &Workplan,
    steps: TaskSteps,
    pod: &ObservedPod,
    now: Timestamp,
) -> Vec<(usize, Observation)> {
    let most = || of_message(workplan, pod.containers.len());
    let mut failed = None;
    let mut observed = Vec::new();
    for container in &pod.containers {
        let Some((at, step)) = steps.find(&container.name) else {
            continue;
        };
        let has_failed = step.phase() == StepPhase::Failed && !has_succeeded(container);
        if is_init(container) && (has_failed || step.has_left(&pod.name)) {
            failed = Some((at, &container.name));
        }
        if !step.is_open() {
            continue;
        }
        let observation = match failed {
            // The kubelet starts no container after an init container that failed. It starts the next one if only the
            // outputs were refused; then the pod is deleted.
            Some((by, failed)) if !container.has_ended() => Observation::Excluded {
                by,
                message: format!(
                    "skipped: {failed}, an earlier serial step of the same pod, did not complete"
                ),
            },
            _ => outputs::observe(container, pod, most, |it| container::observe(it, pod, now)),
        };
        if is_init(container) && matches!(observation, Observation::Failed(..)) {
            failed = Some((at, &container.name));
        }
        observed.push((at, observation));
    }
    observed
}

/// Whether the kubelet starts the next container. The step may have failed nevertheless, at its time limit.
fn has_succeeded(container: &ObservedContainer) -> bool {
    matches!(&container.state, ContainerState::Ended(end) if end.exit_code == 0)
}

fn is_init(container: &ObservedContainer) -> bool {
    container.kind == ContainerKind::Init
}

/// Completes the observation of a container whose end is not known from the phase of the pod: all containers have
/// succeeded, or none runs any more.
fn with_phase(
    observation: &mut Observation,
    place: impl Fn() -> Place,
    pod: &ObservedPod,
    now: Timestamp,
) {
    let start = match observation {
        Observation::Waiting => Start::AsKnown,
        Observation::Running { start, .. } => *start,
        _ => return,
    };
    let run = |exit_code| Run {
        place: place(),
        start,
        ended: Some(now),
        exit_code,
        outputs: BTreeMap::new(),
        repeated: Vec::new(),
    };
    match pod.phase {
        PodPhase::Pending | PodPhase::Running => {}
        PodPhase::Succeeded => *observation = Observation::Completed(run(Some(0))),
        PodPhase::Failed => {
            let (cause, run) = (cause::of_pod(pod), run(None));
            *observation = match observation {
                Observation::Running { .. } => Observation::Failed(cause, run),
                _ => Observation::NotStarted {
                    cause,
                    run: Run { ended: None, ..run },
                    came_up: false,
                },
            };
        }
    }
}
