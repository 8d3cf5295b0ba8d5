//! What a task's pod says about the task's steps.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kubeci_api::{StepPhase, StepStatus};
use kubeci_plan::Plan;

use super::failure::{Failure, Stuck};
use super::trouble::Notice;
use super::unprepared::{self, Unprepared};
use super::{Facts, order, relay, sidecar, waiting};
use crate::observed::{ContainerFacts, ContainerKind, ContainerState, Ended, PodFacts, PodPhase};

/// Brings the steps of one task up to date with its pod. Steps that are final stay as they are.
pub fn settle(
    plan: &Plan,
    steps: &mut [StepStatus],
    task: usize,
    pod: &PodFacts,
    facts: &Facts,
    notice: &mut Notice,
) {
    let (range, now) = (plan.tasks[task].clone(), facts.now);
    if let Some(failure) = sidecar::failed_init(&steps[range.clone()], pod) {
        if !plan.is_relay(task) {
            settle_containers(&mut steps[range.clone()], pod, now, notice);
        }
        return order::end_rest(plan, steps, range, &failure, Some(now));
    }
    match unprepared::why(&steps[range.clone()], pod, now, notice) {
        Some(Unprepared::Fails(failure)) => {
            order::end_rest(plan, steps, range.clone(), &failure, Some(now));
        }
        Some(Unprepared::Waits) => {
            let failure = Failure::without_runner();
            let open = steps[range.clone()]
                .iter_mut()
                .filter(|it| !it.phase.is_final());
            for step in open {
                failure.record_again(step);
            }
        }
        None if plan.is_relay(task) => relay::settle(plan, steps, task, pod, now, notice),
        None => {
            settle_containers(&mut steps[range.clone()], pod, now, notice);
            settle_pod(&mut steps[range.clone()], pod, now);
        }
    }
    if steps[range.clone()]
        .iter()
        .all(|step| step.phase.is_final())
    {
        return;
    }
    let is_step = |name: &str| steps[range.clone()].iter().any(|step| step.name == name);
    let warning = facts.warnings.get(&task);
    if let Some(failure) = waiting::why(pod, is_step, warning, now, notice) {
        order::end_rest(plan, steps, range.clone(), &failure, Some(now));
    }
}

fn settle_containers(
    steps: &mut [StepStatus],
    pod: &PodFacts,
    now: Timestamp,
    notice: &mut Notice,
) {
    let mut broken: Option<String> = None;
    for container in &pod.containers {
        let Some(step) = steps.iter_mut().find(|step| step.name == container.name) else {
            continue;
        };
        if step.phase.is_final() {
            if container.kind == ContainerKind::Init && step.phase == StepPhase::Failed {
                broken = Some(container.name.clone());
            }
            continue;
        }
        if let Some(by) = &broken {
            // The kubelet starts no container after an init container that failed.
            skip_after(step, by);
            continue;
        }
        let verdict = verdict(container, pod, now, notice);
        if container.kind == ContainerKind::Init
            && matches!(verdict, Verdict::Failed(..) | Verdict::Removed(..))
        {
            broken = Some(container.name.clone());
        }
        update(step, container, pod, verdict);
    }
}

pub enum Verdict {
    Waits(Option<Failure>),
    Runs(Option<Timestamp>),
    Completed(Ended),
    Failed(Failure, Option<Ended>),
    /// It was stopped, which says nothing about the step: its exit code is not reported.
    Removed(Failure, Ended),
}

pub fn verdict(
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
        ContainerState::Waiting { .. } => match Stuck::of(container, pod, now) {
            None => Verdict::Waits(None),
            Some(stuck) if stuck.is_given_up(now) => Verdict::Failed(stuck.failure, None),
            Some(stuck) => {
                notice.stuck(&container.name, &stuck);
                Verdict::Waits(Some(stuck.failure))
            }
        },
    }
}

fn update(step: &mut StepStatus, container: &ContainerFacts, pod: &PodFacts, verdict: Verdict) {
    let waits = matches!(verdict, Verdict::Waits(None));
    if !waits {
        step.pod = Some(pod.name.clone());
        step.container = Some(container.name.clone());
    }
    match verdict {
        Verdict::Waits(Some(failure)) => failure.record_again(step),
        Verdict::Waits(None) => say(step, None),
        Verdict::Runs(since) => {
            step.phase = StepPhase::Running;
            step.started_at = since.map(MicroTime).or(step.started_at.take());
            say(step, None);
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

/// Says of a step what is no failure.
pub fn say(step: &mut StepStatus, message: Option<String>) {
    step.reason = None;
    step.message = message;
}

fn finish(step: &mut StepStatus, phase: StepPhase, end: Option<&Ended>, failure: Option<&Failure>) {
    step.phase = phase;
    match failure {
        Some(failure) => failure.record(step),
        None => say(step, None),
    }
    let Some(end) = end else {
        return;
    };
    step.exit_code = Some(end.exit_code);
    step.started_at = end.started.map(MicroTime).or(step.started_at.take());
    step.finished_at = end.finished.map(MicroTime);
}

fn skip_after(step: &mut StepStatus, failed: &str) {
    step.phase = StepPhase::Skipped;
    let message = format!("{failed} did not complete, an earlier serial step of the same pod");
    say(step, Some(message));
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
                say(step, None);
            }
            PodPhase::Failed => {
                step.phase = StepPhase::Failed;
                Failure::of_pod(pod).record(step);
            }
        }
        step.pod = Some(pod.name.clone());
        step.container = Some(step.name.clone());
        step.finished_at = Some(MicroTime(now));
    }
}
