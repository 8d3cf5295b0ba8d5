use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::clock::Clock;
use crate::publish::{Published, remove_mark};
use crate::record::{End, MAX_BYTES, Record, Stage};
use crate::relay::Relay;
use crate::trouble::Trouble;

/// What the runner tells of its step, to the steps that wait for it and to the kubelet.
pub struct Report {
    clock: Clock,
    /// What the kubelet reads once the container has ended; absent outside Kubernetes.
    termination_log: Option<File>,
    told: String,
    published: Option<Published>,
}

impl Report {
    pub fn begin(clock: Clock, termination_log: &Path) -> Self {
        let termination_log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(termination_log);
        let mut report = Self {
            clock,
            termination_log: termination_log.ok(),
            told: String::new(),
            published: None,
        };
        report.tell(&report.record(Stage::Waiting));
        report
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Says to the other steps that this one's container is up.
    pub fn publish(&mut self, relay: &Relay<'_>, step: &str) -> Result<(), Trouble> {
        let published = Published::come_up(relay, step, &self.record(Stage::Waiting));
        if published.is_err() {
            // Whoever waits for the step then sees that it left no record, as far as that can still be said.
            let _ = remove_mark(relay, step);
        }
        self.published = Some(published?);
        Ok(())
    }

    /// Says to the kubelet what the step has come to, should the container be killed.
    pub fn reach(&mut self, stage: Stage) {
        self.tell(&self.record(stage));
    }

    /// Says how the step ended: first to those who wait, then to the kubelet, with what the step said itself.
    pub fn end(&mut self, end: End, message: String) -> io::Result<()> {
        let ended = self.clock.elapsed();
        let mut record = self.record(Stage::Ended {
            ended,
            end,
            message,
        });
        let published = self.published.take().map(|it| it.end(&record));
        if let (Stage::Ended { message, .. }, Some(said)) = (&mut record.stage, self.said_by_step())
            && message.is_empty()
        {
            *message = said;
        }
        self.tell(&record);
        published.unwrap_or(Ok(()))
    }

    fn record(&self, stage: Stage) -> Record {
        Record {
            up: self.clock.up,
            stage,
        }
    }

    /// The step's own termination message.
    fn said_by_step(&self) -> Option<String> {
        let mut text = vec![0; MAX_BYTES];
        let length = self.termination_log.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = String::from_utf8_lossy(&text[..length]);
        Some(text.trim())
            .filter(|it| *it != self.told)
            .map(ToOwned::to_owned)
    }

    fn tell(&mut self, record: &Record) {
        self.told = record.to_string();
        self.told.truncate(self.told.floor_char_boundary(MAX_BYTES));
        if let Some(log) = &self.termination_log {
            // A container that cannot tell the kubelet runs as well: its exit code is told anyway.
            let _ = log.write_all_at(self.told.as_bytes(), 0);
            let _ = log.set_len(self.told.len() as u64);
        }
    }
}
