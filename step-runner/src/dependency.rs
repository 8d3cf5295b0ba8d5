use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::Duration;

use kubeci_plan::Outcome;
use nix::libc::{O_NOCTTY, O_NOFOLLOW, O_NONBLOCK};

use crate::error::Error;
use crate::lock;
use crate::record::{MAX_BYTES, Record};
use crate::relay::Relay;

/// How a step that others wait for ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub outcome: Outcome,
    /// The outcome in words, to follow the step's name.
    pub how: String,
}

/// What the runner waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The step's container is up.
    Up,
    /// The step has ended.
    Ended,
}

/// The interval of polls for a container that is not up yet. They are rare, because containers start in the order
/// of their dependencies. Inotify is no alternative: a node has 128 instances for all processes of root.
const FIRST_POLL: Duration = Duration::from_millis(1);
const LONGEST_POLL: Duration = Duration::from_millis(64);

/// Waits until a step has ended. Calls back with what it waits for.
pub fn ended(relay: &Relay<'_>, step: &str, waits: impl Fn(Until)) -> Result<Ended, Error> {
    match record(relay, step, &waits)? {
        Ok(record) => {
            waits(Until::Ended);
            lock::shared(&record).map_err(Error::io("lock", relay.record(step)))?;
            Ok(read(&record))
        }
        Err(error) => Ok(failed(format!("has no record in the relay ({error})"))),
    }
}

/// Waits for the record of a step. The inner error is the reason for which there is no valid record.
fn record(relay: &Relay<'_>, step: &str, waits: impl Fn(Until)) -> Result<io::Result<File>, Error> {
    let mut pause = FIRST_POLL;
    loop {
        // In this order: a step that is up has its record in place before its mark is gone.
        let absent = relay.is_absent(step)?;
        match open(relay, step) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && absent => {
                waits(Until::Up);
                thread::sleep(pause);
                pause = LONGEST_POLL.min(pause * 2);
            }
            opened => return Ok(opened),
        }
    }
}

/// Opens a record. Its step may have replaced it with a link, a pipe or a device.
fn open(relay: &Relay<'_>, step: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    let file = options.open(relay.record(step))?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("not a regular file"))
    }
}

fn read(file: &File) -> Ended {
    let mut block = vec![0; MAX_BYTES];
    let length = file.read_at(&mut block, 0).unwrap_or_default();
    let text = String::from_utf8_lossy(&block[..length]);
    let outcome = text
        .parse()
        .ok()
        .and_then(|record: Record| record.outcome());
    let how = match outcome {
        Some(Outcome::Completed) => "completed",
        Some(Outcome::Failed) => "failed",
        Some(Outcome::Skipped) => "was skipped",
        None => {
            return failed(
                "ended without a result, for example because it used too much memory".into(),
            );
        }
    };
    Ended {
        outcome: outcome.unwrap_or(Outcome::Failed),
        how: how.into(),
    }
}

fn failed(how: String) -> Ended {
    Ended {
        outcome: Outcome::Failed,
        how,
    }
}
