use std::thread;

use kubeci_plan::{NamedEdge, Readiness, readiness};

use crate::arguments::Run;
use crate::at_once;
use crate::attempts;
use crate::clock::Clock;
use crate::dependency::{self, Ended};
use crate::error::Error;
use crate::exit_code;
use crate::expressions::{self, Decision};
use crate::output_file;
use crate::record::{End, Exit};
use crate::relay::Relay;
use crate::signals::{self, Signals};
use crate::status::{StatusWriter, StepResult};
use crate::supervised::{Shared, State, Step};

/// Supervises a step from its container's start to its end. Returns the exit code of the runner.
pub fn run(run: &Run) -> u8 {
    let status = StatusWriter::new(Clock::start(), run);
    let step = Step::new(status);
    supervise(run, &step).unwrap_or_else(|error| {
        eprintln!("step-runner: {error}");
        let end = End::Failed {
            started: None,
            exit: Exit::Code(exit_code::RUNNER_FAILED),
        };
        let result = StepResult::new(end, error.to_string());
        let _ = step.locked().end(result);
        exit_code::RUNNER_FAILED
    })
}

fn supervise(run: &Run, step: &Shared) -> Result<u8, Error> {
    let relay = Relay(&run.relay);
    let signals = signals::catch()?;
    let outputs = relay.outputs(&run.step);
    step.locked().status.publish(&relay, &run.step)?;
    output_file::create(&outputs)?;
    let for_signals = step.clone();
    thread::Builder::new()
        .spawn(move || forward(signals, &for_signals))
        .map_err(Error::refused("start a thread"))?;
    let decision = match not_started(&relay, run, step)? {
        Some(result) => Decision::End(result),
        None => expressions::decide(&relay, run, step)?,
    };
    match decision {
        Decision::Start(variables) => attempts::run(run, step, &relay, &variables),
        Decision::End(result) => {
            let exit_code = result.end.exit_code();
            step.locked().end(result)?;
            Ok(exit_code)
        }
    }
}

/// Waits for the steps that the edges come from. Returns the result of the step if it does not start.
fn not_started(relay: &Relay<'_>, run: &Run, step: &Shared) -> Result<Option<StepResult>, Error> {
    let needs = &run.needs;
    let mut ends = if run.at_once {
        let names: Vec<&str> = needs.iter().map(|it| it.from.as_str()).collect();
        step.locked().state = State::Waiting(names.join(", "));
        Some(at_once::ends(relay, run)?)
    } else {
        None
    };
    let mut ended: Vec<Option<Ended>> = vec![None; needs.len()];
    loop {
        let outcomes = ended.iter().map(|it| it.as_ref()?.outcome);
        match readiness(needs.iter().map(|it| it.kind).zip(outcomes)) {
            Readiness::Start => return Ok(None),
            Readiness::Skip { because } => {
                return Ok(Some(result(End::Skipped, needs, &ended, because)));
            }
            Readiness::Wait => {}
        }
        let goes_on = |it: &Option<Ended>| it.as_ref().is_some_and(|it| it.outcome.is_none());
        if let Some(because) = ended.iter().position(goes_on) {
            return Ok(Some(result(End::Postponed, needs, &ended, because)));
        }
        let first_open = ended.iter().position(Option::is_none).unwrap_or_default();
        let (position, end) = match &mut ends {
            Some(ends) => at_once::next(ends)?,
            None => (first_open, end_of(relay, run, first_open, step)?),
        };
        ended[position] = Some(end);
    }
}

/// The result of a step that does not start because of an edge.
fn result(
    end: End,
    needs: &[NamedEdge<String>],
    ended: &[Option<Ended>],
    because: usize,
) -> StepResult {
    let how = ended[because].as_ref().map_or("", |it| &it.how);
    StepResult::new(end, format!("{} {how}", needs[because].from))
}

fn end_of(relay: &Relay<'_>, run: &Run, position: usize, step: &Shared) -> Result<Ended, Error> {
    let need = &run.needs[position].from;
    dependency::ended(relay, need, run.repeated.contains(need), |until| {
        step.wait_for(need, until);
    })
}

/// Forwards signals to the command. Where none runs, a signal that would end it ends the step. A step that has not
/// started is postponed: its pod is being stopped, and the operator decides.
fn forward(signals: Signals, step: &Shared) {
    signals.for_each(|signal| {
        let mut step = step.locked();
        let (name, ends) = (signals::name(signal), signals::ends(signal));
        step.is_stopped |= ends;
        let result = match &mut step.state {
            State::Running(running) => return running.signal(signal),
            State::Waiting(what) if ends => {
                let because = format!("it was stopped by {name} while it waited for {what}");
                StepResult::new(End::Postponed, because)
            }
            State::Pausing(attempt) if ends => {
                let mut result = attempt.result.clone();
                let separator = if result.message.is_empty() { "" } else { "; " };
                let because = format!("{separator}stopped by {name} before the next attempt");
                result.message.push_str(&because);
                result
            }
            State::Waiting(_) | State::Pausing(_) | State::Ended => return,
        };
        let exit_code = result.end.exit_code();
        let _ = step.end(result);
        std::process::exit(exit_code.into());
    });
}
