//! The record of a step: one line, for the steps that wait for it and for the operator.
//!
//! ```text
//! kubeci/1 completed up=2026-11-21T11:25:50.123456Z started=1.234567 ended=2.345678
//! kubeci/1 failed up=2026-11-21T11:25:50.123456Z started=1.234567 ended=2.345678 exit=2: no space left
//! ```
//!
//! The head is short and comes first, because the kubelet cuts a container's termination message to 12 KiB divided by
//! the containers of its pod: 110 bytes in a pod of 110 steps. It cuts the end of the message after the head.
//!
//! The outputs of the step follow the message, each after a separator, with a terminator after them. Without the
//! terminator they were cut.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use humantime::{format_rfc3339_micros, parse_rfc3339};
use kubeci_plan::Outcome;

use crate::outputs::{Outputs, Refusal};

/// The most bytes of a record: what the kubelet reads of a termination message.
pub const MAX_BYTES: usize = 4096;

/// The most bytes of a record without its message and its outputs.
pub const HEAD_BYTES: usize = 110;

const VERSION: &str = "kubeci/1";

/// It precedes each output. No output contains it.
const SEPARATOR: char = '\u{1e}';

/// It ends the outputs. No output contains it.
const TERMINATOR: char = '\u{4}';

/// The state of a step. All times are counted from `up` by a clock that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the step's runner came up, and with it the step's container; to the microsecond.
    pub up: SystemTime,
    /// The stage that it has reached.
    pub stage: Stage,
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
    /// Its command was not started: an edge to it is broken, or the runner was stopped while it waited.
    Skipped,
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

impl Record {
    /// How the step ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        let Stage::Ended { end, .. } = &self.stage else {
            return None;
        };
        Some(match end {
            End::Completed { .. } => Outcome::Completed,
            End::Failed { .. } | End::OutputRefused { .. } => Outcome::Failed,
            End::Skipped => Outcome::Skipped,
        })
    }

    /// When the step's command started, if it did.
    #[must_use]
    pub fn started_at(&self) -> Option<SystemTime> {
        match &self.stage {
            Stage::Waiting => None,
            Stage::Running { started } => self.at(*started),
            Stage::Ended { end, .. } => match end {
                End::Completed { started } | End::OutputRefused { started, .. } => {
                    self.at(*started)
                }
                End::Failed { started, .. } => started.and_then(|it| self.at(it)),
                End::Skipped => None,
            },
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

    fn at(&self, since_up: Duration) -> Option<SystemTime> {
        self.up.checked_add(since_up)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, started, ended, result) = match &self.stage {
            Stage::Waiting => ("waiting", None, None, String::new()),
            Stage::Running { started } => ("running", Some(*started), None, String::new()),
            Stage::Ended { ended, end, .. } => {
                let (phase, started, result) = end.words();
                (phase, started, Some(*ended), result)
            }
        };
        write!(
            to,
            "{VERSION} {phase} up={}",
            format_rfc3339_micros(self.up)
        )?;
        for (name, time) in [("started", started), ("ended", ended)] {
            if let Some(time) = time {
                write!(to, " {name}={}.{:06}", time.as_secs(), time.subsec_micros())?;
            }
        }
        to.write_str(&result)?;
        match &self.stage {
            Stage::Ended {
                message, outputs, ..
            } => write_tail(to, message, outputs.as_ref()),
            Stage::Waiting | Stage::Running { .. } => Ok(()),
        }
    }
}

impl End {
    /// The phase, the start, and the word about the result.
    fn words(&self) -> (&'static str, Option<Duration>, String) {
        match self {
            Self::Completed { started } => ("completed", Some(*started), String::new()),
            Self::Failed { started, exit } => {
                let result = match exit {
                    Exit::Code(code) => format!(" exit={code}"),
                    Exit::Signal(signal) => format!(" signal={signal}"),
                };
                ("failed", *started, result)
            }
            Self::OutputRefused { started, refusal } => {
                let word = match refusal {
                    Refusal::TooLarge => "too-large",
                    Refusal::Invalid => "invalid",
                };
                ("failed", Some(*started), format!(" output={word}"))
            }
            Self::Skipped => ("skipped", None, String::new()),
        }
    }
}

fn write_tail(
    to: &mut fmt::Formatter<'_>,
    message: &str,
    outputs: Option<&Outputs>,
) -> fmt::Result {
    if !message.is_empty() {
        write!(to, ": {}", message.replace(SEPARATOR, " "))?;
    }
    let Some(outputs) = outputs else {
        return write!(to, "{SEPARATOR}");
    };
    for (key, value) in outputs.iter() {
        write!(to, "{SEPARATOR}{key}={value}")?;
    }
    if outputs.is_empty() {
        Ok(())
    } else {
        write!(to, "{TERMINATOR}")
    }
}

/// The outputs after the first separator of a record; none if they were cut.
fn read_outputs(text: &str) -> Option<Outputs> {
    let entries = text.strip_suffix(TERMINATOR)?;
    let mut outputs = Outputs::default();
    for entry in entries.split(SEPARATOR) {
        let (key, value) = entry.split_once('=')?;
        outputs.insert(key, value.to_owned()).ok()?;
    }
    Some(outputs)
}

/// A text that is not a record, or whose head was cut or forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the record of a step runner of this version, or cut")]
pub struct Malformed;

impl FromStr for Record {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (text, outputs) = match text.trim_end().split_once(SEPARATOR) {
            Some((text, outputs)) => (text.trim_end(), read_outputs(outputs)),
            None => (text.trim_end(), Some(Outputs::default())),
        };
        let (head, message) = text
            .split_once(": ")
            .unwrap_or((text.trim_end_matches(':'), ""));
        let head = Head(head);
        let (version, phase) = head.first_two()?;
        if version != VERSION {
            return Err(Malformed);
        }
        let ended = |end| {
            let message = message.to_owned();
            Ok(Stage::Ended {
                ended: head.time("ended")?,
                end,
                message,
                outputs: outputs.clone(),
            })
        };
        let stage = match phase {
            "waiting" => Stage::Waiting,
            "running" => Stage::Running {
                started: head.time("started")?,
            },
            "completed" => ended(End::Completed {
                started: head.time("started")?,
            })?,
            "failed" if head.word("output").is_some() => ended(End::OutputRefused {
                started: head.time("started")?,
                refusal: head.refusal()?,
            })?,
            "failed" => ended(End::Failed {
                started: head.time("started").ok(),
                exit: head.exit()?,
            })?,
            "skipped" => ended(End::Skipped)?,
            _ => return Err(Malformed),
        };
        Ok(Self {
            up: head.time_of_day("up")?,
            stage,
        })
    }
}

/// The words before the message; words that it does not know belong to later versions.
struct Head<'a>(&'a str);

impl<'a> Head<'a> {
    fn first_two(&self) -> Result<(&'a str, &'a str), Malformed> {
        let mut words = self.0.split(' ');
        words.next().zip(words.next()).ok_or(Malformed)
    }

    fn word(&self, key: &str) -> Option<&'a str> {
        self.0
            .split(' ')
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn value<T: FromStr>(&self, key: &str) -> Result<T, Malformed> {
        self.word(key)
            .and_then(|it| it.parse().ok())
            .ok_or(Malformed)
    }

    fn time_of_day(&self, key: &str) -> Result<SystemTime, Malformed> {
        let time = self.word(key).and_then(|it| parse_rfc3339(it).ok());
        time.ok_or(Malformed)
    }

    fn time(&self, key: &str) -> Result<Duration, Malformed> {
        let (seconds, micros) = self
            .word(key)
            .and_then(|it| it.split_once('.'))
            .ok_or(Malformed)?;
        let micros = Some(micros).filter(|it| it.len() == 6).ok_or(Malformed)?;
        let micros: u32 = micros.parse().map_err(|_| Malformed)?;
        let seconds = seconds.parse().map_err(|_| Malformed)?;
        Ok(Duration::new(seconds, micros * 1000))
    }

    fn refusal(&self) -> Result<Refusal, Malformed> {
        match self.word("output") {
            Some("too-large") => Ok(Refusal::TooLarge),
            Some("invalid") => Ok(Refusal::Invalid),
            _ => Err(Malformed),
        }
    }

    fn exit(&self) -> Result<Exit, Malformed> {
        let signal = self.value("signal").map(Exit::Signal);
        signal.or_else(|_| self.value("exit").map(Exit::Code))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outputs::tests::outputs;

    fn time() -> impl Strategy<Value = Duration> {
        (0..10_000_000_000_u64).prop_map(Duration::from_micros)
    }

    fn stage() -> impl Strategy<Value = Stage> {
        let exit = prop_oneof![
            any::<u8>().prop_map(Exit::Code),
            (1..65_u8).prop_map(Exit::Signal)
        ];
        let end = prop_oneof![
            time().prop_map(|started| End::Completed { started }),
            (prop::option::of(time()), exit)
                .prop_map(|(started, exit)| End::Failed { started, exit }),
            (time(), any::<bool>()).prop_map(|(started, is_large)| End::OutputRefused {
                started,
                refusal: if is_large {
                    Refusal::TooLarge
                } else {
                    Refusal::Invalid
                },
            }),
            Just(End::Skipped),
        ];
        let outputs = prop::option::of(outputs());
        let ended = (time(), end, "|[a-z]([ -~\n]{0,40}[a-z])?", outputs);
        prop_oneof![
            Just(Stage::Waiting),
            time().prop_map(|started| Stage::Running { started }),
            ended.prop_map(|(ended, end, message, outputs)| Stage::Ended {
                ended,
                end,
                message,
                outputs,
            }),
        ]
    }

    fn time_of_day() -> impl Strategy<Value = SystemTime> {
        let micros = 0..4_000_000_000_000_000_u64;
        micros.prop_map(|it| SystemTime::UNIX_EPOCH + Duration::from_micros(it))
    }

    fn record() -> impl Strategy<Value = Record> {
        (time_of_day(), stage()).prop_map(|(up, stage)| Record { up, stage })
    }

    proptest! {
        #[test]
        fn written_record_is_read_back(record in record()) {
            prop_assert_eq!(record.to_string().parse(), Ok(record));
        }

        #[test]
        fn head_fits_in_a_pod_of_110_steps(record in record()) {
            let text = record.to_string();
            let head = text.split(SEPARATOR).next().unwrap();
            let head = head.split_once(": ").map_or(head, |(head, _)| head);
            prop_assert!(head.len() <= HEAD_BYTES, "{}", head);
            prop_assert_eq!(HEAD_BYTES, 12 * 1024 / 111);
        }

        #[test]
        fn cut_message_leaves_the_head(record in record(), message in "[a-z]{200}") {
            let Stage::Ended { ended, end, outputs, .. } = record.stage.clone() else { return Ok(()) };
            let long = Record { up: record.up, stage: Stage::Ended { ended, end, message, outputs } };
            let cut: Record = long.to_string()[..12 * 1024 / 111].parse().unwrap();
            prop_assert_eq!(cut.outcome(), record.outcome());
            prop_assert_eq!(cut.started_at(), record.started_at());
            prop_assert_eq!(cut.ended_at(), record.ended_at());
        }

        #[test]
        fn cut_outputs_are_not_read(record in record(), cut in 1..60_usize) {
            let Stage::Ended { outputs: Some(written), .. } = &record.stage else { return Ok(()) };
            let text = record.to_string();
            let length = text.floor_char_boundary(text.len().saturating_sub(cut));
            let Ok(read) = text[..length].parse::<Record>() else { return Ok(()) };
            let Stage::Ended { outputs, .. } = read.stage else { return Ok(()) };
            // Cut before the first separator, a record looks as if there were none.
            let has_separator = text[..length].contains(SEPARATOR);
            prop_assert!(outputs.is_none() || written.is_empty() || !has_separator, "{:?}", outputs);
        }

        #[test]
        fn outputs_take_two_bytes_more(outputs in outputs()) {
            let lines: usize = outputs.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
            let stage = |outputs| Stage::Ended {
                ended: Duration::ZERO,
                end: End::Completed { started: Duration::ZERO },
                message: String::new(),
                outputs: Some(outputs),
            };
            let length = |stage| Record { up: SystemTime::UNIX_EPOCH, stage }.to_string().len();
            let added = length(stage(outputs)) - length(stage(Outputs::default()));
            prop_assert!(added <= lines + 1);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = text.parse::<Record>();
            let _ = format!("{VERSION} failed up=2026-11-21T11:25:50Z {text}").parse::<Record>();
        }
    }
}
