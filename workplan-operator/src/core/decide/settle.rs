//! What a task's pod says about the task's steps.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kubeci_api::{StepPhase, StepStatus};

use super::failure::{Failure, Stuck};
use super::trouble::{Notice, Trouble};
use crate::core::observe::{ContainerFacts, ContainerState, Ended, PodFacts, PodPhase};

/// Brings the steps of one task up to date with its pod. Steps that are final stay as they are.
pub fn settle(steps: &mut [StepStatus], pod: &PodFacts, now: Timestamp, notice: &mut Notice) {
    let mut broken: Option<String> = None;
    for container in &pod.containers {
        let at = steps.iter().position(|step| step.name == container.name);
        if let Some(known) = at
            .map(|at| steps[at].phase)
            .filter(|phase| phase.is_final())
        {
            if container.init && known == StepPhase::Failed {
                broken = Some(container.name.clone());
            }
            continue;
        }
        if let Some(by) = &broken {
            // The kubelet starts no container after an init container that failed.
            if let Some(at) = at {
                skip_after(&mut steps[at], by);
            }
            continue;
        }
        let verdict = verdict(container, pod, now, notice);
        let failed = matches!(verdict, Verdict::Failed(..) | Verdict::Removed(..));
        match (at, verdict) {
            (Some(at), verdict) => update(&mut steps[at], container, pod, verdict),
            (None, Verdict::Failed(failure, _) | Verdict::Removed(failure, _)) => {
                fail_rest(steps, &unopened(&failure), Some(now));
            }
            (None, _) => {}
        }
        if failed && container.init {
            broken = Some(container.name.clone());
        }
    }
    settle_pod(steps, pod, now);
    if let Some(text) = &pod.unschedulable
        && pod.node.is_none()
        && !pod.deleting
        && steps.iter().any(|step| !step.phase.is_final())
    {
        notice.trouble(Trouble::unschedulable(pod, text));
    }
}

/// Ends all steps that are not final yet.
pub fn fail_rest(steps: &mut [StepStatus], failure: &Failure, now: Option<Timestamp>) {
    for step in steps.iter_mut().filter(|step| !step.phase.is_final()) {
        step.phase = StepPhase::Failed;
        step.finished_at = step.started_at.as_ref().and(now).map(MicroTime);
        step.message = Some(failure.to_string());
    }
}

enum Verdict {
    Waits(Option<Failure>),
    Runs(Option<Timestamp>),
    Completed(Ended),
    Failed(Failure, Option<Ended>),
    /// It was stopped, which says nothing about the step: its exit code is not reported.
    Removed(Failure, Ended),
}

fn verdict(
    container: &ContainerFacts,
    pod: &PodFacts,
    now: Timestamp,
    notice: &mut Notice,
) -> Verdict {
    match &container.state {
        ContainerState::Unknown => Verdict::Waits(None),
        ContainerState::Running { since } => Verdict::Runs(*since),
        ContainerState::Ended(end) if end.exit_code == 0 => Verdict::Completed(end.clone()),
        ContainerState::Ended(end) => match Failure::of_removal(pod) {
            Some(removal) => Verdict::Removed(removal, end.clone()),
            None => Verdict::Failed(Failure::of_end(end), Some(end.clone())),
        },
        ContainerState::Waiting { .. } if pod.deleting || pod.has_ended() => Verdict::Waits(None),
        ContainerState::Waiting { reason, message } => {
            let Some(stuck) = Stuck::of(container, pod, reason, message, now) else {
                return Verdict::Waits(None);
            };
            match stuck.until {
                Some(until) if now < until => {
                    notice.wake_at(until);
                    notice.trouble(Trouble::stuck(&container.name, &stuck.failure));
                    Verdict::Waits(Some(stuck.failure))
                }
                _ => Verdict::Failed(stuck.failure, None),
            }
        }
    }
}

fn update(step: &mut StepStatus, container: &ContainerFacts, pod: &PodFacts, verdict: Verdict) {
    let waits = matches!(verdict, Verdict::Waits(None));
    if !waits {
        step.pod = Some(pod.name.clone());
        step.container = Some(container.name.clone());
    }
    match verdict {
        Verdict::Waits(failure) => step.message = failure.map(|failure| keep(step, &failure)),
        Verdict::Runs(since) => {
            step.phase = StepPhase::Running;
            step.started_at = since.map(MicroTime).or(step.started_at.take());
            step.message = None;
        }
        Verdict::Completed(end) => finish(step, StepPhase::Completed, Some(&end), None),
        Verdict::Failed(failure, end) => {
            finish(step, StepPhase::Failed, end.as_ref(), Some(&failure));
        }
        Verdict::Removed(failure, end) => {
            finish(step, StepPhase::Failed, Some(&end), Some(&failure));
            step.exit_code = None;
        }
    }
}

/// The message that is there if it has the same reason: the kubelet words each attempt a little anew.
fn keep(step: &StepStatus, failure: &Failure) -> String {
    let there = step
        .message
        .as_ref()
        .filter(|_| Failure::recorded(step).reason == failure.reason);
    there.cloned().unwrap_or_else(|| failure.to_string())
}

fn finish(step: &mut StepStatus, phase: StepPhase, end: Option<&Ended>, failure: Option<&Failure>) {
    step.phase = phase;
    step.message = failure.map(ToString::to_string);
    let Some(end) = end else {
        return;
    };
    step.exit_code = Some(end.exit_code);
    step.started_at = end.started.map(MicroTime).or(step.started_at.take());
    step.finished_at = end.finished.map(MicroTime);
}

fn skip_after(step: &mut StepStatus, failed: &str) {
    step.phase = StepPhase::Skipped;
    step.message = Some(format!(
        "{failed} did not complete, an earlier serial step of the same pod"
    ));
}

/// What the pod's phase adds where containers say nothing: all ran well, or none will run any more.
fn settle_pod(steps: &mut [StepStatus], pod: &PodFacts, now: Timestamp) {
    let open = steps
        .iter_mut()
        .filter(|step| !step.phase.is_final() && pod.has(&step.name));
    for step in open {
        match pod.phase {
            PodPhase::Pending | PodPhase::Running => return,
            PodPhase::Succeeded => {
                step.phase = StepPhase::Completed;
                step.exit_code = Some(0);
                step.message = None;
            }
            PodPhase::Failed => {
                step.phase = StepPhase::Failed;
                step.message = Some(Failure::of_pod(pod).to_string());
            }
        }
        step.pod = Some(pod.name.clone());
        step.container = Some(step.name.clone());
        step.finished_at = Some(MicroTime(now));
    }
}

fn unopened(failure: &Failure) -> Failure {
    match failure.reason.as_str() {
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => Failure::new(
            "WorkspaceNotOpened",
            format!(
                "the operator's own image, which opens the shared folder for all users, does not start: {}",
                failure.text
            ),
        ),
        _ => Failure::new(
            "WorkspaceNotOpened",
            format!("the shared folder could not be opened for all users: {failure}"),
        ),
    }
}
