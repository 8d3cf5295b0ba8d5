use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use kubeci_plan::{Readiness, readiness};
use rustix::process::{Pid, kill_process};

use crate::arguments::Run;
use crate::at_once;
use crate::clock::Clock;
use crate::command;
use crate::dependency::{self, Ended, Until};
use crate::error::Error;
use crate::exit_code;
use crate::output_file;
use crate::outputs::Outputs;
use crate::record::{End, Exit, Stage};
use crate::relay::Relay;
use crate::signals::{self, Signals};
use crate::status::{StatusWriter, StepResult};

/// The state of the step when a signal arrives.
enum State {
    Waiting(String),
    Running(Pid),
    Ended,
}

struct Supervised {
    state: State,
    status: StatusWriter,
}

type Shared = Arc<Mutex<Supervised>>;

/// Supervises a step from its container's start to its end. Returns the exit code of the runner.
pub fn run(run: &Run) -> u8 {
    let status = StatusWriter::new(Clock::start(), run);
    let step = Arc::new(Mutex::new(Supervised {
        state: State::Waiting("its start".into()),
        status,
    }));
    supervise(run, &step).unwrap_or_else(|error| {
        eprintln!("step-runner: {error}");
        let end = End::Failed {
            started: None,
            exit: Exit::Code(exit_code::RUNNER_FAILED),
        };
        let _ = locked(&step).end(StepResult::new(end, error.to_string()));
        exit_code::RUNNER_FAILED
    })
}

fn supervise(run: &Run, step: &Shared) -> Result<u8, Error> {
    let relay = Relay(&run.relay);
    let signals = signals::catch()?;
    locked(step).status.publish(&relay, &run.step)?;
    output_file::create(&relay.outputs(&run.step))?;
    let for_signals = step.clone();
    thread::Builder::new()
        .spawn(move || forward(signals, &for_signals))
        .map_err(Error::refused("start a thread"))?;
    match why_skipped(&relay, run, step)? {
        Some(because) => {
            locked(step).end(StepResult::new(End::Skipped, because))?;
            Ok(exit_code::SKIPPED)
        }
        None => start(run, step, &relay.outputs(&run.step)),
    }
}

/// Waits for the steps that the edges come from. Returns why the step is skipped, if it is.
fn why_skipped(relay: &Relay<'_>, run: &Run, step: &Shared) -> Result<Option<String>, Error> {
    let needs = &run.needs;
    let mut ends = if run.at_once {
        let names: Vec<&str> = needs.iter().map(|it| it.from.as_str()).collect();
        locked(step).state = State::Waiting(names.join(", "));
        Some(at_once::ends(relay, needs)?)
    } else {
        None
    };
    let mut ended: Vec<Option<Ended>> = vec![None; needs.len()];
    loop {
        let outcomes = ended.iter().map(|it| Some(it.as_ref()?.outcome));
        match readiness(needs.iter().map(|it| it.kind).zip(outcomes)) {
            Readiness::Start => return Ok(None),
            Readiness::Skip { because } => {
                let how = ended[because].as_ref().map_or("", |it| &it.how);
                return Ok(Some(format!("{} {how}", needs[because].from)));
            }
            Readiness::Wait => {
                let first_open = ended.iter().position(Option::is_none).unwrap_or_default();
                let (position, end) = match &mut ends {
                    Some(ends) => at_once::next(ends)?,
                    None => (first_open, end_of(relay, &needs[first_open].from, step)?),
                };
                ended[position] = Some(end);
            }
        }
    }
}

fn end_of(relay: &Relay<'_>, need: &str, step: &Shared) -> Result<Ended, Error> {
    dependency::ended(relay, need, |until| {
        locked(step).state = State::Waiting(match until {
            Until::Up => format!("{need}, whose container has not started"),
            Until::Ended => need.to_owned(),
        });
    })
}

fn start(run: &Run, step: &Shared, outputs: &Path) -> Result<u8, Error> {
    // A signal is handled before the start or after it, not during the start.
    let mut held = locked(step);
    // Before the command starts: it may write there itself, and never runs for less than the status says.
    let started = held.status.clock().elapsed();
    held.status.update(Stage::Running { started });
    let pid = match command::start(run, outputs) {
        Ok(pid) => pid,
        Err(why) => {
            eprintln!("step-runner: {}", why.message);
            let end = End::Failed {
                started: None,
                exit: Exit::Code(why.exit_code),
            };
            held.end(StepResult::new(end, why.message))?;
            return Ok(why.exit_code);
        }
    };
    held.state = State::Running(pid);
    drop(held);

    let exit = command::reap(pid)?;
    let result = match exit {
        Exit::Code(0) => of_completed(started, outputs, run.output_bytes),
        _ => of_failed(started, exit, outputs, run.output_bytes),
    };
    let code = match result.end {
        End::OutputRefused { .. } => {
            eprintln!("step-runner: {}", result.message);
            exit_code::OUTPUT_REFUSED
        }
        _ => exit.code(),
    };
    locked(step).end(result)?;
    Ok(code)
}

/// The result of a command that ended with exit code 0.
fn of_completed(started: Duration, outputs: &Path, most: usize) -> StepResult {
    match output_file::of_completed(outputs, most) {
        Ok(outputs) => StepResult {
            end: End::Completed { started },
            message: String::new(),
            outputs,
        },
        Err(error) => {
            let refusal = error.refusal();
            let end = End::OutputRefused { started, refusal };
            StepResult::new(end, error.to_string())
        }
    }
}

/// The result of a command that ended otherwise.
fn of_failed(started: Duration, exit: Exit, outputs: &Path, most: usize) -> StepResult {
    let (outputs, message) = match output_file::of_failed(outputs, most) {
        Ok(outputs) => (outputs, String::new()),
        Err(message) => (Outputs::default(), message),
    };
    StepResult {
        end: End::Failed {
            started: Some(started),
            exit,
        },
        message,
        outputs,
    }
}

/// Forwards signals to the command. Before it starts, a signal that would end it ends the step.
fn forward(signals: Signals, step: &Shared) {
    signals.for_each(|signal| {
        let mut step = locked(step);
        match &step.state {
            // The command may have been reaped just now; its pid is given out again only after all others.
            State::Running(pid) => {
                let _ = kill_process(*pid, signal);
            }
            State::Waiting(what) if signals::ends(signal) => {
                let name = signals::name(signal);
                let because = format!("stopped by {name} while it waited for {what}");
                let _ = step.end(StepResult::new(End::Skipped, because));
                std::process::exit(exit_code::SKIPPED.into());
            }
            State::Waiting(_) | State::Ended => {}
        }
    });
}

impl Supervised {
    fn end(&mut self, result: StepResult) -> Result<(), Error> {
        self.state = State::Ended;
        self.status
            .end(result)
            .map_err(Error::io("write", "the step's record"))
    }
}

fn locked(step: &Shared) -> MutexGuard<'_, Supervised> {
    step.lock().unwrap_or_else(PoisonError::into_inner)
}
