use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::Duration;

use kubeci_plan::Outcome;
use nix::libc::{O_NOCTTY, O_NOFOLLOW, O_NONBLOCK};

use crate::lock;
use crate::record::{MAX_BYTES, Record};
use crate::relay::Relay;
use crate::trouble::Trouble;

/// How a step that others wait for ended, and how that is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub outcome: Outcome,
    pub said: String,
}

/// What of a step is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Up,
    Ended,
}

/// How often is looked for a container that is not up yet. Containers start in the order of their
/// dependencies, so this is rare; it takes no inotify instance, of which a node has 128 for all of root's.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(64);

/// Waits until a step has ended, saying for what it waits.
pub fn ending(relay: &Relay<'_>, step: &str, waits: impl Fn(Until)) -> Result<Ending, Trouble> {
    match appeared(relay, step, &waits)? {
        Ok(record) => {
            waits(Until::Ended);
            lock::shared(&record).map_err(Trouble::io("lock", relay.record(step)))?;
            Ok(read(&record))
        }
        Err(error) => Ok(failed(format!("left no record in the relay ({error})"))),
    }
}

/// Waits for the record of a step; the inner error says why there will be none that can be trusted.
fn appeared(
    relay: &Relay<'_>,
    step: &str,
    waits: impl Fn(Until),
) -> Result<io::Result<File>, Trouble> {
    let mut pause = FIRST_LOOK;
    loop {
        // In this order: a step that is up has its record in place before its mark is gone.
        let absent = relay.is_absent(step)?;
        match open(relay, step) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && absent => {
                waits(Until::Up);
                thread::sleep(pause);
                pause = LONGEST_LOOK.min(pause * 2);
            }
            opened => return Ok(opened),
        }
    }
}

/// Opens a record, which its step may have replaced by anything: a link, a pipe, a device.
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

fn read(file: &File) -> Ending {
    let mut block = vec![0; MAX_BYTES];
    let length = file.read_at(&mut block, 0).unwrap_or_default();
    let text = String::from_utf8_lossy(&block[..length]);
    let outcome = text
        .parse()
        .ok()
        .and_then(|record: Record| record.outcome());
    let said = match outcome {
        Some(Outcome::Completed) => "completed",
        Some(Outcome::Failed) => "failed",
        Some(Outcome::Skipped) => "was skipped",
        None => {
            return failed("died without saying how it ended, as one that is out of memory".into());
        }
    };
    Ending {
        outcome: outcome.unwrap_or(Outcome::Failed),
        said: said.into(),
    }
}

fn failed(said: String) -> Ending {
    Ending {
        outcome: Outcome::Failed,
        said,
    }
}
