//! What a Workflow's conditions say.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// The most problems that one message lists.
const LISTED_MAX: usize = 5;

/// One condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub type_: &'static str,
    pub status: Status,
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    True,
    False,
    Unknown,
}

/// One thing that keeps a condition from holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub reason: String,
    pub message: String,
}

impl Problem {
    #[must_use]
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }
}

impl Fact {
    #[must_use]
    pub fn holds(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Status::True,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    #[must_use]
    pub fn unknown(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Status::Unknown,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// What was said of this generation before still stands.
    #[must_use]
    pub fn still(type_: &'static str, previous: &[Condition], generation: i64) -> Option<Self> {
        let of_this = |before: &&Condition| {
            before.type_ == type_ && before.observed_generation == Some(generation)
        };
        let before = previous.iter().find(of_this)?;
        let status = match before.status.as_str() {
            "True" => Status::True,
            "False" => Status::False,
            _ => Status::Unknown,
        };
        Some(Self {
            type_,
            status,
            reason: before.reason.clone(),
            message: before.message.clone(),
        })
    }

    /// The first problem gives the reason, all of them the message.
    #[must_use]
    pub fn fails(type_: &'static str, problems: &[Problem]) -> Self {
        let reason = problems.first().map_or("Failed", |problem| &problem.reason);
        let messages: Vec<&str> = problems
            .iter()
            .map(|problem| problem.message.as_str())
            .collect();
        Self {
            type_,
            status: Status::False,
            reason: reason.to_owned(),
            message: listed(&messages),
        }
    }
}

/// The first few, one a line, and how many more there are.
#[must_use]
pub fn listed(messages: &[&str]) -> String {
    let mut lines: Vec<String> = messages
        .iter()
        .take(LISTED_MAX)
        .map(|&line| line.to_owned())
        .collect();
    let more = messages.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// `Ready`: as true as the least true of the others.
#[must_use]
pub fn ready(others: &[Fact], refused: Option<Problem>) -> Fact {
    let worst = |status| others.iter().find(|fact| fact.status == status);
    match (worst(Status::False), refused, worst(Status::Unknown)) {
        (Some(fact), ..) | (None, None, Some(fact)) => Fact {
            type_: "Ready",
            ..fact.clone()
        },
        (None, Some(refused), _) => Fact::fails("Ready", &[refused]),
        (None, None, None) => Fact::holds("Ready", "Ready", "waits for events"),
    }
}

/// The facts as conditions; a time of transition moves only with its status.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    facts: Vec<Fact>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |fact: Fact| {
        let status = match fact.status {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        };
        let before = previous
            .iter()
            .find(|before| before.type_ == fact.type_ && before.status == status);
        Condition {
            last_transition_time: before
                .map_or(Time(now), |before| before.last_transition_time.clone()),
            message: fact.message,
            observed_generation: Some(generation),
            reason: fact.reason,
            status: status.to_owned(),
            type_: fact.type_.to_owned(),
        }
    };
    facts.into_iter().map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_transition_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let failing =
            |message: &str| vec![Fact::fails("Ready", &[Problem::new("Invalid", message)])];
        let first = conditions(&[], failing("a"), 1, at(1));
        let second = conditions(&first, failing("b"), 2, at(2));
        assert_eq!(second[0].last_transition_time, Time(at(1)));
        assert_eq!(
            (second[0].message.as_str(), second[0].observed_generation),
            ("b", Some(2))
        );
        let third = conditions(&second, vec![Fact::holds("Ready", "Ready", "")], 2, at(3));
        assert_eq!(third[0].last_transition_time, Time(at(3)));
    }

    #[test]
    fn ready_is_as_true_as_the_least_true() {
        let holds = Fact::holds("Compiled", "Compiled", "");
        let unknown = Fact::unknown("TriggersWatched", "Starting", "");
        let fails = Fact::fails("TriggersWatched", &[Problem::new("Forbidden", "no")]);
        let refused = || Some(Problem::new("WorkplanRefused", "quota"));
        let reason = |others: &[&Fact], refused| {
            let others: Vec<Fact> = others.iter().map(|&fact| fact.clone()).collect();
            ready(&others, refused).reason
        };
        assert_eq!(reason(&[&holds, &holds], None), "Ready");
        assert_eq!(reason(&[&holds, &unknown], None), "Starting");
        assert_eq!(reason(&[&holds, &unknown], refused()), "WorkplanRefused");
        assert_eq!(reason(&[&holds, &fails], refused()), "Forbidden");
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        assert_eq!(
            listed(&["a", "b", "c", "d", "e", "f", "g"]),
            "a\nb\nc\nd\ne\nand 2 more"
        );
    }
}
