use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The condition with the transition time of the previous one of its type, if that has the same status.
#[must_use]
pub fn keep_transition_time(mut condition: Condition, previous: &[Condition]) -> Condition {
    let same =
        |before: &&Condition| before.type_ == condition.type_ && before.status == condition.status;
    if let Some(before) = previous.iter().find(same) {
        condition.last_transition_time = before.last_transition_time.clone();
    }
    condition
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn condition(type_: &str, status: &str, second: i64) -> Condition {
        Condition {
            last_transition_time: Time(Timestamp::from_second(second).unwrap()),
            message: String::new(),
            observed_generation: None,
            reason: String::new(),
            status: status.into(),
            type_: type_.into(),
        }
    }

    #[test]
    fn transition_time_changes_only_with_status() {
        let previous = [
            condition("Ready", "True", 1),
            condition("Compiled", "True", 2),
        ];
        let kept = keep_transition_time(condition("Compiled", "True", 3), &previous);
        assert_eq!(kept, condition("Compiled", "True", 2));
        let changed = keep_transition_time(condition("Compiled", "False", 3), &previous);
        assert_eq!(changed, condition("Compiled", "False", 3));
        let new = keep_transition_time(condition("Succeeded", "True", 3), &previous);
        assert_eq!(new, condition("Succeeded", "True", 3));
    }
}
