use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::Duration;

use kubeci_expression::StepValues;
use kubeci_plan::Outcome;
use nix::libc::{O_NOCTTY, O_NOFOLLOW, O_NONBLOCK};

use crate::error::Error;
use crate::lock;
use crate::outputs::Outputs;
use crate::record::{End, MAX_BYTES, Record, Stage};
use crate::relay::Relay;

/// How a step that others wait for ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Absent if the step goes on in another pod, or may do so.
    pub outcome: Option<Outcome>,
    /// The end in words, to follow the step's name.
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

/// Waits until a step has ended. Calls back with what it waits for. A repeated step may go on in another pod if it was
/// killed, or ended without a result.
pub fn ended(
    relay: &Relay<'_>,
    step: &str,
    is_repeated: bool,
    waits: impl Fn(Until),
) -> Result<Ended, Error> {
    left(relay, step, waits).map(|left| end(&left, is_repeated))
}

/// Waits until a step has ended, as [`ended`] does, and reads what expressions can name of it. The inner error is the
/// end of a step that goes on in another pod, or may do so.
pub fn values(
    relay: &Relay<'_>,
    step: &str,
    is_repeated: bool,
    waits: impl Fn(Until),
) -> Result<Result<StepValues, Ended>, Error> {
    let left = left(relay, step, waits)?;
    let end = end(&left, is_repeated);
    Ok(match end.outcome {
        Some(outcome) => Ok(values_of(outcome, left)),
        None => Err(end),
    })
}

/// What a step that has ended has left in the relay.
enum Left {
    Record(Record),
    /// A record that is cut or forged.
    Malformed,
    /// No record, for this reason.
    Nothing(io::Error),
}

fn left(relay: &Relay<'_>, step: &str, waits: impl Fn(Until)) -> Result<Left, Error> {
    Ok(match record(relay, step, &waits)? {
        Ok(record) => {
            waits(Until::Ended);
            lock::shared(&record).map_err(Error::io("lock", relay.record(step)))?;
            read(&record).map_or(Left::Malformed, Left::Record)
        }
        Err(error) => Left::Nothing(error),
    })
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

fn read(file: &File) -> Option<Record> {
    let mut block = vec![0; MAX_BYTES];
    let length = file.read_at(&mut block, 0).unwrap_or_default();
    String::from_utf8_lossy(&block[..length]).parse().ok()
}

fn end(left: &Left, is_repeated: bool) -> Ended {
    let stage = match left {
        Left::Record(record) => Some(&record.stage),
        Left::Malformed => None,
        Left::Nothing(error) => return failed(format!("has no record in the relay ({error})")),
    };
    let (outcome, how) = match stage {
        Some(Stage::Ended { end, .. }) if is_repeated && was_killed(end) => {
            (None, "was killed and may be attempted again")
        }
        Some(Stage::Ended { end, .. }) => match end.outcome() {
            Some(Outcome::Completed) => (Some(Outcome::Completed), "completed"),
            Some(Outcome::Failed) => (Some(Outcome::Failed), "failed"),
            Some(Outcome::Skipped) => (Some(Outcome::Skipped), "was skipped"),
            None => (None, "was postponed"),
        },
        _ if is_repeated => (None, "ended without a result and may be attempted again"),
        _ => {
            return failed(
                "ended without a result, for example because it used too much memory".into(),
            );
        }
    };
    let how = how.into();
    Ended { outcome, how }
}

/// The values of a step that has ended, as its status has them.
fn values_of(outcome: Outcome, left: Left) -> StepValues {
    let (exit_code, outputs) = match left {
        Left::Record(record) => match record.stage {
            Stage::Ended { end, outputs, .. } => (end.code_of_step(), outputs),
            // The runner was killed, and its container with it.
            Stage::Waiting | Stage::Running { .. } => (Some(KILLED), None),
        },
        Left::Malformed | Left::Nothing(_) => (None, None),
    };
    let phase = match outcome {
        Outcome::Completed => "completed",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    };
    StepValues {
        phase: phase.into(),
        exit_code: exit_code.map(i64::from),
        outputs: outputs.map(Outputs::into_map).unwrap_or_default(),
    }
}

/// The exit code of what was killed by SIGKILL.
const KILLED: u8 = 128 + 9;

/// Whether a command was killed, for example because it used too much memory, where the kernel does not kill its step
/// runner with it.
fn was_killed(end: &End) -> bool {
    matches!(end, End::Failed { exit, .. } if exit.code() == KILLED)
}

fn failed(how: String) -> Ended {
    Ended {
        outcome: Some(Outcome::Failed),
        how,
    }
}
