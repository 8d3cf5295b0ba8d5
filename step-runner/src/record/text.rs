//! The text of a record.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use humantime::{format_rfc3339_micros, parse_rfc3339};

use super::{End, Exit, Record, Stage, earlier};
use crate::outputs::{Outputs, Refusal};

pub(super) const VERSION: &str = "kubeci/1";

/// It precedes each output. No output contains it.
pub(super) const SEPARATOR: char = '\u{1e}';

/// It ends the outputs. No output contains it.
const TERMINATOR: char = '\u{4}';

impl fmt::Display for Record {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, started, ended, result) = match &self.stage {
            Stage::Waiting => ("waiting", None, None, String::new()),
            Stage::Running { started } => ("running", Some(*started), None, String::new()),
            Stage::Ended { ended, end, .. } => {
                let (phase, result) = end.words();
                (phase, end.started(), Some(*ended), result)
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
        earlier::write(to, &self.earlier)?;
        match &self.stage {
            Stage::Ended {
                message, outputs, ..
            } => write_tail(to, message, outputs.as_ref()),
            Stage::Waiting | Stage::Running { .. } => Ok(()),
        }
    }
}

impl End {
    /// The phase, and the word about the result.
    fn words(&self) -> (&'static str, String) {
        match self {
            Self::Completed { .. } => ("completed", String::new()),
            Self::Failed { exit, .. } => ("failed", exit.word()),
            Self::OutputRefused { refusal, .. } => {
                ("failed", format!(" output={}", refusal_word(*refusal)))
            }
            Self::TimedOut { exit, .. } => ("timeout", exit.word()),
            Self::ExpressionFailed => ("failed", " expression=failed".into()),
            Self::Skipped => ("skipped", String::new()),
            Self::ConditionFalse => ("skipped", " condition=false".into()),
            Self::Postponed => ("postponed", String::new()),
        }
    }
}

impl Exit {
    fn word(self) -> String {
        match self {
            Self::Code(code) => format!(" exit={code}"),
            Self::Signal(signal) => format!(" signal={signal}"),
        }
    }
}

pub(super) fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::TooLarge => "too-large",
        Refusal::Invalid => "invalid",
    }
}

pub(super) fn refusal(word: &str) -> Option<Refusal> {
    match word {
        "too-large" => Some(Refusal::TooLarge),
        "invalid" => Some(Refusal::Invalid),
        _ => None,
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
            "failed" if head.word("expression").is_some() => ended(End::ExpressionFailed)?,
            "failed" => ended(End::Failed {
                started: head.time("started").ok(),
                exit: head.exit()?,
            })?,
            "timeout" => ended(End::TimedOut {
                started: head.time("started")?,
                exit: head.exit()?,
            })?,
            "skipped" if head.word("condition").is_some() => ended(End::ConditionFalse)?,
            "skipped" => ended(End::Skipped)?,
            "postponed" => ended(End::Postponed)?,
            _ => return Err(Malformed),
        };
        Ok(Self {
            up: head.time_of_day("up")?,
            stage,
            earlier: earlier::read(head.word("try"), head.word("earlier"))?,
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
        self.word("output").and_then(refusal).ok_or(Malformed)
    }

    fn exit(&self) -> Result<Exit, Malformed> {
        let signal = self.value("signal").map(Exit::Signal);
        signal.or_else(|_| self.value("exit").map(Exit::Code))
    }
}
