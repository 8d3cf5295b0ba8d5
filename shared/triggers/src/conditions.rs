//! The conditions of a Workflow.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kubeci_api::keep_transition_time;

/// The most problems in one message.
const MESSAGES_MAX: usize = 5;

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionState {
    pub type_: &'static str,
    pub status: ConditionStatus,
    pub reason: String,
    pub message: String,
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    fn parse(text: &str) -> Self {
        match text {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A problem that makes a condition false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The CamelCase reason.
    pub reason: String,
    /// The message, with the fix.
    pub message: String,
}

impl Problem {
    /// A problem with this reason and message.
    #[must_use]
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }
}

impl ConditionState {
    #[must_use]
    pub fn met(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: ConditionStatus::True,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    #[must_use]
    pub fn unknown(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: ConditionStatus::Unknown,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// The condition as the status has it, if that is of the same generation.
    #[must_use]
    pub fn unchanged(type_: &'static str, previous: &[Condition], generation: i64) -> Option<Self> {
        let same_generation = |before: &&Condition| {
            before.type_ == type_ && before.observed_generation == Some(generation)
        };
        let before = previous.iter().find(same_generation)?;
        Some(Self {
            type_,
            status: ConditionStatus::parse(&before.status),
            reason: before.reason.clone(),
            message: before.message.clone(),
        })
    }

    /// A false condition. The reason is that of the first problem, the message has all of them.
    #[must_use]
    pub fn not_met(type_: &'static str, problems: &[Problem]) -> Self {
        let reason = problems.first().map_or("Failed", |problem| &problem.reason);
        let messages = problems.iter().map(|problem| problem.message.as_str());
        let messages: Vec<&str> = messages.collect();
        Self {
            type_,
            status: ConditionStatus::False,
            reason: reason.to_owned(),
            message: join(&messages),
        }
    }
}

/// Joins the first messages, one per line, and adds the number of the others.
#[must_use]
pub fn join(messages: &[&str]) -> String {
    let mut lines: Vec<String> = messages
        .iter()
        .take(MESSAGES_MAX)
        .map(|&line| line.to_owned())
        .collect();
    let more = messages.len().saturating_sub(MESSAGES_MAX);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// The condition `Ready`: false if any other one is false or Workplans are refused, else unknown if any is unknown. If
/// it is true, the message states what waits.
#[must_use]
pub fn ready(
    others: &[ConditionState],
    refused: Option<Problem>,
    waiting: Option<String>,
    matching_objects: usize,
) -> ConditionState {
    let first = |status| others.iter().find(|state| state.status == status);
    let (not_met, unknown) = (
        first(ConditionStatus::False),
        first(ConditionStatus::Unknown),
    );
    match (not_met, refused, unknown) {
        (Some(state), ..) | (None, None, Some(state)) => ConditionState {
            type_: "Ready",
            ..state.clone()
        },
        (None, Some(refused), _) => ConditionState::not_met("Ready", &[refused]),
        (None, None, None) => {
            if let Some(waiting) = waiting {
                return ConditionState::met("Ready", "EventsQueued", waiting);
            }
            let message = format!("waits for events; {} now", objects_match(matching_objects));
            ConditionState::met("Ready", "Ready", message)
        }
    }
}

/// How many objects match the triggers.
#[must_use]
pub fn objects_match(count: usize) -> String {
    match count {
        1 => "1 object matches".to_owned(),
        count => format!("{count} objects match"),
    }
}

/// The conditions of a status. The transition time of a condition changes only with its status.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    current: Vec<ConditionState>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |state: ConditionState| {
        let condition = Condition {
            last_transition_time: Time(now),
            message: state.message,
            observed_generation: Some(generation),
            reason: state.reason,
            status: state.status.as_str().to_owned(),
            type_: state.type_.to_owned(),
        };
        keep_transition_time(condition, previous)
    };
    current.into_iter().map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_time_changes_only_with_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let failing = |message: &str| {
            vec![ConditionState::not_met(
                "Ready",
                &[Problem::new("Invalid", message)],
            )]
        };
        let first = conditions(&[], failing("a"), 1, at(1));
        let second = conditions(&first, failing("b"), 2, at(2));
        assert_eq!(second[0].last_transition_time, Time(at(1)));
        assert_eq!(
            (second[0].message.as_str(), second[0].observed_generation),
            ("b", Some(2))
        );
        let third = conditions(
            &second,
            vec![ConditionState::met("Ready", "Ready", "")],
            2,
            at(3),
        );
        assert_eq!(third[0].last_transition_time, Time(at(3)));
    }

    #[test]
    fn ready_has_the_worst_status() {
        let met = ConditionState::met("Compiled", "Compiled", "");
        let unknown = ConditionState::unknown("TriggersWatched", "Starting", "");
        let not_met =
            ConditionState::not_met("TriggersWatched", &[Problem::new("Forbidden", "no")]);
        let refused = || Some(Problem::new("WorkplanRefused", "quota"));
        let reason = |others: &[&ConditionState], refused| {
            let others: Vec<ConditionState> = others.iter().map(|&state| state.clone()).collect();
            ready(&others, refused, None, 0).reason
        };
        assert_eq!(reason(&[&met, &met], None), "Ready");
        assert_eq!(reason(&[&met, &unknown], None), "Starting");
        assert_eq!(reason(&[&met, &unknown], refused()), "WorkplanRefused");
        assert_eq!(reason(&[&met, &not_met], refused()), "Forbidden");
    }

    #[test]
    fn joined_messages_are_limited() {
        assert_eq!(
            join(&["a", "b", "c", "d", "e", "f", "g"]),
            "a\nb\nc\nd\ne\nand 2 more"
        );
    }
}
