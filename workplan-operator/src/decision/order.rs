//! Which steps will not run, and which tasks may start.

use std::ops::Range;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kubeci_api::{StepPhase, StepStatus};
use kubeci_plan::{BrokenEdge, Edge, NamedEdge, Outcome, Plan, PlanStep, Readiness};

use super::failure::Failure;
use super::settle::say;

/// What a step that has not started does next; one that is skipped names the step because of which.
pub fn readiness(plan: &Plan, steps: &[StepStatus], at: usize) -> Readiness {
    plan.readiness(at, |need| outcome(steps[need].phase))
}

/// Skips the steps whose dependencies did not complete, unless they are in a pod that sees to that.
pub fn skip(plan: &Plan, steps: &mut [StepStatus], in_pod: impl Fn(&PlanStep) -> bool) {
    let mut changed = true;
    while changed {
        changed = false;
        for (at, step) in plan.steps.iter().enumerate() {
            if steps[at].phase != StepPhase::Pending || in_pod(step) {
                continue;
            }
            if let Readiness::Skip { because } = readiness(plan, steps, at) {
                skip_for(steps, step.edges[because]);
                changed = true;
            }
        }
    }
}

/// Ends the steps of a range that are not final yet: what ran, or was to start next, has failed, and what
/// waited for that is skipped. What waits for steps outside the range that have not ended goes on waiting.
pub fn end_rest(
    plan: &Plan,
    steps: &mut [StepStatus],
    range: Range<usize>,
    failure: &Failure,
    now: Option<Timestamp>,
) {
    for at in range.clone() {
        if steps[at].phase == StepPhase::Running {
            fail(&mut steps[at], failure, now);
        }
    }
    let mut changed = true;
    while changed {
        changed = false;
        for at in range.clone() {
            if steps[at].phase.is_final() {
                continue;
            }
            match readiness(plan, steps, at) {
                Readiness::Wait => continue,
                Readiness::Start => fail(&mut steps[at], failure, now),
                Readiness::Skip { because } => skip_for(steps, plan.steps[at].edges[because]),
            }
            changed = true;
        }
    }
}

/// Skips the step to which a broken edge goes.
pub fn skip_for(steps: &mut [StepStatus], broken: Edge) {
    let message = skip_reason(steps, broken);
    steps[broken.to].phase = StepPhase::Skipped;
    say(&mut steps[broken.to], Some(message));
}

/// Why the step is skipped to which a broken edge goes.
pub fn skip_reason(steps: &[StepStatus], broken: Edge) -> String {
    let Edge { from, kind, .. } = broken;
    let from = steps[from].name.as_str();
    BrokenEdge(NamedEdge { from, kind }).to_string()
}

fn fail(step: &mut StepStatus, failure: &Failure, now: Option<Timestamp>) {
    step.phase = StepPhase::Failed;
    step.finished_at = step.started_at.as_ref().and(now).map(MicroTime);
    failure.record(step);
}

fn outcome(phase: StepPhase) -> Option<Outcome> {
    match phase {
        StepPhase::Pending | StepPhase::Running => None,
        StepPhase::Completed => Some(Outcome::Completed),
        StepPhase::Failed => Some(Outcome::Failed),
        StepPhase::Skipped => Some(Outcome::Skipped),
    }
}
