use jiff::{SignedDuration, Timestamp};

use crate::cause::Cause;

/// How long a problem may last before the step fails.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// The end of the message of a problem that ends the plan after [`PATIENCE`].
const GIVEN_UP: &str = "The Workplan fails if this lasts for 5 minutes";

/// A message of [`WaitingCause::given_up`] after the problem has lasted too long.
pub(crate) fn without_outlook(message: &str) -> &str {
    let problem = message.strip_suffix(GIVEN_UP).unwrap_or(message);
    problem.trim_end_matches([' ', '.'])
}

/// How serious a cause for waiting is, the most serious first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The user holds the plan.
    Suspended,
    /// The API server refuses the executor.
    Refused,
    /// A step cannot start, or the executor cannot.
    Blocked,
    /// The node of the plan is not available.
    Away,
    /// A step cannot start later, after its dependencies have completed.
    BlockedLater,
    /// An object of an earlier Workplan is still being removed.
    NotYetFree,
    /// There is no known problem, but the start takes long.
    Slow,
    /// A failed step waits for its next attempt.
    Retry,
    /// A user has not approved a step.
    Approval,
}

/// Why a plan waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingCause {
    /// How serious it is.
    pub severity: Severity,
    /// The cause, and what to do about it.
    pub cause: Cause,
}

impl WaitingCause {
    /// A cause for waiting.
    #[must_use]
    pub fn new(severity: Severity, cause: Cause) -> Self {
        Self { severity, cause }
    }

    /// A cause that fails the plan after [`PATIENCE`], as its message then states.
    #[must_use]
    pub fn given_up(severity: Severity, mut cause: Cause) -> Self {
        cause.message = format!("{}. {GIVEN_UP}", cause.message);
        Self { severity, cause }
    }
}

/// Why a plan waits, and when to decide again without a new observation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    cause: Option<WaitingCause>,
    wake_at: Option<Timestamp>,
}

impl Waiting {
    /// The most serious cause; of equally serious causes the first.
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

    /// Adds a step, or a container before all steps, that cannot start.
    pub fn add_blocked(&mut self, name: &str, cause: &Cause, until: Option<Timestamp>) {
        if let Some(until) = until {
            self.wake_at(until);
        }
        let cause = Cause::new(&cause.reason, format!("{name}: {}", cause.message));
        self.add(WaitingCause::given_up(Severity::Blocked, cause));
    }

    /// Adds a step that still waits for dependencies and cannot start after them.
    pub(crate) fn add_blocked_later(&mut self, step: &str, cause: &str) {
        let message = format!(
            "the container of the step {step} cannot start: {}. The step fails after its dependencies have \
             completed, unless the problem is solved by then; the other steps continue",
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
