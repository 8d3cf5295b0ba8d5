//! The attempts before the last one, as short words of the record's head: `try=3 earlier=0.012/3.456/1,4.1/5.2/timeout,`.
//!
//! The number of attempts comes first, so that it is not cut. Each attempt ends with a comma, so that a cut one is
//! told from a whole one.

use std::fmt;
use std::iter;
use std::time::Duration;

use super::Malformed;
use super::text::{refusal, refusal_word};
use crate::outputs::Refusal;

/// The most attempts of a record.
pub const MAX_ATTEMPTS: u32 = 100;

/// An attempt that failed and was followed by another one. Its times are in whole milliseconds, to be short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierAttempt {
    /// When the command started, counted from `up`; absent if it could not be started.
    pub started: Option<Duration>,
    /// When the attempt ended, counted from `up`.
    pub ended: Duration,
    /// Why it failed.
    pub failure: AttemptFailure,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptFailure {
    /// The command ended with this exit code, or could not be started (see [`crate::exit_code`]).
    Exit(u8),
    /// The command completed, and its outputs were refused.
    Output(Refusal),
    /// It ran longer than its time limit.
    Timeout,
}

/// Writes the words of the attempts before the last one; nothing if there are none.
pub(super) fn write(to: &mut fmt::Formatter, earlier: &[Option<EarlierAttempt>]) -> fmt::Result {
    if earlier.is_empty() {
        return Ok(());
    }
    write!(to, " try={} earlier=", earlier.len() + 1)?;
    for attempt in earlier.iter().map_while(Option::as_ref) {
        match attempt.started {
            Some(started) => write!(to, "{}/", seconds(started))?,
            None => to.write_str("-/")?,
        }
        write!(to, "{}/", seconds(attempt.ended))?;
        match attempt.failure {
            AttemptFailure::Exit(code) => write!(to, "{code},")?,
            AttemptFailure::Output(refusal) => write!(to, "{},", refusal_word(refusal))?,
            AttemptFailure::Timeout => to.write_str("timeout,")?,
        }
    }
    Ok(())
}

/// Reads the words. The attempts whose words are cut or forged are `None`.
pub(super) fn read(
    number: Option<&str>,
    words: Option<&str>,
) -> Result<Vec<Option<EarlierAttempt>>, Malformed> {
    let Some(number) = number else {
        return Ok(Vec::new());
    };
    let number: u32 = number.parse().map_err(|_| Malformed)?;
    if !(1..=MAX_ATTEMPTS).contains(&number) {
        return Err(Malformed);
    }
    let words = words.unwrap_or_default().split_inclusive(',');
    let known = words.map_while(|word| attempt(word.strip_suffix(',')?));
    let all = known.map(Some).chain(iter::repeat(None));
    Ok(all.take(number as usize - 1).collect())
}

fn attempt(word: &str) -> Option<EarlierAttempt> {
    let (started, rest) = word.split_once('/')?;
    let (ended, failure) = rest.split_once('/')?;
    Some(EarlierAttempt {
        started: match started {
            "-" => None,
            time => Some(duration(time)?),
        },
        ended: duration(ended)?,
        failure: match failure {
            "timeout" => AttemptFailure::Timeout,
            word => match refusal(word) {
                Some(refusal) => AttemptFailure::Output(refusal),
                None => AttemptFailure::Exit(word.parse().ok()?),
            },
        },
    })
}

fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

fn duration(text: &str) -> Option<Duration> {
    let (seconds, millis) = text.split_once('.').filter(|it| it.1.len() == 3)?;
    let seconds = Duration::from_secs(seconds.parse().ok()?);
    seconds.checked_add(Duration::from_millis(millis.parse().ok()?))
}
