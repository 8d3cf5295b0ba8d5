use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::dependency::Until;
use crate::error::Error;
use crate::record::{AttemptFailure, EarlierAttempt, End};
use crate::status::{StatusWriter, StepResult};

/// A step that its runner supervises: a thread for the command, one for signals, and one for the time limit.
pub struct Step {
    supervised: Mutex<Supervised>,
    /// The state has changed.
    changed: Condvar,
}

pub type Shared = Arc<Step>;

pub struct Supervised {
    pub state: State,
    pub status: StatusWriter,
    /// Whether the runner received a signal that would end the command: its pod is being stopped.
    pub is_stopped: bool,
}

/// The state of the step when a signal arrives.
pub enum State {
    Waiting(String),
    Running(Running),
    /// The attempt has failed, and another one follows after a pause.
    Pausing(Attempt),
    Ended,
}

/// A command that runs.
pub struct Running {
    pub command: Pid,
    pub is_timed_out: bool,
}

/// An attempt that has ended.
pub struct Attempt {
    pub result: StepResult,
    /// When it ended, counted from the runner's start.
    pub ended: Duration,
}

impl Step {
    pub fn new(status: StatusWriter) -> Shared {
        Arc::new(Self {
            supervised: Mutex::new(Supervised {
                state: State::Waiting("its start".into()),
                status,
                is_stopped: false,
            }),
            changed: Condvar::new(),
        })
    }

    pub fn locked(&self) -> MutexGuard<'_, Supervised> {
        self.supervised
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that it waits for another step.
    pub fn wait_for(&self, other: &str, until: Until) {
        self.locked().state = State::Waiting(match until {
            Until::Up => format!("{other}, whose container has not started"),
            Until::Ended => other.to_owned(),
        });
    }

    /// Replaces the state of a step whose command has ended, and wakes the thread of the time limit.
    pub fn leave(&self, held: &mut Supervised, state: State) -> State {
        self.changed.notify_all();
        std::mem::replace(&mut held.state, state)
    }

    /// Waits. Returns the step if the command of the attempt then still runs.
    pub fn still_runs_after(
        &self,
        time: Duration,
        attempt: u32,
    ) -> Option<MutexGuard<'_, Supervised>> {
        let runs = |step: &mut Supervised| {
            step.status.attempt() == attempt && matches!(step.state, State::Running(_))
        };
        let waited = self.changed.wait_timeout_while(self.locked(), time, runs);
        let (held, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        waited.timed_out().then_some(held)
    }
}

impl Supervised {
    /// Publishes the result. The steps that wait for a step that was stopped do not start: they are being stopped too,
    /// and may receive the signal later.
    pub fn end(&mut self, result: StepResult) -> Result<(), Error> {
        self.state = State::Ended;
        self.status
            .end(result, self.is_stopped)
            .map_err(Error::io("write", "the step's record"))
    }
}

impl Running {
    /// Sends the command a signal. It may have been reaped just now; its pid is given out again only after all others.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.command, signal);
    }
}

impl Attempt {
    /// The attempt as one before others; none if it has not failed.
    pub fn failed(&self) -> Option<EarlierAttempt> {
        let failure = match self.result.end {
            End::OutputRefused { refusal, .. } => AttemptFailure::Output(refusal),
            End::Failed { exit, .. } => AttemptFailure::Exit(exit.code()),
            End::TimedOut { .. } => AttemptFailure::Timeout,
            End::Completed { .. }
            | End::ExpressionFailed
            | End::Skipped
            | End::ConditionFalse
            | End::Postponed => return None,
        };
        Some(EarlierAttempt {
            started: self.result.end.started(),
            ended: self.ended,
            failure,
        })
    }
}
