use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kubeci_api::{WorkplanStatus, keep_transition_time};

/// Whether a condition has this value.
#[must_use]
pub fn is_condition(status: &WorkplanStatus, type_: &str, value: &str) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|it| it.type_ == type_ && it.status == value)
}

/// Sets a condition. Its time changes only with its value.
pub fn set_condition(
    status: &mut WorkplanStatus,
    type_: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let known = status.conditions.iter().position(|it| it.type_ == type_);
    let condition = Condition {
        last_transition_time: seconds(now),
        message: message.to_owned(),
        observed_generation: status.observed_generation,
        reason: reason.to_owned(),
        status: value.to_owned(),
        type_: type_.to_owned(),
    };
    let condition = keep_transition_time(condition, &status.conditions);
    match known {
        Some(at) => status.conditions[at] = condition,
        None => status.conditions.push(condition),
    }
}

/// The time of a condition as precise as the API keeps it, so that what is read back equals what was written.
fn seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
