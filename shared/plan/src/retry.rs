use alloc::vec::Vec;
use core::time::Duration;

/// Why an attempt of a step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Its command ended with an exit code other than 0, or could not be started.
    Failure,
    /// It took longer than its `timeout`.
    Timeout,
    /// It used more memory than its limit.
    OomKilled,
    /// Its pod was lost: evicted, preempted, deleted by hand, or with its node.
    Infrastructure,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::Failure,
        Self::Timeout,
        Self::OomKilled,
        Self::Infrastructure,
    ];

    /// The kind as it is written in `retry.on`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "Failure",
            Self::Timeout => "Timeout",
            Self::OomKilled => "OOMKilled",
            Self::Infrastructure => "Infrastructure",
        }
    }
}

/// When a failed step is attempted again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of attempts after the first one.
    pub limit: u32,
    /// The pauses between attempts.
    pub backoff: Backoff,
    /// The failures after which there is another attempt.
    pub on: Vec<FailureKind>,
    /// If there are any, only these exit codes are a [`FailureKind::Failure`] after which there is another attempt.
    pub exit_codes: Vec<i32>,
}

/// The pauses between attempts. Without an initial pause there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause.
    pub initial: Duration,
    /// What each pause is multiplied by to get the next one.
    pub factor: u32,
    /// The longest pause.
    pub max: Duration,
}

impl RetryPolicy {
    /// The pause before the next attempt, or `None` if the step has failed.
    ///
    /// `failed` is the number of attempts that have failed, at least 1.
    #[must_use]
    pub fn pause(
        &self,
        failed: u32,
        kind: FailureKind,
        exit_code: Option<i32>,
    ) -> Option<Duration> {
        let has_code = |code: i32| self.exit_codes.contains(&code);
        let is_excluded = kind == FailureKind::Failure
            && !self.exit_codes.is_empty()
            && !exit_code.is_some_and(has_code);
        let retries = failed <= self.limit && self.on.contains(&kind) && !is_excluded;
        retries.then(|| self.backoff.pause(failed))
    }
}

impl Backoff {
    /// The pause after so many failed attempts, at least 1.
    fn pause(&self, failed: u32) -> Duration {
        let mut pause = self.initial;
        for _ in 1..failed {
            if pause >= self.max {
                break;
            }
            pause = pause.saturating_mul(self.factor);
        }
        pause.min(self.max)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            limit: 3,
            backoff: Backoff {
                initial: Duration::from_secs(1),
                factor: 3,
                max: Duration::from_secs(5),
            },
            on: vec![FailureKind::Failure, FailureKind::OomKilled],
            exit_codes: Vec::new(),
        }
    }

    #[test]
    fn pauses_grow_to_the_longest() {
        let pause = |failed| policy().pause(failed, FailureKind::Failure, Some(1));
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let expected = [seconds(1), seconds(3), seconds(5), None];
        assert_eq!([1, 2, 3, 4].map(pause), expected);
    }

    #[test]
    fn large_limit_does_not_overflow() {
        let policy = RetryPolicy {
            limit: u32::MAX,
            ..policy()
        };
        let pause = policy.pause(u32::MAX, FailureKind::Failure, None);
        assert_eq!(pause, Some(Duration::from_secs(5)));
    }

    #[test]
    fn only_listed_kinds_are_retried() {
        let pause = |kind| policy().pause(1, kind, None);
        assert!(pause(FailureKind::OomKilled).is_some());
        assert_eq!(pause(FailureKind::Timeout), None);
        assert_eq!(pause(FailureKind::Infrastructure), None);
    }

    #[test]
    fn exit_codes_restrict_failures_alone() {
        let policy = RetryPolicy {
            exit_codes: vec![75],
            ..policy()
        };
        let pause = |kind, exit_code| policy.pause(1, kind, exit_code).is_some();
        assert!(pause(FailureKind::Failure, Some(75)));
        assert!(!pause(FailureKind::Failure, Some(1)));
        assert!(pause(FailureKind::OomKilled, Some(137)));
    }
}
