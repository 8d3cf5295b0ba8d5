//! What may end a plan besides its steps, as its spec and the flags state it.

use jiff::SignedDuration;
use kube::core::Duration;
use kubeci_api::{Step, Task, Workplan};
use kubeci_engine::Control;
use kubeci_plan::{Plan, PlanStep};

use crate::observed::ObservedState;

pub fn of(workplan: &Workplan, plan: &Plan, state: &ObservedState) -> Control {
    let spec = &workplan.spec;
    let created = workplan.metadata.creation_timestamp.as_ref();
    let steps = spec.tasks.iter().flat_map(Task::steps).zip(&plan.steps);
    // In a relay the step runner keeps the limit.
    let is_kept = |planned: &PlanStep| !plan.is_relay(planned.task);
    let step_timeout = |(step, planned): (&Step, &PlanStep)| {
        let timeout = step.timeout.as_ref().filter(|_| is_kept(planned));
        timeout.map(signed)
    };
    let pending_timeout = spec.pending_timeout.as_ref().map(signed);
    Control {
        cancel: spec.cancel,
        fail_fast: spec.fail_fast,
        timeout: spec.timeout.as_ref().map(signed),
        pending_timeout: Some(pending_timeout.unwrap_or(state.pending_timeout)),
        created: created.map(|it| it.0),
        step_timeouts: steps.map(step_timeout).collect(),
    }
}

fn signed(duration: &Duration) -> SignedDuration {
    let duration = std::time::Duration::from(*duration);
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
