//! What may end a plan besides its steps, as the spec and the flags state it.

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, core::Duration};
use kubeci_api::{Step, Task, Workplan};
use kubeci_engine::Control;
use kubeci_plan::Plan;

use crate::observed::ObservedState;

pub fn of(workplan: &Workplan, plan: &Plan, state: &ObservedState) -> Control {
    let spec = &workplan.spec;
    let pending_timeout = spec.pending_timeout.as_ref().map(signed);
    let created = workplan.meta().creation_timestamp.as_ref();
    let steps = spec.tasks.iter().flat_map(Task::steps).zip(&plan.steps);
    let of_step = |(step, planned): (&Step, &kubeci_plan::PlanStep)| {
        // In a relay the step runner keeps the limit.
        let timeout = step
            .timeout
            .as_ref()
            .filter(|_| !plan.is_relay(planned.task));
        timeout.map(signed)
    };
    Control {
        cancel: spec.cancel,
        fail_fast: spec.fail_fast,
        timeout: spec.timeout.as_ref().map(signed),
        pending_timeout: Some(pending_timeout.unwrap_or(state.pending_timeout)),
        created: created
            .map(|it: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| -> Timestamp { it.0 }),
        step_timeouts: steps.map(of_step).collect(),
    }
}

fn signed(duration: &Duration) -> SignedDuration {
    let duration = std::time::Duration::from(duration.clone());
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
