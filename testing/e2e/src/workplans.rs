use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kubeci_api::{StepStatus, Workplan};

/// The status of a step of a Workplan.
///
/// # Panics
/// When the Workplan's status has no such step.
pub fn step(plan: &Workplan, name: &str) -> StepStatus {
    let steps = plan.status.iter().flat_map(|it| &it.steps);
    let found = steps.clone().find(|step| step.name == name);
    found
        .cloned()
        .unwrap_or_else(|| panic!("no step {name} in {:?}", plan.status))
}

/// How much later `end` is than `start`, zero when it is not.
///
/// # Panics
/// When one of them is absent.
pub fn duration_between(start: Option<&MicroTime>, end: Option<&MicroTime>) -> Duration {
    let (start, end) = (start.expect("a start"), end.expect("an end"));
    Duration::try_from(end.0.duration_since(start.0)).unwrap_or_default()
}
