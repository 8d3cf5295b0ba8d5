use std::path::Path;
use std::sync::MutexGuard;
use std::thread;
use std::time::Duration;

use kubeci_plan::{FailureKind, RetryPolicy};

use crate::arguments::Run;
use crate::command::{self, NotStarted};
use crate::error::Error;
use crate::expressions::Named;
use crate::log;
use crate::output_file;
use crate::outputs::Outputs;
use crate::record::{End, Exit, Stage};
use crate::relay::Relay;
use crate::slots::{self, Slot};
use crate::status::StepResult;
use crate::supervised::{Attempt, Running, Shared, State, Step, Supervised};
use crate::time_limit;

/// Runs the command with these environment variables, again after failures as the policy says. Returns the exit code of
/// the runner.
pub fn run(run: &Run, step: &Shared, relay: &Relay<'_>, variables: &[Named]) -> Result<u8, Error> {
    let outputs = relay.outputs(&run.step);
    loop {
        // It is given back after the time of the end was read: by the records, too, no more steps run than there are
        // slots.
        let slot = slot(run, step, relay)?;
        let (mut held, attempt) = attempt(run, step, &outputs, variables)?;
        let Some(pause) = pause_after(&attempt, &held, &run.retry) else {
            let exit_code = attempt.result.end.exit_code();
            held.end(attempt.result)?;
            if held.is_stopped && slot.is_some() {
                drop(held);
                slots::outlast_waiters(relay)?;
            }
            return Ok(exit_code);
        };
        let next = attempt.ended + pause;
        announce(&attempt, held.status.attempt(), run.retry.limit, pause);
        // The command may have replaced the record with a message of its own.
        if let Some(started) = attempt.result.end.started() {
            held.status.update(Stage::Running { started });
        }
        let before = step.leave(&mut held, State::Pausing(attempt));
        drop(held);
        if let State::Running(running) = before {
            command::kill_rest(running.command);
            command::reap_rest();
        }
        drop(slot);
        let now = step.locked().status.clock().elapsed();
        thread::sleep(next.saturating_sub(now));
    }
}

/// Waits for one of the slots that the steps of the pod share, if they do.
fn slot(run: &Run, step: &Step, relay: &Relay<'_>) -> Result<Option<Slot>, Error> {
    let Some(count) = run.slots else {
        return Ok(None);
    };
    if let State::Waiting(what) = &mut step.locked().state {
        *what = format!("one of {count} slots (maxParallel)");
    }
    slots::take(relay, count).map(Some)
}

/// Runs the command once. Returns how it ended, with the step in the state before its end.
fn attempt<'a>(
    run: &Run,
    step: &'a Shared,
    outputs: &Path,
    variables: &[Named],
) -> Result<(MutexGuard<'a, Supervised>, Attempt), Error> {
    // A signal is handled before the start or after it, not during the start.
    let mut held = step.locked();
    begin(step, &mut held, outputs)?;
    // Before the command starts: it may write there itself, and never runs for less than the status says.
    let started = held.status.clock().elapsed();
    held.status.update(Stage::Running { started });
    if let Some(limit) = run.limit {
        time_limit::keep(limit, held.status.attempt(), step)?;
    }
    let command = match command::start(run, outputs, variables) {
        Ok(command) => command,
        Err(why) => {
            let attempt = not_started(why, held.status.clock().elapsed());
            return Ok((held, attempt));
        }
    };
    held.state = State::Running(Running {
        command,
        is_timed_out: false,
    });
    drop(held);

    let exit = command::reap(command)?;
    let held = step.locked();
    if matches!(&held.state, State::Running(running) if running.is_timed_out) {
        command::kill_rest(command);
    }
    let end = end(&held.state, started, exit);
    let attempt = Attempt {
        ended: held.status.clock().elapsed(),
        result: with_outputs(end, outputs, run.output_bytes),
    };
    Ok((held, attempt))
}

fn not_started(why: NotStarted, ended: Duration) -> Attempt {
    log::line(format_args!("{}", why.message));
    let end = End::Failed {
        started: None,
        exit: Exit::Code(why.exit_code),
    };
    Attempt {
        result: StepResult::new(end, why.message),
        ended,
    }
}

/// Ends the pause after an attempt, if there was one. The next attempt writes its outputs to a new file.
fn begin(step: &Step, held: &mut Supervised, outputs: &Path) -> Result<(), Error> {
    let state = State::Waiting("its start".into());
    let State::Pausing(attempt) = step.leave(held, state) else {
        return Ok(());
    };
    if let Some(failed) = attempt.failed() {
        held.status.add_earlier(failed);
    }
    output_file::create_again(outputs)
}

fn end(state: &State, started: Duration, exit: Exit) -> End {
    match (state, exit) {
        (State::Running(running), _) if running.is_timed_out => End::TimedOut { started, exit },
        (_, Exit::Code(0)) => End::Completed { started },
        _ => End::Failed {
            started: Some(started),
            exit,
        },
    }
}

/// The result of a command that has ended, with what it wrote to the file for its outputs.
fn with_outputs(end: End, file: &Path, most: usize) -> StepResult {
    let End::Completed { started } = end else {
        let (outputs, message) = match output_file::of_failed(file, most) {
            Ok(outputs) => (outputs, String::new()),
            Err(message) => (Outputs::default(), message),
        };
        return StepResult {
            end,
            message,
            outputs,
        };
    };
    match output_file::of_completed(file, most) {
        Ok(outputs) => StepResult {
            end,
            message: String::new(),
            outputs,
        },
        Err(error) => {
            log::line(format_args!("{error}"));
            let refusal = error.refusal();
            StepResult::new(End::OutputRefused { started, refusal }, error.to_string())
        }
    }
}

/// The pause before the next attempt, or `None` if there is none: the policy excludes it, or the step is being stopped.
fn pause_after(attempt: &Attempt, held: &Supervised, policy: &RetryPolicy) -> Option<Duration> {
    let (kind, exit_code) = match &attempt.result.end {
        // As in a pod without step runners, where it is the exit code of the command.
        End::OutputRefused { .. } => (FailureKind::Failure, 0),
        end @ End::Failed { .. } => (FailureKind::Failure, end.exit_code()),
        end @ End::TimedOut { .. } => (FailureKind::Timeout, end.exit_code()),
        End::Completed { .. }
        | End::ExpressionFailed
        | End::Skipped
        | End::ConditionFalse
        | End::Postponed => return None,
    };
    let pause = policy.pause(held.status.attempt(), kind, Some(exit_code.into()));
    pause.filter(|_| !held.is_stopped)
}

fn announce(attempt: &Attempt, number: u32, retries: u32, pause: Duration) {
    let code = attempt.result.end.exit_code();
    let all = retries + 1;
    let when = match pause {
        Duration::ZERO => "now".to_owned(),
        pause => format!("in {pause:?}"),
    };
    log::line(format_args!(
        "attempt {number} of {all} failed with exit code {code}; the next one starts {when}"
    ));
}
