use std::thread;

use rustix::process::Signal;

use crate::arguments::TimeLimit;
use crate::command;
use crate::error::Error;
use crate::log;
use crate::supervised::{Shared, State, Step};

/// Keeps the time limit of an attempt, in a thread of its own. It has to be called before the command starts, so that
/// no command runs without its limit; its time counts from when the caller lets go of the step.
pub fn keep(limit: TimeLimit, attempt: u32, step: &Shared) -> Result<(), Error> {
    let step = step.clone();
    thread::Builder::new()
        .spawn(move || stop(limit, attempt, &step))
        .map_err(Error::refused("start a thread"))?;
    Ok(())
}

/// Stops the command when its time is up, and kills what is left after the grace.
fn stop(limit: TimeLimit, attempt: u32, step: &Step) {
    let Some(mut held) = step.still_runs_after(limit.timeout, attempt) else {
        return;
    };
    if let State::Running(running) = &mut held.state {
        running.is_timed_out = true;
        running.signal(Signal::TERM);
    }
    drop(held);
    log::line(format_args!(
        "the command ran longer than its timeout of {:?}",
        limit.timeout
    ));
    let held = step.still_runs_after(limit.grace, attempt);
    if let Some(State::Running(running)) = held.as_ref().map(|held| &held.state) {
        running.signal(Signal::KILL);
        command::kill_rest(running.command);
    }
}
