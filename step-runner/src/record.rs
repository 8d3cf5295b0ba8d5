//! The record of a step: one line, for the steps that wait for it and for the operator.
//!
//! ```text
//! kubeci/1 completed up=2026-11-21T11:25:50.123456Z started=1.234567 ended=2.345678
//! kubeci/1 failed up=2026-11-21T11:25:50.123456Z started=1.234567 ended=2.345678 exit=2: no space left
//! kubeci/1 skipped up=2026-11-21T11:25:50.123456Z ended=2.345678 condition=false: the condition is false: steps.a.exitCode == 3
//! kubeci/1 failed up=2026-11-21T11:25:50.123456Z ended=2.345678 expression=failed: 1 / 0: column 3: 1 / 0 divides by zero
//! kubeci/1 postponed up=2026-11-21T11:25:50.123456Z ended=2.345678: a ended without a result and may be attempted again
//! kubeci/1 timeout up=2026-11-21T11:25:50.123456Z started=3.234567 ended=6.345678 signal=15 try=2 earlier=1.234/2.345/2,
//! ```
//!
//! The head is short and comes first, because the kubelet cuts a container's termination message to 12 KiB divided by
//! the containers of its pod: 110 bytes in a pod of 110 steps. It cuts the end of the message after the head, or the
//! details of earlier attempts, which are the last words of the head.
//!
//! The outputs of the step follow the message, each after a separator, with a terminator after them. Without the
//! terminator they were cut.

mod earlier;
#[cfg(test)]
mod tests;
mod text;

use std::time::{Duration, SystemTime};

use kubeci_plan::Outcome;

pub use earlier::{AttemptFailure, EarlierAttempt, MAX_ATTEMPTS};
pub use text::Malformed;

use crate::exit_code;
use crate::outputs::{Outputs, Refusal};

/// The most bytes of a record: what the kubelet reads of a termination message.
pub const MAX_BYTES: usize = 4096;

/// The most bytes of a record without its message and its outputs.
pub const HEAD_BYTES: usize = 110;

/// The state of a step. All times are counted from `up` by a clock that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the step's runner came up, and with it the step's container; to the microsecond.
    pub up: SystemTime,
    /// The stage that it has reached. If the step was attempted several times: of the last attempt.
    pub stage: Stage,
    /// The attempts before the last one, in order; `None` where the kubelet has cut the details.
    pub earlier: Vec<Option<EarlierAttempt>>,
}

/// The stages of a step whose container is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for the steps that it depends on.
    Waiting,
    /// Its command runs.
    Running {
        /// When the command started, counted from `up`.
        started: Duration,
    },
    /// Nothing more will happen.
    Ended {
        /// When, counted from `up`.
        ended: Duration,
        /// How.
        end: End,
        /// The runner's message, or else the step's own termination message.
        message: String,
        /// The outputs of its command; absent if they were cut.
        outputs: Option<Outputs>,
    },
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its command ended with exit code 0.
    Completed {
        /// When the command started, counted from `up`.
        started: Duration,
    },
    /// Its command ended otherwise, or could not be started.
    Failed {
        /// When the command started, counted from `up`; absent if it could not be started.
        started: Option<Duration>,
        /// What the command ended with, or why it did not start (see [`crate::exit_code`]).
        exit: Exit,
    },
    /// Its command ended with exit code 0, and its outputs were refused.
    OutputRefused {
        /// When the command started, counted from `up`.
        started: Duration,
        /// Why they were refused.
        refusal: Refusal,
    },
    /// Its command ran longer than its time limit, and was stopped.
    TimedOut {
        /// When the command started, counted from `up`.
        started: Duration,
        /// What the command ended with.
        exit: Exit,
    },
    /// Its condition, or an environment variable that is an expression, has no value. Its command was not started.
    ExpressionFailed,
    /// Its command was not started, because an edge to it is broken.
    Skipped,
    /// Its command was not started, because its condition is false.
    ConditionFalse,
    /// Its command was not started, and may be started in another pod: a step that it depends on is postponed or has
    /// ended without a result, or the runner was told to stop while it waited. If the runner was told to stop later,
    /// its record is this one for the other steps, which are being stopped too.
    Postponed,
}

/// What a process ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited.
    Code(u8),
    /// It was killed by a signal.
    Signal(u8),
}

impl Exit {
    /// The exit code by which a shell, and the runner, passes it on: 128 and the signal.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

impl End {
    /// The outcome for the steps that depend on it; absent if it was postponed.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Completed { .. } => Some(Outcome::Completed),
            Self::Failed { .. }
            | Self::TimedOut { .. }
            | Self::OutputRefused { .. }
            | Self::ExpressionFailed => Some(Outcome::Failed),
            Self::Skipped | Self::ConditionFalse => Some(Outcome::Skipped),
            Self::Postponed => None,
        }
    }

    /// The exit code of the runner.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Completed { .. } => 0,
            Self::Failed { exit, .. } => exit.code(),
            Self::OutputRefused { .. } => exit_code::OUTPUT_REFUSED,
            Self::TimedOut { .. } => exit_code::TIMED_OUT,
            Self::ExpressionFailed => exit_code::EXPRESSION_FAILED,
            Self::Skipped | Self::ConditionFalse | Self::Postponed => exit_code::SKIPPED,
        }
    }

    /// The exit code in the status of the step; absent if there was nothing to run.
    #[must_use]
    pub fn code_of_step(&self) -> Option<u8> {
        match self {
            Self::Completed { .. } | Self::OutputRefused { .. } => Some(0),
            Self::Failed { .. } | Self::TimedOut { .. } => Some(self.exit_code()),
            Self::ExpressionFailed | Self::Skipped | Self::ConditionFalse | Self::Postponed => None,
        }
    }

    /// When the command started, counted from `up`, if it did.
    #[must_use]
    pub fn started(&self) -> Option<Duration> {
        match self {
            Self::Completed { started }
            | Self::OutputRefused { started, .. }
            | Self::TimedOut { started, .. } => Some(*started),
            Self::Failed { started, .. } => *started,
            Self::ExpressionFailed | Self::Skipped | Self::ConditionFalse | Self::Postponed => None,
        }
    }
}

impl Record {
    /// How the step ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        match &self.stage {
            Stage::Ended { end, .. } => Some(end),
            Stage::Waiting | Stage::Running { .. } => None,
        }
    }

    /// The outcome of the step, if it has ended and was not postponed.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.end().and_then(End::outcome)
    }

    /// When the step's command started, if it did.
    #[must_use]
    pub fn started_at(&self) -> Option<SystemTime> {
        match &self.stage {
            Stage::Waiting => None,
            Stage::Running { started } => self.at(*started),
            Stage::Ended { end, .. } => end.started().and_then(|it| self.at(it)),
        }
    }

    /// When the step ended, if it has.
    #[must_use]
    pub fn ended_at(&self) -> Option<SystemTime> {
        match &self.stage {
            Stage::Ended { ended, .. } => self.at(*ended),
            Stage::Waiting | Stage::Running { .. } => None,
        }
    }

    /// The time of day at a time counted from `up`.
    #[must_use]
    pub fn at(&self, since_up: Duration) -> Option<SystemTime> {
        self.up.checked_add(since_up)
    }
}
