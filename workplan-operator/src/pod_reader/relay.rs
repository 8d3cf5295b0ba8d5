//! The relay pod of a task. All its containers start together. In each of them a step runner waits for the
//! dependencies of its step and writes a record of the result. The state of a waiting step follows from the other
//! steps, by the same rule that the step runner applies.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use kubeci_api::{Step, Task};
use kubeci_engine::{Cause, HandOver, Observation, Repeated, Run, Standby, Start};
use step_runner::exit_code;
use step_runner::outputs::Refusal;
use step_runner::record::{AttemptFailure, EarlierAttempt, End, Record, Stage};

use super::blocked::Blocked;
use super::container::{place, removed};
use super::task_steps::TaskSteps;
use super::{cause, outputs};
use crate::observed::{ContainerState, Ended, ObservedContainer, ObservedPod, PodPhase};

/// The maximum time from the end of a step until the step runners that wait for it have ended and the kubelet has
/// reported it.
const HAND_OVER_MAX: SignedDuration = SignedDuration::from_secs(30);

/// Reasons of the kubelet for the end of a container whose process was started.
const RAN: [&str; 5] = [
    "",
    Cause::ERROR,
    "Completed",
    "OOMKilled",
    cause::UNKNOWN_TO_RUNTIME,
];

/// Exit codes above it mean that a signal ended the process.
const SIGNALLED: i32 = 128;

/// The exit code of a process that SIGKILL has ended.
const KILLED: i32 = 137;

/// The exit code of a step runner whose step was not started.
const SKIPPED: i32 = exit_code::SKIPPED as i32;

/// The exit code of a step runner with an expression that has no value.
const EXPRESSION_FAILED: i32 = exit_code::EXPRESSION_FAILED as i32;

/// The exit code of a step runner that refused the outputs of its step.
const OUTPUT_REFUSED: i32 = exit_code::OUTPUT_REFUSED as i32;

/// The exit code of a step runner whose command ran longer than its time limit.
const TIMED_OUT: i32 = exit_code::TIMED_OUT as i32;

pub fn observe(
    steps: TaskSteps,
    task: &Task,
    pod: &ObservedPod,
    now: Timestamp,
) -> Vec<(usize, Observation)> {
    let steps = steps.iter().zip(task.steps());
    let open = steps.filter(|((_, step), _)| step.is_open());
    let observed = open.filter_map(|((at, _), step)| {
        let container = container(pod, &step.name)?;
        Some((at, observe_container(container, step, pod, now)))
    });
    observed.collect()
}

/// How the steps of a pod observe the end of each other; none if no container of the pod runs any more.
pub fn hand_over(steps: TaskSteps, pod: &ObservedPod, now: Timestamp) -> Option<HandOver> {
    if pod.is_quiet() {
        return None;
    }
    let of = |is: fn(&ContainerState) -> bool| {
        let is = |name: &str| container(pod, name).is_some_and(|it| is(&it.state));
        let steps = steps.iter().filter(|(_, step)| is(step.name()));
        steps.map(|(at, _)| at).collect()
    };
    Some(HandOver {
        members: of(|_| true),
        came_up: of(came_up),
        ended: of(|state| matches!(state, ContainerState::Ended(_))),
        done_by: pod.last_progress().unwrap_or(now) + HAND_OVER_MAX,
    })
}

fn container<'a>(pod: &'a ObservedPod, step: &str) -> Option<&'a ObservedContainer> {
    pod.containers.iter().find(|it| it.name == step)
}

fn observe_container(
    container: &ObservedContainer,
    step: &Step,
    pod: &ObservedPod,
    now: Timestamp,
) -> Observation {
    if let ContainerState::Ended(end) = &container.state {
        let record = end.message.parse::<Record>().ok();
        let repeated = record.as_ref().map(|record| repeated(record, step));
        let observation = observe_end(container, step, end, record.as_ref(), pod);
        return with_attempts(observation, repeated.unwrap_or_default());
    }
    if pod.has_ended() {
        return observe_pod_end(container, pod, now);
    }
    if let ContainerState::Running { since } = container.state {
        return Observation::Standby(Standby::Up {
            place: place(container, pod),
            since,
        });
    }
    if pod.deleting {
        return removed(place(container, pod), pod);
    }
    match Blocked::of_step(container, pod, now) {
        None => Observation::Standby(Standby::Down {
            message: comes_up_after(&container.name, pod),
        }),
        Some(blocked) if blocked.is_given_up(now) => {
            not_started(blocked.cause, container, pod, Times::default(), None)
        }
        Some(Blocked { cause, until }) => Observation::Standby(Standby::Blocked { cause, until }),
    }
}

/// A container whose end is not known, in a pod that has ended.
fn observe_pod_end(
    container: &ObservedContainer,
    pod: &ObservedPod,
    now: Timestamp,
) -> Observation {
    let up = match container.state {
        ContainerState::Running { since } => since,
        _ => None,
    };
    let is_good = pod.phase == PodPhase::Succeeded;
    let times = Times {
        up,
        started: None,
        ended: (is_good || up.is_some()).then_some(now),
    };
    if is_good {
        completed(container, pod, times)
    } else {
        not_started(cause::of_pod(pod), container, pod, times, None)
    }
}

/// An ended container. A step can write anything into its own termination message, so the record counts only as far
/// as the container's exit code allows.
fn observe_end(
    container: &ObservedContainer,
    step: &Step,
    end: &Ended,
    record: Option<&Record>,
    pod: &ObservedPod,
) -> Observation {
    let times = Times::of(record, end);
    if end.exit_code == 0 {
        return with_outputs(record, completed(container, pod, times));
    }
    let end = Ended {
        message: record.map_or(end.message.as_str(), message).to_owned(),
        ..end.clone()
    };
    if let Some(decided) =
        record.and_then(|record| by_expression(record, container, &end, pod, times))
    {
        return decided;
    }
    let removal = cause::of_removal(pod);
    let pod_stops = removal.is_some() || cause::of_stop(pod).is_some();
    let exit_code = Some(end.exit_code).filter(|_| removal.is_none());
    let cause = removal
        .or_else(|| timeout(record, &end, step))
        .or_else(|| cause::of_stop(pod))
        .or_else(|| is_runner_killed(record, &end).then(cause::of_killed_runner))
        .unwrap_or_else(|| cause::of_end(&end));
    if record.is_some_and(is_postponed) && end.exit_code == SKIPPED && !pod_stops {
        return postponed(cause::of_postponed(&end.message), container, pod);
    }
    if never_started(record, &end) {
        let times = Times {
            ended: times.ended,
            ..Times::default()
        };
        return not_started(cause, container, pod, times, exit_code);
    }
    let run = Run {
        place: place(container, pod),
        start: times.start().unwrap_or(Start::Never),
        ended: times.ended,
        exit_code,
        outputs: BTreeMap::new(),
        repeated: Vec::new(),
    };
    match record.and_then(refusal) {
        Some(refusal) if exit_code == Some(OUTPUT_REFUSED) => {
            refused(outputs::refused(refusal, &end.message), run)
        }
        _ => with_outputs(record, Observation::Failed(cause, run)),
    }
}

/// A step that its step runner has not started because of an expression. The removal of its pod does not change that.
fn by_expression(
    record: &Record,
    container: &ObservedContainer,
    end: &Ended,
    pod: &ObservedPod,
    times: Times,
) -> Option<Observation> {
    match (record.end()?, end.exit_code) {
        (End::ConditionFalse, SKIPPED) => Some(Observation::Skipped {
            message: match cause::printable(&end.message).as_str() {
                "" => "the condition is false".into(),
                message => message.to_owned(),
            },
        }),
        (End::ExpressionFailed, EXPRESSION_FAILED) => {
            let times = Times {
                ended: times.ended,
                ..Times::default()
            };
            let cause = cause::of_expression(&end.message);
            Some(not_started(cause, container, pod, times, None))
        }
        _ => None,
    }
}

/// Adds the outputs in the record of a step that has ended. If the kubelet has cut them, the step failed.
fn with_outputs(record: Option<&Record>, observation: Observation) -> Observation {
    let Some(Stage::Ended { outputs, .. }) = record.map(|record| &record.stage) else {
        return observation;
    };
    match (observation, outputs.clone()) {
        (Observation::Completed(run), Some(outputs)) => {
            Observation::Completed(outputs::with(run, outputs))
        }
        (Observation::Completed(run), None) => {
            refused(outputs::refused(Refusal::TooLarge, ""), run)
        }
        (Observation::Failed(cause, run), Some(outputs)) if run.exit_code.is_some() => {
            Observation::Failed(cause, outputs::with(run, outputs))
        }
        (other, _) => other,
    }
}

fn refusal(record: &Record) -> Option<Refusal> {
    match &record.stage {
        Stage::Ended {
            end: End::OutputRefused { refusal, .. },
            ..
        } => Some(*refusal),
        _ => None,
    }
}

/// A step whose command completed, and whose outputs were refused.
fn refused(cause: Cause, run: Run) -> Observation {
    let exit_code = Some(0);
    Observation::Failed(cause, Run { exit_code, ..run })
}

/// The cause of a step whose command ran longer than its time limit; none if it did not.
fn timeout(record: Option<&Record>, end: &Ended, step: &Step) -> Option<Cause> {
    let Stage::Ended {
        end: End::TimedOut { .. },
        ..
    } = record?.stage
    else {
        return None;
    };
    let limit = step.timeout.filter(|_| end.exit_code == TIMED_OUT)?;
    Some(cause::of_timeout(limit, &end.message))
}

/// The attempts that the step runner has repeated. A step can forge them, so there are no more than its `retry` allows.
fn repeated(record: &Record, step: &Step) -> Vec<Repeated> {
    let limit = step.retry.as_ref().map_or(0, |retry| retry.limit);
    let limit = usize::try_from(limit).unwrap_or_default();
    let attempts = record.earlier.iter().take(limit);
    attempts
        .map(|attempt| match attempt {
            Some(attempt) => repeated_attempt(attempt, record, step),
            None => Repeated {
                started: None,
                ended: None,
                exit_code: None,
                cause: cause::of_cut_attempt(),
            },
        })
        .collect()
}

fn repeated_attempt(attempt: &EarlierAttempt, record: &Record, step: &Step) -> Repeated {
    let time = |since_up| Timestamp::try_from(record.at(since_up)?).ok();
    let error = || Cause::new(Cause::ERROR, "");
    let (exit_code, cause) = match attempt.failure {
        AttemptFailure::Exit(code) => (code.into(), error()),
        AttemptFailure::Output(refusal) => (0, outputs::refused(refusal, "")),
        AttemptFailure::Timeout => {
            let cause = step.timeout.map(|limit| cause::of_timeout(limit, ""));
            (TIMED_OUT, cause.unwrap_or_else(error))
        }
    };
    Repeated {
        started: attempt.started.and_then(time),
        ended: time(attempt.ended),
        exit_code: Some(exit_code),
        cause,
    }
}

fn with_attempts(mut observation: Observation, repeated: Vec<Repeated>) -> Observation {
    if let Observation::Completed(run)
    | Observation::Failed(_, run)
    | Observation::NotStarted { run, .. } = &mut observation
    {
        run.repeated = repeated;
    }
    observation
}

fn completed(container: &ObservedContainer, pod: &ObservedPod, times: Times) -> Observation {
    Observation::Completed(Run {
        place: place(container, pod),
        start: times.start().unwrap_or(Start::AsKnown),
        ended: times.ended,
        exit_code: Some(0),
        outputs: BTreeMap::new(),
        repeated: Vec::new(),
    })
}

/// A step whose command was not started, unless its container ran and its dependencies had completed.
fn not_started(
    cause: Cause,
    container: &ObservedContainer,
    pod: &ObservedPod,
    times: Times,
    exit_code: Option<i32>,
) -> Observation {
    Observation::NotStarted {
        cause,
        run: Run {
            place: place(container, pod),
            start: times.start().unwrap_or(Start::Never),
            ended: times.ended,
            exit_code,
            outputs: BTreeMap::new(),
            repeated: Vec::new(),
        },
        came_up: came_up(&container.state),
    }
}

/// A step that its step runner has left to the next pod.
fn postponed(cause: Cause, container: &ObservedContainer, pod: &ObservedPod) -> Observation {
    Observation::Postponed {
        cause,
        run: Run {
            place: place(container, pod),
            start: Start::Never,
            ended: None,
            exit_code: None,
            outputs: BTreeMap::new(),
            repeated: Vec::new(),
        },
    }
}

/// When a command ran, as far as it is known.
#[derive(Clone, Copy, Default)]
struct Times {
    /// When its container was up; absent where it is known that the command was not started.
    up: Option<Timestamp>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
}

impl Times {
    fn of(record: Option<&Record>, end: &Ended) -> Self {
        let time = |time: SystemTime| Timestamp::try_from(time).ok();
        match record {
            Some(record) => Self {
                up: time(record.up),
                started: record.started_at().and_then(time),
                ended: record.ended_at().and_then(time).or(end.finished),
            },
            None => Self {
                up: end.started,
                started: None,
                ended: end.finished,
            },
        }
    }

    fn start(self) -> Option<Start> {
        let at_turn = |up| Start::AtTurn { up: Some(up) };
        self.started.map(Start::At).or(self.up.map(at_turn))
    }
}

fn never_started(record: Option<&Record>, end: &Ended) -> bool {
    match record.map(|record| &record.stage) {
        None => !has_run(end) || end.exit_code == SKIPPED,
        Some(Stage::Waiting) => true,
        Some(Stage::Running { .. }) => false,
        Some(Stage::Ended { end, .. }) => match end {
            End::ExpressionFailed | End::Skipped | End::ConditionFalse | End::Postponed => true,
            End::Failed { started, .. } => started.is_none(),
            End::Completed { .. } | End::OutputRefused { .. } | End::TimedOut { .. } => false,
        },
    }
}

/// Whether SIGKILL has ended the step runner, which otherwise records the end of its step first.
fn is_runner_killed(record: Option<&Record>, end: &Ended) -> bool {
    let has_ended = record.is_some_and(|record| matches!(record.stage, Stage::Ended { .. }));
    end.exit_code == KILLED && end.reason == Cause::ERROR && !has_ended
}

fn is_postponed(record: &Record) -> bool {
    record.end() == Some(&End::Postponed)
}

fn message(record: &Record) -> &str {
    match &record.stage {
        Stage::Ended { message, .. } => message,
        Stage::Waiting | Stage::Running { .. } => "",
    }
}

/// Whether a container's process was started.
pub fn came_up(state: &ContainerState) -> bool {
    match state {
        ContainerState::Unknown | ContainerState::Waiting { .. } => false,
        ContainerState::Running { .. } => true,
        ContainerState::Ended(end) => has_run(end),
    }
}

/// Whether the process of an ended container was started, as its step runner or the kubelet reports. If the runtime
/// cannot execute it, for example because of too long arguments, the container ends like a failed process, and its log
/// has the cause. The step runner writes a record first, unless it is killed.
fn has_run(end: &Ended) -> bool {
    let is_reported =
        [0, SKIPPED].contains(&end.exit_code) || end.message.parse::<Record>().is_ok();
    RAN.contains(&end.reason.as_str()) && (is_reported || end.exit_code > SIGNALLED)
}

/// Why a container has not started. The kubelet starts containers one after the other, and pulls their images in
/// between.
fn comes_up_after(step: &str, pod: &ObservedPod) -> String {
    let is_up = |state: &ContainerState| {
        matches!(
            state,
            ContainerState::Running { .. } | ContainerState::Ended(_)
        )
    };
    let first = pod.containers.iter().find(|it| !is_up(&it.state));
    match first.filter(|first| first.name != step) {
        Some(first) => format!(
            "its container has not started: the node starts the containers one after the other, now that of {}",
            first.name
        ),
        None => "its container has not started: its image is being pulled, or it is being created"
            .into(),
    }
}
