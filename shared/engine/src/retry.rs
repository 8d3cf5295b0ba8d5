use std::time::Duration;

use jiff::Timestamp;
use kubeci_api::{StepPhase, StepStatus};
use kubeci_plan::{Backoff, FailureKind, RetryPolicy};

use crate::cause::Cause;
use crate::observation::Place;
use crate::step::{Attempt, Pending, State, Step};

/// How often a step is attempted again whose executor was lost before it had started.
const LOST_MAX: u32 = 5;

/// What decides whether a failed step is attempted again, in a new executor.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // each alone or with others
pub(crate) struct RetryRules<'a> {
    /// The policy of the step.
    pub policy: Option<&'a RetryPolicy>,
    /// The executor of the attempt. Without one there is no other attempt.
    pub executor: Option<&'a str>,
    /// Whether no step has started in the executor.
    pub is_untouched: bool,
    /// Whether the executor is stopped, because of other steps.
    pub is_stopped: bool,
    /// Whether the executor itself repeats a step that fails or takes too long.
    pub repeats_in_place: bool,
    /// Whether a new executor has no access to what completed steps have written.
    pub loses_folder: bool,
    /// Whether the step ends with the plan.
    pub is_halted: bool,
    /// Whether it is a final step, which runs in any case.
    pub is_final: bool,
    /// The time.
    pub now: Timestamp,
}

impl RetryRules<'_> {
    /// No other attempt.
    pub(crate) const fn never(now: Timestamp) -> Self {
        Self {
            policy: None,
            executor: None,
            is_untouched: false,
            is_stopped: false,
            repeats_in_place: false,
            loses_folder: false,
            is_halted: false,
            is_final: false,
            now,
        }
    }

    /// The pause before the next attempt, or `None` if the step has failed.
    fn pause(&self, step: &Step, cause: &Cause) -> Option<Duration> {
        if self.executor.is_none() || self.is_halted {
            return None;
        }
        let (kind, lost) = (cause.kind, step.lost_attempts());
        if is_uncounted(&step.attempt, cause) {
            let is_repeated = self.is_final || !self.loses_folder && self.repeats_lost(kind);
            let pause = of_lost_attempts().pause(lost + 1, kind, None);
            return pause.filter(|_| is_repeated).map(|pause| match cause {
                cause if cause.reason == Cause::POD_STOPPED => Duration::ZERO,
                _ => pause,
            });
        }
        if self.loses_folder {
            return None;
        }
        let is_repeated = matches!(kind, FailureKind::Failure | FailureKind::Timeout);
        if self.repeats_in_place && is_repeated {
            return None;
        }
        let failed = step.attempt_number() - lost;
        self.policy?.pause(failed, kind, step.attempt.exit_code)
    }

    /// Whether an attempt is repeated that was lost before it had started.
    fn repeats_lost(&self, kind: FailureKind) -> bool {
        let is_listed = |policy: &RetryPolicy| policy.on.contains(&kind);
        self.is_untouched || self.policy.is_some_and(is_listed)
    }
}

/// The policy for attempts that were lost before they had started: it is the same for all steps.
fn of_lost_attempts() -> RetryPolicy {
    RetryPolicy {
        limit: LOST_MAX,
        backoff: Backoff {
            initial: Duration::from_secs(1),
            factor: 4,
            max: Duration::from_mins(5),
        },
        on: vec![FailureKind::Infrastructure],
        exit_codes: Vec::new(),
    }
}

fn is_lost_before_start(attempt: &Attempt, cause: &Cause) -> bool {
    cause.kind == FailureKind::Infrastructure && attempt.started.is_none()
}

/// Whether an attempt does not count for the limit of its step: it was lost before it had started, or its pod was stopped
/// because of other steps.
fn is_uncounted(attempt: &Attempt, cause: &Cause) -> bool {
    is_lost_before_start(attempt, cause) || cause.reason == Cause::POD_STOPPED
}

impl Step {
    /// Ends the current attempt with a failure. The step is pending again if there is another attempt.
    pub(crate) fn fail(&mut self, cause: Cause, rules: &RetryRules) {
        self.retry_at = None;
        match rules.pause(self, &cause) {
            Some(pause) => self.retry(cause, pause, rules),
            None => self.state = State::Failed(self.noted(cause)),
        }
    }

    fn retry(&mut self, cause: Cause, pause: Duration, rules: &RetryRules) {
        let mut failed = std::mem::take(&mut self.attempt);
        let at = failed.ended.unwrap_or(rules.now);
        let at = at.checked_add(pause).unwrap_or(Timestamp::MAX);
        if failed.place.is_none() {
            failed.place = rules.executor.map(|executor| Place {
                pod: executor.to_owned(),
                container: self.name.clone(),
            });
        }
        let reason = cause.summary(failed.exit_code);
        let is_stopped = cause.reason == Cause::POD_STOPPED;
        let is_lost = is_lost_before_start(&failed, &cause);
        self.earlier.push((failed, cause));
        self.retry_at = Some(at);
        let number = self.attempt_number();
        let message = if is_stopped {
            format!("attempt {number} starts in another pod, because its pod was stopped")
        } else if is_lost {
            format!(
                "attempt {number} starts at {at:.0}, because the step had not started: {reason}"
            )
        } else {
            let limit = rules.policy.map_or(0, |policy| policy.limit);
            let most = limit.saturating_add(self.lost_attempts() + 1);
            format!("attempt {number} of {most} starts at {at:.0}, after {reason}")
        };
        self.state = State::Pending(Pending::Message(message));
    }

    /// Ends a step that does not start any more: it failed with its last attempt if one has run, else it is skipped.
    pub(crate) fn give_up(&mut self, message: String) {
        let mut earlier = self.earlier.iter();
        if !earlier.any(|(failed, cause)| !is_lost_before_start(failed, cause)) {
            return self.skip(message);
        }
        if let Some((failed, cause)) = self.earlier.pop() {
            self.attempt = failed;
            self.retry_at = None;
            self.state = State::Failed(self.noted(cause));
        }
    }

    /// The number of earlier attempts that do not count for the limit of the step.
    fn lost_attempts(&self) -> u32 {
        let lost = self.earlier.iter();
        let lost = lost.filter(|(attempt, cause)| is_uncounted(attempt, cause));
        u32::try_from(lost.count()).unwrap_or(u32::MAX)
    }

    /// Whether an attempt of the step has ended in an executor, and its next one is in another.
    #[must_use]
    pub fn has_left(&self, executor: &str) -> bool {
        let is_there = |attempt: &Attempt| attempt.executor() == Some(executor);
        let mut earlier = self.earlier.iter();
        earlier.any(|(attempt, _)| is_there(attempt)) && !is_there(&self.attempt)
    }

    /// Whether an attempt of the step has started in an executor.
    pub(crate) fn has_run_in(&self, executor: &str) -> bool {
        let is_there = |attempt: &Attempt| attempt.executor() == Some(executor);
        let has_started = self.phase() == StepPhase::Running || self.state == State::Completed;
        self.attempts()
            .any(|it| is_there(it) && it.started.is_some())
            || has_started && is_there(&self.attempt)
    }
}

/// The number of failed attempts of a recorded step that count for the limit of its policy.
#[must_use]
pub fn failed_attempts(recorded: &StepStatus) -> u32 {
    let step = Step::read(&recorded.name, Some(recorded));
    step.attempt_number() - 1 - step.lost_attempts()
}

#[cfg(test)]
mod tests {
    use kubeci_plan::FailureKind::{Failure, Infrastructure, OomKilled, Timeout};
    use rstest::rstest;

    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn policy(on: &[FailureKind]) -> RetryPolicy {
        RetryPolicy {
            limit: 2,
            backoff: Backoff {
                initial: Duration::from_secs(10),
                factor: 2,
                max: Duration::from_mins(5),
            },
            on: on.to_vec(),
            exit_codes: Vec::new(),
        }
    }

    fn rules(policy: Option<&RetryPolicy>) -> RetryRules<'_> {
        RetryRules {
            policy,
            executor: Some("plan-0"),
            is_untouched: false,
            is_stopped: false,
            repeats_in_place: false,
            loses_folder: false,
            is_halted: false,
            is_final: false,
            now: time(100),
        }
    }

    fn ran(exit_code: i32) -> Attempt {
        Attempt {
            place: Some(Place {
                pod: "plan-0".into(),
                container: "a".into(),
            }),
            started: Some(time(50)),
            ended: Some(time(60)),
            exit_code: Some(exit_code),
        }
    }

    fn cause(kind: FailureKind) -> Cause {
        Cause::new("Reason", "no").of_kind(kind)
    }

    fn failed(attempt: Attempt, kind: FailureKind, rules: &RetryRules) -> Step {
        let mut step = Step::read("a", None);
        step.attempt = attempt;
        step.fail(cause(kind), rules);
        step
    }

    #[test]
    fn failed_attempt_makes_step_pending_again() {
        let policy = policy(&[Failure]);
        let rules = rules(Some(&policy));
        let mut step = failed(ran(3), Failure, &rules);
        assert_eq!(step.retry_at, Some(time(70)));
        let message = "attempt 2 of 3 starts at 1970-01-01T00:01:10Z, after Reason";
        let pending = State::Pending(Pending::Message(message.into()));
        assert_eq!(step.state, pending);
        assert!(step.has_left("plan-0") && !step.has_left("plan-0-a2"));
        step.attempt = ran(4);
        step.fail(cause(Failure), &rules);
        assert_eq!(step.retry_at, Some(time(80)));
        step.attempt = ran(5);
        step.fail(cause(Failure), &rules);
        assert_eq!(step.state, State::Failed(cause(Failure)));
        assert_eq!((step.attempt_number(), step.retry_at), (3, None));
    }

    #[rstest]
    #[case::failure(Failure, false)]
    #[case::timeout(Timeout, false)]
    #[case::memory(OomKilled, true)]
    #[case::lost(Infrastructure, true)]
    fn executor_repeats_failures_in_place(#[case] kind: FailureKind, #[case] is_retried: bool) {
        let policy = policy(&FailureKind::ALL);
        let rules = RetryRules {
            repeats_in_place: true,
            ..rules(Some(&policy))
        };
        assert_eq!(failed(ran(1), kind, &rules).is_open(), is_retried);
    }

    #[rstest]
    #[case::untouched(true, Attempt::default(), true)]
    #[case::touched(false, Attempt::default(), false)]
    #[case::started(true, ran(137), false)]
    fn lost_step_is_repeated_only_before_start(
        #[case] is_untouched: bool,
        #[case] attempt: Attempt,
        #[case] is_retried: bool,
    ) {
        let rules = RetryRules {
            is_untouched,
            ..rules(None)
        };
        let step = failed(attempt, Infrastructure, &rules);
        assert_eq!(step.is_open(), is_retried);
    }

    #[test]
    fn lost_attempts_are_bounded_and_do_not_count() {
        let policy = policy(&[Failure, Infrastructure]);
        let rules = RetryRules {
            is_untouched: true,
            ..rules(Some(&policy))
        };
        let mut step = Step::read("a", None);
        for pause in [1, 4, 16, 64, 256] {
            step.fail(cause(Infrastructure), &rules);
            assert_eq!(step.retry_at, Some(time(100 + pause)));
        }
        let mut lost = step.clone();
        lost.fail(cause(Infrastructure), &rules);
        assert!(!lost.is_open());
        for _ in 0..2 {
            step.attempt = ran(1);
            step.fail(cause(Failure), &rules);
            assert!(step.is_open());
        }
        step.attempt = ran(1);
        step.fail(cause(Failure), &rules);
        assert!(!step.is_open());
    }

    #[rstest]
    #[case::folder(true, false)]
    #[case::halt(false, true)]
    fn last_attempt_is_not_repeated(#[case] loses_folder: bool, #[case] is_halted: bool) {
        let policy = policy(&FailureKind::ALL);
        let rules = RetryRules {
            loses_folder,
            is_halted,
            ..rules(Some(&policy))
        };
        assert!(!failed(ran(1), Failure, &rules).is_open());
    }

    #[test]
    fn final_step_starts_after_the_stop_of_its_pod() {
        let rules = RetryRules {
            loses_folder: true,
            is_final: true,
            ..rules(None)
        };
        let mut step = Step::read("a", None);
        for _ in 0..LOST_MAX {
            step.fail(Cause::pod_stopped("plan-0"), &rules);
            assert_eq!(step.retry_at, Some(time(100)));
        }
        step.fail(Cause::pod_stopped("plan-0"), &rules);
        assert!(!step.is_open());
    }

    #[test]
    fn given_up_step_failed_with_its_last_attempt() {
        let policy = policy(&[Failure]);
        let mut step = failed(ran(3), Failure, &rules(Some(&policy)));
        step.give_up("skipped: no".into());
        assert_eq!(step.state, State::Failed(cause(Failure)));
        assert_eq!(
            (step.attempt_number(), step.attempt.exit_code),
            (1, Some(3))
        );
        let mut lost = Step::read("a", None);
        lost.fail(
            cause(Infrastructure),
            &RetryRules {
                is_untouched: true,
                ..rules(None)
            },
        );
        lost.give_up("skipped: no".into());
        assert_eq!(lost.phase(), StepPhase::Skipped);
    }

    #[test]
    fn lost_attempt_hides_no_attempt_that_ran() {
        let policy = policy(&[Failure, Infrastructure]);
        let rules = rules(Some(&policy));
        let mut step = failed(ran(3), Failure, &rules);
        step.allow_failure = true;
        step.fail(cause(Infrastructure), &rules);
        assert_eq!(step.attempt_number(), 3);
        step.give_up("skipped: no".into());
        let noted = step.noted(cause(Infrastructure));
        assert_eq!(step.state, State::Failed(noted));
        assert_eq!(step.attempt_number(), 2);
    }

    #[test]
    fn attempt_in_place_has_not_left() {
        let mut step = Step::read("a", None);
        step.earlier.push((ran(1), cause(Failure)));
        step.attempt = ran(2);
        assert!(!step.has_left("plan-0") && step.has_run_in("plan-0"));
    }
}
