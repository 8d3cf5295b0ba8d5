use kube::Resource;
use kubeci_api::{Phase, Workplan, WorkplanStatus};
use kubeci_engine::{Cause, invalid_status, queued_status};

use super::action::Decision;
use super::{cleanup, conditions, fit, other_containers, rerun, running};
use crate::admission::{Admission, Place, QUEUED};
use crate::observed::ObservedState;
use crate::plan;

/// Decides what is next for `workplan`.
#[must_use]
pub fn decide(workplan: &Workplan, state: &ObservedState) -> Decision {
    let plan = plan::validate(&workplan.spec);
    let status = workplan.status.clone().unwrap_or_default();
    let tasks = plan.as_ref().map_or(&[][..], |plan| &plan.tasks);
    if workplan.meta().deletion_timestamp.is_some() {
        return cleanup::of_deleted(workplan, tasks, status, state);
    }
    let mut decision = if status.phase.is_some_and(Phase::is_final) {
        cleanup::of_ended(workplan, tasks, status, state)
    } else {
        let invalid = |reason, message: String| {
            invalid(
                workplan,
                status.clone(),
                &Cause::new(reason, message),
                state,
            )
        };
        let mut decision = match (&plan, &workplan.spec.rerun) {
            (_, Some(rerun)) if rerun::has_no_tasks(workplan) => {
                rerun::prepare(workplan, rerun, status, state)
            }
            (_, Some(_)) if !conditions::has_taken_over(&status) => {
                rerun::with_tasks(workplan, status, state.now)
            }
            (Ok(plan), _) => match fit::refusal(workplan) {
                Some(too_large) => invalid("TooLarge", too_large.to_string()),
                None => match state.admission {
                    Admission::Admitted { pods } => {
                        running::decide(workplan, plan, status, state, pods)
                    }
                    Admission::Queued(place) => queued(workplan, status, place, state),
                },
            },
            (Err(error), _) => invalid("InvalidPlan", error.to_string()),
        };
        fit::shorten(workplan, &mut decision.status);
        if decision.status.phase.is_some_and(Phase::is_final) {
            cleanup::of_ended(workplan, tasks, decision.status, state)
        } else {
            decision
        }
    };
    if let Ok(plan) = &plan {
        other_containers::end_pods(plan, &mut decision, state);
    }
    decision
}

/// The decision about a Workplan that waits for its admission: it starts nothing.
fn queued(
    workplan: &Workplan,
    status: WorkplanStatus,
    place: Option<Place>,
    state: &ObservedState,
) -> Decision {
    let Some(place) = place else {
        return Decision::wait(status);
    };
    let cause = Cause::new(QUEUED, place.message());
    let generation = workplan.meta().generation;
    Decision::wait(queued_status(status, &cause, generation, state.now))
}

fn invalid(
    workplan: &Workplan,
    status: WorkplanStatus,
    cause: &Cause,
    state: &ObservedState,
) -> Decision {
    let generation = workplan.meta().generation;
    Decision::wait(invalid_status(status, cause, generation, state.now))
}
