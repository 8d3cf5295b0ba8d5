//! Which steps will not run, and which tasks may start.

use kubeci_api::{StepPhase, StepStatus};

use crate::core::plan::{Plan, PlanStep};

/// Skips the steps whose dependencies did not complete, unless they are in a pod already.
pub fn skip(plan: &Plan, steps: &mut [StepStatus], in_pod: impl Fn(&PlanStep) -> bool) {
    let mut changed = true;
    while changed {
        changed = false;
        for (at, step) in plan.steps.iter().enumerate() {
            if steps[at].phase != StepPhase::Pending || in_pod(step) {
                continue;
            }
            let lost = |need: &&usize| {
                matches!(steps[**need].phase, StepPhase::Failed | StepPhase::Skipped)
            };
            if let Some(&need) = step.needs.iter().find(lost) {
                let message = format!("{} did not complete, which it depends on", steps[need].name);
                steps[at].phase = StepPhase::Skipped;
                steps[at].message = Some(message);
                changed = true;
            }
        }
    }
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
