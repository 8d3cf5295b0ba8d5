//! Steps as a status records them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kubeci_api::{RetryOn, StepAttempt, StepPhase, StepStatus};
use kubeci_plan::FailureKind;

use crate::cause::Cause;
use crate::earlier_status::with_reason;
use crate::observation::Place;
use crate::step::{Attempt, Pending, State, Step};
use crate::take_over::taken_over_message;

impl Step {
    /// A step as it was last recorded.
    pub(crate) fn read(name: &str, recorded: Option<&StepStatus>) -> Self {
        let unrecorded = || StepStatus {
            name: name.to_owned(),
            ..StepStatus::default()
        };
        let status = recorded.map_or_else(unrecorded, with_reason);
        let earlier = status.attempts.len().saturating_sub(1);
        let earlier = status.attempts.iter().take(earlier);
        Self {
            earlier: earlier.map(read_attempt).collect(),
            attempt: Attempt {
                place: place(status.pod, status.container),
                started: time(status.started_at.as_ref()),
                ended: time(status.finished_at.as_ref()),
                exit_code: status.exit_code,
            },
            retry_at: time(status.retry_at.as_ref()),
            state: state(
                status.phase,
                status.reason,
                status.message,
                status.failure,
                time(status.stopping_since.as_ref()),
            ),
            outputs: status.outputs,
            approved_by: status.approved_by,
            name: status.name,
            allow_failure: false,
            is_final: false,
            taken_over_from: status.taken_over_from,
        }
    }

    /// What is recorded of the step. Attempts are listed if there is more than one.
    pub(crate) fn status(&self) -> StepStatus {
        let now = attempt(self.attempt_number(), &self.attempt, self.explanation());
        let mut attempts = Vec::new();
        if !self.earlier.is_empty() {
            let earlier = (1..).zip(&self.earlier).map(|(number, (earlier, cause))| {
                attempt(number, earlier, Explanation::of_failure(cause))
            });
            attempts.extend(earlier.chain([now.clone()]));
        }
        StepStatus {
            name: self.name.clone(),
            phase: self.phase(),
            pod: now.pod,
            container: now.container,
            started_at: now.started_at,
            finished_at: now.finished_at,
            stopping_since: match self.state {
                State::Stopping { since, .. } => Some(MicroTime(since)),
                _ => None,
            },
            exit_code: now.exit_code,
            reason: now.reason,
            message: now.message,
            approved_by: self.approved_by.clone(),
            outputs: self.outputs.clone(),
            failure: now.failure,
            retry_at: self.retry_at.map(MicroTime),
            attempts,
            taken_over_from: self.taken_over_from.clone(),
        }
    }

    fn explanation(&self) -> Explanation {
        match &self.state {
            State::Pending(Pending::Blocked(cause)) => Explanation::of_wait(cause),
            State::Stopping { cause, .. } | State::Failed(cause) => Explanation::of_failure(cause),
            State::Pending(Pending::Message(message))
            | State::Awaiting(message)
            | State::Skipped(message) => Explanation {
                message: Some(message.clone()),
                ..Explanation::default()
            },
            State::Completed => Explanation {
                message: self.taken_over_from.as_deref().map(taken_over_message),
                ..Explanation::default()
            },
            State::Pending(Pending::NotStarted) | State::Running => Explanation::default(),
        }
    }
}

/// Why a step or an attempt is in its state.
#[derive(Default)]
struct Explanation {
    reason: Option<String>,
    message: Option<String>,
    failure: Option<RetryOn>,
}

impl Explanation {
    fn of_wait(cause: &Cause) -> Self {
        Self {
            reason: Some(cause.reason.clone()),
            message: Some(cause.message.clone()).filter(|it| !it.is_empty()),
            failure: None,
        }
    }

    fn of_failure(cause: &Cause) -> Self {
        Self {
            failure: Some(recorded_kind(cause.kind)),
            ..Self::of_wait(cause)
        }
    }
}

fn recorded_kind(kind: FailureKind) -> RetryOn {
    match kind {
        FailureKind::Failure => RetryOn::Failure,
        FailureKind::Timeout => RetryOn::Timeout,
        FailureKind::OomKilled => RetryOn::OomKilled,
        FailureKind::Infrastructure => RetryOn::Infrastructure,
    }
}

fn kind(recorded: RetryOn) -> FailureKind {
    match recorded {
        RetryOn::Failure => FailureKind::Failure,
        RetryOn::Timeout => FailureKind::Timeout,
        RetryOn::OomKilled => FailureKind::OomKilled,
        RetryOn::Infrastructure => FailureKind::Infrastructure,
    }
}

fn state(
    phase: StepPhase,
    reason: Option<String>,
    message: Option<String>,
    failure: Option<RetryOn>,
    stopping_since: Option<Timestamp>,
) -> State {
    match phase {
        StepPhase::Pending => State::Pending(match (reason, message) {
            (Some(reason), message) => {
                Pending::Blocked(Cause::new(reason, message.unwrap_or_default()))
            }
            (None, Some(message)) => Pending::Message(message),
            (None, None) => Pending::NotStarted,
        }),
        StepPhase::Running => match (stopping_since, message) {
            (Some(since), message) => State::Stopping {
                cause: cause(reason, message, failure),
                since,
            },
            (None, Some(message)) => State::Awaiting(message),
            (None, None) => State::Running,
        },
        StepPhase::Completed => State::Completed,
        StepPhase::Failed => State::Failed(cause(reason, message, failure)),
        StepPhase::Skipped => State::Skipped(message.unwrap_or_default()),
    }
}

fn cause(reason: Option<String>, message: Option<String>, failure: Option<RetryOn>) -> Cause {
    let reason = reason.unwrap_or_else(|| "Unknown".into());
    let cause = Cause::new(reason, message.unwrap_or_default());
    cause.of_kind(failure.map_or(FailureKind::Failure, kind))
}

fn attempt(number: u32, attempt: &Attempt, explanation: Explanation) -> StepAttempt {
    let place = attempt.place.as_ref();
    StepAttempt {
        number,
        pod: place.map(|place| place.pod.clone()),
        container: place.map(|place| place.container.clone()),
        started_at: attempt.started.map(MicroTime),
        finished_at: attempt.ended.map(MicroTime),
        exit_code: attempt.exit_code,
        reason: explanation.reason,
        message: explanation.message,
        failure: explanation.failure,
    }
}

fn read_attempt(recorded: &StepAttempt) -> (Attempt, Cause) {
    let attempt = Attempt {
        place: place(recorded.pod.clone(), recorded.container.clone()),
        started: time(recorded.started_at.as_ref()),
        ended: time(recorded.finished_at.as_ref()),
        exit_code: recorded.exit_code,
    };
    let cause = cause(
        recorded.reason.clone(),
        recorded.message.clone(),
        recorded.failure,
    );
    (attempt, cause)
}

fn place(pod: Option<String>, container: Option<String>) -> Option<Place> {
    Some(Place {
        pod: pod?,
        container: container?,
    })
}

fn time(time: Option<&MicroTime>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_cause() -> impl Strategy<Value = Cause> {
        let parts = ("[A-Z][a-z]{1,4}", "[a-z: ]{0,9}");
        parts.prop_map(|(reason, message)| Cause::new(reason, message))
    }

    fn any_failure() -> impl Strategy<Value = Cause> {
        let kind = prop::sample::select(&FailureKind::ALL);
        (any_cause(), kind).prop_map(|(cause, kind)| cause.of_kind(kind))
    }

    fn any_time() -> impl Strategy<Value = Option<Timestamp>> {
        let second = |second: i64| Timestamp::from_second(second).unwrap();
        prop::option::of((1..1000_i64).prop_map(second))
    }

    fn any_attempt() -> impl Strategy<Value = Attempt> {
        let place = Place {
            pod: "plan-0".into(),
            container: "a".into(),
        };
        let place = prop::option::of(Just(place));
        let parts = (place, any_time(), any_time(), prop::option::of(0..256));
        parts.prop_map(|(place, started, ended, exit_code)| Attempt {
            place,
            started,
            ended,
            exit_code,
        })
    }

    fn any_state() -> impl Strategy<Value = State> {
        prop_oneof![
            Just(State::Pending(Pending::NotStarted)),
            "[a-z]{1,9}".prop_map(|message| State::Pending(Pending::Message(message))),
            any_cause().prop_map(|cause| State::Pending(Pending::Blocked(cause))),
            Just(State::Running),
            "[a-z]{1,9}".prop_map(State::Awaiting),
            (any_failure(), 1..1000_i64).prop_map(|(cause, since)| State::Stopping {
                cause,
                since: Timestamp::from_second(since).unwrap(),
            }),
            Just(State::Completed),
            any_failure().prop_map(State::Failed),
            "[a-z]{0,9}".prop_map(State::Skipped),
        ]
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let earlier = prop::collection::vec((any_attempt(), any_failure()), 0..3);
        let outputs = prop::collection::btree_map("[a-z]{1,3}", ".{0,9}", 0..3);
        let approved_by = prop::option::of("[a-z]{1,3}");
        let run = (any_attempt(), any_time(), earlier, outputs);
        let parts = (any_state(), run, approved_by);
        parts.prop_map(
            |(state, (attempt, retry_at, earlier, outputs), approved_by)| Step {
                name: "a".into(),
                retry_at,
                state,
                attempt,
                earlier,
                outputs,
                approved_by,
                allow_failure: false,
                is_final: false,
                taken_over_from: None,
            },
        )
    }

    proptest! {
        #[test]
        fn recorded_step_is_read_back(step in any_step()) {
            let recorded = step.status();
            let written = serde_json::to_string(&recorded).unwrap();
            let stored: StepStatus = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(&Step::read("a", Some(&stored)).status(), &recorded);
            prop_assert_eq!(Step::read("a", Some(&stored)), step);
        }

        #[test]
        fn only_several_attempts_are_listed(step in any_step()) {
            let recorded = step.status();
            prop_assert_eq!(recorded.attempt(), step.attempt_number());
            let listed = if step.earlier.is_empty() { 0 } else { step.earlier.len() + 1 };
            prop_assert_eq!(recorded.attempts.len(), listed);
        }
    }
}
