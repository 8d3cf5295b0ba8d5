use jiff::{SignedDuration, Timestamp};

use crate::cause::Cause;

/// How long something that is wrong is waited for before the step fails.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// Follows the message of what is given up after [`PATIENCE`].
const GIVEN_UP: &str = "It fails if this lasts for 5 minutes";

/// How serious a cause for waiting is, the most serious first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The executor is refused.
    Refused,
    /// A step cannot start, or the executor cannot.
    Blocked,
    /// Where the plan runs is away.
    Away,
    /// A step will not be able to start when its turn comes.
    BlockedLater,
    /// Something of an earlier Workplan is in the way.
    NotYetFree,
    /// Nothing is wrong, but it takes long.
    Slow,
}

/// Why a plan waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingCause {
    /// How serious it is.
    pub severity: Severity,
    /// Why, and what to do about it.
    pub cause: Cause,
}

impl WaitingCause {
    /// A cause for waiting.
    #[must_use]
    pub fn new(severity: Severity, cause: Cause) -> Self {
        Self { severity, cause }
    }

    /// A cause that is given up after [`PATIENCE`]. That is added to its message.
    #[must_use]
    pub fn given_up(severity: Severity, mut cause: Cause) -> Self {
        cause.message = format!("{}. {GIVEN_UP}", cause.message);
        Self { severity, cause }
    }
}

/// What keeps a plan waiting, and when to decide again though nothing is observed to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    cause: Option<WaitingCause>,
    wake_at: Option<Timestamp>,
}

impl Waiting {
    /// The most serious cause; of equal ones the first.
    #[must_use]
    pub fn cause(&self) -> Option<&WaitingCause> {
        self.cause.as_ref()
    }

    /// When to decide again.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Timestamp> {
        self.wake_at
    }

    /// Adds a cause.
    pub fn add(&mut self, cause: WaitingCause) {
        let known = self.cause.as_ref();
        if known.is_none_or(|known| cause.severity < known.severity) {
            self.cause = Some(cause);
        }
    }

    /// Adds a time at which to decide again.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    /// Adds a step, or something that comes before all steps, that cannot start.
    pub fn add_blocked(&mut self, name: &str, cause: &Cause, until: Option<Timestamp>) {
        if let Some(until) = until {
            self.wake_at(until);
        }
        let cause = Cause::new(&cause.reason, format!("{name}: {}", cause.message));
        self.add(WaitingCause::given_up(Severity::Blocked, cause));
    }

    /// Adds a step whose turn has not come, and that will not be able to start then.
    pub(crate) fn add_blocked_later(&mut self, step: &str, cause: &str) {
        let message = format!(
            "the container of {step} cannot start: {}. The step fails when its turn comes, unless that is \
             mended; the others go on",
            cause.trim_end_matches('.')
        );
        let cause = Cause::new("ContainerCannotStart", message);
        self.add(WaitingCause::new(Severity::BlockedLater, cause));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if let Some(cause) = &other.cause {
            self.add(cause.clone());
        }
        if let Some(at) = other.wake_at {
            self.wake_at(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_of_the_most_serious_causes_counts() {
        let mut waiting = Waiting::default();
        for (severity, reason) in [
            (Severity::Slow, "PodStarting"),
            (Severity::Blocked, "FailedMount"),
            (Severity::Blocked, "ImagePullBackOff"),
            (Severity::Away, "NodeNotReady"),
        ] {
            waiting.add(WaitingCause::new(severity, Cause::new(reason, "")));
        }
        let cause = waiting.cause().map(|it| it.cause.reason.as_str());
        assert_eq!(cause, Some("FailedMount"));
    }

    #[test]
    fn earliest_time_wakes() {
        let time = |second| Timestamp::from_second(second).unwrap();
        let mut waiting = Waiting::default();
        waiting.add_blocked("a", &Cause::new("ErrImagePull", "no"), Some(time(7)));
        waiting.wake_at(time(5));
        waiting.wake_at(time(9));
        assert_eq!(waiting.wakes_at(), Some(time(5)));
    }
}
