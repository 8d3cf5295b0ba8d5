//! The outputs of a step: what its command writes to the file that `KUBECI_OUTPUT` names.
//!
//! ```text
//! version=1.2.3
//! notes<<EOF
//! two
//! lines
//! EOF
//! ```
//!
//! In a pod without step runners this file is the container's termination message, which other programs use for plain
//! messages. Both kinds of pods therefore apply the same rule. After the command has completed, a text with `=` or
//! `<<` must have this form in all lines; any other text is a message. After it has failed, a text that has this form
//! in all lines is outputs; any other text is a message.

use std::collections::BTreeMap;
use std::fmt;

/// The name of the variable that names the file.
pub const VARIABLE: &str = "KUBECI_OUTPUT";

/// What the kubelet reads of a termination message: its last bytes.
pub const KUBELET_BYTES: usize = 4096;

/// The termination messages that the kubelet keeps of a pod. Each container has an equal part, of which the kubelet
/// keeps the first bytes.
pub const POD_BYTES: usize = 12 * 1024;

/// The outputs of a step, by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs(BTreeMap<String, String>);

/// How many bytes a step wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many.
    Exactly(usize),
    /// So many were kept, and the others were cut.
    AtLeast(usize),
}

/// Why a text is not outputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// More than can be kept.
    #[error(
        "the outputs have {size} bytes, but this step may have at most {most}: 4 KiB, and less in a pod of more than 3 \
         containers or in a Workplan of more than 60 steps; write large results to a file in /kubeci"
    )]
    TooLarge {
        /// How many bytes there are.
        size: Size,
        /// How many are kept.
        most: usize,
    },
    /// A line that has not the form of an output.
    #[error("line {line} of the outputs {problem}; write other results to a file in /kubeci")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The file was replaced, or its permissions were changed.
    #[error(
        "the file that KUBECI_OUTPUT names cannot be read: {0}; append lines to it and do not replace it"
    )]
    Unreadable(String),
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It has no key.
    #[error("is neither key=value nor key<<EOF")]
    NoKey,
    /// Its key is not allowed.
    #[error("has an invalid key: use letters, digits, '_' and '-', with a letter or '_' first")]
    Key,
    /// It begins a value of several lines without the line that ends it.
    #[error("has no delimiter after <<")]
    NoDelimiter,
    /// The line that ends the value is missing.
    #[error("begins a value whose last line, the delimiter after <<, is missing")]
    NoEnd,
    /// It has a character that is not text.
    #[error("has a control character, or bytes that are not UTF-8")]
    NotText,
}

/// Why the outputs of a completed command fail its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// They cannot be kept.
    TooLarge,
    /// They do not have the form of outputs.
    Invalid,
}

impl Refusal {
    /// The reason in the status of the step.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "OutputTooLarge",
            Self::Invalid => "InvalidOutput",
        }
    }
}

impl OutputError {
    /// The kind of the error.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::TooLarge { .. } => Refusal::TooLarge,
            Self::Line { .. } | Self::Unreadable(_) => Refusal::Invalid,
        }
    }
}

impl Size {
    fn bytes(self) -> usize {
        match self {
            Self::Exactly(bytes) | Self::AtLeast(bytes) => bytes,
        }
    }

    fn is_over(self, most: usize) -> bool {
        matches!(self, Self::AtLeast(_)) || self.bytes() > most
    }
}

impl fmt::Display for Size {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(bytes) => write!(to, "{bytes}"),
            Self::AtLeast(bytes) => write!(to, "{bytes} or more"),
        }
    }
}

impl Outputs {
    /// The outputs of a command that has completed.
    ///
    /// # Errors
    /// If the text is neither outputs nor a message, or is too large.
    pub fn of_completed(text: &str, size: Size, most: usize) -> Result<Self, OutputError> {
        // Without its beginning, a text with a key looks like a message.
        let has_beginning = size.bytes() < KUBELET_BYTES;
        if has_beginning && !text.contains('=') && !text.contains("<<") {
            return Ok(Self::default());
        }
        if size.is_over(most) {
            return Err(OutputError::TooLarge { size, most });
        }
        Self::parse(text)
    }

    /// The outputs of a command that has failed; none if the text is a message.
    #[must_use]
    pub fn of_failed(text: &str, size: Size, most: usize) -> Option<Self> {
        let fits = !size.is_over(most);
        let outputs = fits.then(|| Self::parse(text))?.ok()?;
        (!outputs.is_empty()).then_some(outputs)
    }

    /// Reads lines of the form of outputs. Of equal keys the last counts.
    ///
    /// # Errors
    /// The first line that has another form.
    pub fn parse(text: &str) -> Result<Self, OutputError> {
        let mut lines = Lines::of(text);
        let mut outputs = Self::default();
        while let Some((line, text)) = lines.next() {
            if text.is_empty() {
                continue;
            }
            let at = |problem| OutputError::Line { line, problem };
            let (key, value) = match Form::of(text).map_err(at)? {
                Form::Line { key, value } => (key, value.to_owned()),
                Form::Block { key, delimiter } => (key, lines.block(line, delimiter)?),
            };
            outputs.insert(key, value).map_err(at)?;
        }
        Ok(outputs)
    }

    pub(crate) fn insert(&mut self, key: &str, value: String) -> Result<(), Problem> {
        if !is_key(key) {
            return Err(Problem::Key);
        }
        if !value.chars().all(is_text) {
            return Err(Problem::NotText);
        }
        self.0.insert(key.to_owned(), value);
        Ok(())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The values by their keys.
    #[must_use]
    pub fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}

/// Lines with their numbers.
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::Split<'a, char>>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let lines = text.split('\n').enumerate();
        Self { lines }
    }

    fn next(&mut self) -> Option<(usize, &'a str)> {
        let (at, line) = self.lines.next()?;
        Some((at + 1, line.strip_suffix('\r').unwrap_or(line)))
    }

    /// The lines up to the delimiter.
    fn block(&mut self, first: usize, delimiter: &str) -> Result<String, OutputError> {
        let mut value = Vec::new();
        while let Some((line, text)) = self.next() {
            if text == delimiter {
                return Ok(value.join("\n"));
            }
            if !text.chars().all(is_text) {
                let problem = Problem::NotText;
                return Err(OutputError::Line { line, problem });
            }
            value.push(text);
        }
        Err(OutputError::Line {
            line: first,
            problem: Problem::NoEnd,
        })
    }
}

/// The form of a line that begins an output.
enum Form<'a> {
    Line { key: &'a str, value: &'a str },
    Block { key: &'a str, delimiter: &'a str },
}

impl<'a> Form<'a> {
    fn of(line: &'a str) -> Result<Self, Problem> {
        match (line.split_once('='), line.split_once("<<")) {
            (Some((key, value)), block) if block.is_none_or(|it| it.0.len() > key.len()) => {
                Ok(Self::Line { key, value })
            }
            (_, Some((_, ""))) => Err(Problem::NoDelimiter),
            (_, Some((key, delimiter))) => Ok(Self::Block { key, delimiter }),
            _ => Err(Problem::NoKey),
        }
    }
}

fn is_key(key: &str) -> bool {
    let begins = key.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_');
    let allowed = |it: u8| it.is_ascii_alphanumeric() || it == b'_' || it == b'-';
    begins && key.bytes().all(allowed)
}

/// Bytes that are not UTF-8 arrive as the replacement character.
fn is_text(character: char) -> bool {
    let is_space = matches!(character, '\t' | '\n');
    is_space || !(character.is_control() || character == char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
pub(crate) mod tests;
