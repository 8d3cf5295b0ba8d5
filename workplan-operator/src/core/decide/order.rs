//! Which steps will not run, and which tasks may start.

use std::ops::Range;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kubeci_api::{StepPhase, StepStatus};
use kubeci_rules::{Outcome, Readiness};

use super::failure::Failure;
use crate::core::plan::{Plan, PlanStep};

/// What a step that has not started does next; one that is skipped names the step because of which.
pub fn readiness(plan: &Plan, steps: &[StepStatus], at: usize) -> Readiness {
    let needs = plan.steps[at].needs.iter();
    kubeci_rules::readiness(needs.map(|&need| outcome(steps[need].phase)))
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
                skip_for(steps, at, step.needs[because]);
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
                Readiness::Skip { because } => skip_for(steps, at, plan.steps[at].needs[because]),
            }
            changed = true;
        }
    }
}

/// Skips a step for one that it needs.
pub fn skip_for(steps: &mut [StepStatus], at: usize, need: usize) {
    let message = format!("{} did not complete, which it depends on", steps[need].name);
    steps[at].phase = StepPhase::Skipped;
    steps[at].message = Some(message);
}

/// Whether all that a task waits for has ended.
pub fn may_start(plan: &Plan, steps: &[StepStatus], task: usize) -> bool {
    let range = &plan.tasks[task];
    if plan.order.is_linear() {
        return steps[..range.start]
            .iter()
            .all(|step| step.phase.is_final());
    }
    let unfinished = range.clone().filter(|at| !steps[*at].phase.is_final());
    unfinished
        .flat_map(|at| &plan.steps[at].needs)
        .all(|need| range.contains(need) || steps[*need].phase.is_final())
}

fn fail(step: &mut StepStatus, failure: &Failure, now: Option<Timestamp>) {
    step.phase = StepPhase::Failed;
    step.finished_at = step.started_at.as_ref().and(now).map(MicroTime);
    step.message = Some(failure.to_string());
}

fn outcome(phase: StepPhase) -> Option<Outcome> {
    match phase {
        StepPhase::Pending | StepPhase::Running => None,
        StepPhase::Completed => Some(Outcome::Completed),
        StepPhase::Failed => Some(Outcome::Failed),
        StepPhase::Skipped => Some(Outcome::Skipped),
    }
}
