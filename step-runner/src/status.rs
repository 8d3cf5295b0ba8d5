use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::arguments::Run;
use crate::clock::Clock;
use crate::error::Error;
use crate::outputs::Outputs;
use crate::publish::{Published, remove_mark};
use crate::record::{EarlierAttempt, End, HEAD_BYTES, MAX_BYTES, Record, Stage};
use crate::relay::Relay;

/// Writes the step's status: into its record for the steps that wait for it, into the termination log for the kubelet.
pub struct StatusWriter {
    clock: Clock,
    /// The kubelet reads it once the container has ended. Absent outside Kubernetes.
    termination_log: Option<File>,
    /// What was last written there.
    written: String,
    published: Option<Published>,
    /// The most bytes of the outputs.
    output_bytes: usize,
    /// The attempts before the current one.
    earlier: Vec<EarlierAttempt>,
}

/// The end of a step, or of an attempt.
#[derive(Clone)]
pub struct StepResult {
    pub end: End,
    /// Why; empty if the step's own message has the reason.
    pub message: String,
    pub outputs: Outputs,
}

impl StepResult {
    pub fn new(end: End, message: impl Into<String>) -> Self {
        Self {
            end,
            message: message.into(),
            outputs: Outputs::default(),
        }
    }

    fn stage(self, ended: Duration) -> Stage {
        Stage::Ended {
            ended,
            end: self.end,
            message: self.message,
            outputs: Some(self.outputs),
        }
    }
}

impl StatusWriter {
    pub fn new(clock: Clock, run: &Run) -> Self {
        let termination_log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&run.termination_log);
        let mut status = Self {
            clock,
            termination_log: termination_log.ok(),
            written: String::new(),
            published: None,
            output_bytes: run.output_bytes,
            earlier: Vec::new(),
        };
        status.write(&status.record(Stage::Waiting));
        status
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The number of the current attempt, from 1.
    pub fn attempt(&self) -> u32 {
        u32::try_from(self.earlier.len() + 1).unwrap_or(u32::MAX)
    }

    /// Adds an attempt that failed. The stages after that are those of the next attempt.
    pub fn add_earlier(&mut self, attempt: EarlierAttempt) {
        self.earlier.push(attempt);
    }

    /// Publishes the record: the other steps see that this one's container is up.
    pub fn publish(&mut self, relay: &Relay<'_>, step: &str) -> Result<(), Error> {
        let published = Published::new(relay, step, &self.record(Stage::Waiting));
        if published.is_err() {
            // Steps that wait for this one then see that it left no record.
            let _ = remove_mark(relay, step);
        }
        self.published = Some(published?);
        Ok(())
    }

    /// Writes the stage for the kubelet, in case the container is killed.
    pub fn update(&mut self, stage: Stage) {
        self.write(&self.record(stage));
    }

    /// Writes how the step ended: first into the record, then for the kubelet, with the step's own message. The record of
    /// a step that was stopped is that of a postponed one.
    pub fn end(&mut self, result: StepResult, is_stopped: bool) -> io::Result<()> {
        let ended = self.clock.elapsed();
        let mut record = self.record(result.stage(ended));
        self.shorten(&mut record);
        let published = match self.published.take() {
            Some(published) if is_stopped => {
                let postponed = StepResult::new(End::Postponed, "");
                published.end(&self.record(postponed.stage(ended)))
            }
            Some(published) => published.end(&record),
            None => Ok(()),
        };
        if let (Stage::Ended { message, .. }, Some(own)) =
            (&mut record.stage, self.message_of_step())
            && message.is_empty()
        {
            *message = own;
            self.shorten(&mut record);
        }
        self.write(&record);
        published
    }

    /// Shortens the message of a step with outputs, and leaves out details of its earlier attempts, because the kubelet
    /// would cut the outputs. Shortens the message about an expression, because the kubelet would cut it without a sign.
    fn shorten(&self, record: &mut Record) {
        let Stage::Ended {
            message,
            outputs,
            end,
            ..
        } = &record.stage
        else {
            return;
        };
        let has_outputs = outputs.as_ref().is_some_and(|it| !it.is_empty());
        let is_of_expression = matches!(end, End::ExpressionFailed | End::ConditionFalse);
        if !has_outputs && !is_of_expression {
            return;
        }
        let over = self.bytes_over(record);
        let shortened = match end {
            _ if over == 0 => return,
            End::ExpressionFailed => end_of(message, over),
            End::ConditionFalse => start_of(message, over),
            _ => message[..message.floor_char_boundary(message.len().saturating_sub(over))].into(),
        };
        if let Stage::Ended { message, .. } = &mut record.stage {
            *message = shortened;
        }
        for at in (0..record.earlier.len()).rev() {
            if self.bytes_over(record) == 0 {
                return;
            }
            record.earlier[at] = None;
        }
    }

    /// How many bytes a record with outputs has too many.
    fn bytes_over(&self, record: &Record) -> usize {
        let bytes = record.to_string().len();
        bytes.saturating_sub(HEAD_BYTES + self.output_bytes)
    }

    fn record(&self, stage: Stage) -> Record {
        Record {
            up: self.clock.up,
            stage,
            earlier: self.earlier.iter().copied().map(Some).collect(),
        }
    }

    /// The step's own termination message.
    fn message_of_step(&self) -> Option<String> {
        let mut text = vec![0; MAX_BYTES];
        let length = self.termination_log.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = String::from_utf8_lossy(&text[..length]);
        Some(text.trim())
            .filter(|it| *it != self.written)
            .map(ToOwned::to_owned)
    }

    fn write(&mut self, record: &Record) {
        self.written = record.to_string();
        self.written
            .truncate(self.written.floor_char_boundary(MAX_BYTES));
        if let Some(log) = &self.termination_log {
            // An error is no reason to fail: the kubelet reads the exit code in any case.
            let _ = log.write_all_at(self.written.as_bytes(), 0);
            let _ = log.set_len(self.written.len() as u64);
        }
    }
}

const ELLIPSIS: char = '…';

/// The start of a text that has so many bytes too many.
fn start_of(text: &str, over: usize) -> String {
    match text.len().checked_sub(over + ELLIPSIS.len_utf8()) {
        Some(length) => format!("{}{ELLIPSIS}", &text[..text.floor_char_boundary(length)]),
        None => String::new(),
    }
}

/// The end of a text that has so many bytes too many.
fn end_of(text: &str, over: usize) -> String {
    let from = over + ELLIPSIS.len_utf8();
    if from > text.len() {
        return String::new();
    }
    format!("{ELLIPSIS}{}", &text[text.ceil_char_boundary(from)..])
}
