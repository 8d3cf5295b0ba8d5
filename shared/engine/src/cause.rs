use std::time::Duration;

use jiff::SignedDuration;
use kubeci_expression::EvaluateError;
use kubeci_plan::FailureKind;

/// Why a step or a Workplan is in its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// One CamelCase word.
    pub reason: String,
    /// A sentence, with what to do about it. It may be empty.
    pub message: String,
    /// The kind of the failure, if it ends a step.
    pub kind: FailureKind,
}

impl Cause {
    /// The reason for a command whose exit code is not 0, as the kubelet gives it.
    pub const ERROR: &str = "Error";

    /// The reason for a step of a relay pod that cannot observe the end of a step that it waits for.
    pub const END_NOT_OBSERVED: &str = "EndNotObserved";

    /// The reason for a final step whose pod was stopped because of other steps. It starts in the next pod.
    pub(crate) const POD_STOPPED: &str = "PodStopped";

    /// The reason for a step or a plan that ran longer than its time limit.
    pub(crate) const TIMEOUT: &str = "Timeout";

    /// The reason for a step whose condition, or an expression of its variables, has no value.
    pub const EXPRESSION_FAILED: &str = "ExpressionFailed";

    /// A cause, which is a [`FailureKind::Failure`] if it ends a step.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
            kind: FailureKind::Failure,
        }
    }

    /// The cause of a step that ran longer than its time limit.
    #[must_use]
    pub fn timeout(limit: Duration) -> Self {
        let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
        let message = format!("the step ran longer than its timeout of {limit:#}");
        Self::new(Self::TIMEOUT, message).of_kind(FailureKind::Timeout)
    }

    /// The cause of a step whose condition, or an expression of its variables, has no value.
    pub(crate) fn expression_failed(error: &EvaluateError) -> Self {
        Self::new(Self::EXPRESSION_FAILED, error.to_string())
    }

    /// The cause of a final step whose pod was stopped because of other steps.
    pub(crate) fn pod_stopped(executor: &str) -> Self {
        let message = format!(
            "the pod {executor} was stopped, because of other steps; the step starts in another pod"
        );
        Self::new(Self::POD_STOPPED, message).of_kind(FailureKind::Infrastructure)
    }

    /// The cause as one of another kind.
    #[must_use]
    pub fn of_kind(self, kind: FailureKind) -> Self {
        Self { kind, ..self }
    }

    /// The reason in a few words: the exit code, for a command that failed.
    #[must_use]
    pub fn summary(&self, exit_code: Option<i32>) -> String {
        match exit_code {
            Some(code) if self.reason == Self::ERROR => format!("exit code {code}"),
            _ => self.reason.clone(),
        }
    }

    /// The summary and the message.
    #[must_use]
    pub fn sentence(&self, exit_code: Option<i32>) -> String {
        let summary = self.summary(exit_code);
        if self.message.is_empty() {
            summary
        } else {
            format!("{summary}: {}", self.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::exit_code("Error", "disk full", Some(3), "exit code 3", "exit code 3: disk full")]
    #[case::silent("Error", "", Some(3), "exit code 3", "exit code 3")]
    #[case::reason("OOMKilled", "raise it", Some(137), "OOMKilled", "OOMKilled: raise it")]
    #[case::not_started("Evicted", "low on memory", None, "Evicted", "Evicted: low on memory")]
    fn cause_reads_as_summary_and_sentence(
        #[case] reason: &str,
        #[case] message: &str,
        #[case] exit_code: Option<i32>,
        #[case] summary: &str,
        #[case] sentence: &str,
    ) {
        let cause = Cause::new(reason, message);
        assert_eq!(cause.summary(exit_code), summary);
        assert_eq!(cause.sentence(exit_code), sentence);
    }
}
