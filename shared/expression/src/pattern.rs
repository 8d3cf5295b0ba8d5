use regex_lite::{Regex, RegexBuilder};

use crate::budget::Budget;
use crate::error::Problem;

/// The memory of a compiled pattern in bytes, which bounds the time for each character of a text.
const SIZE: usize = 16 * 1024;

/// What it costs to compile a pattern.
const COMPILATION: usize = 500;

/// What it costs to match a byte of a text.
const BYTE: usize = 4;

/// Compiles a regular expression. Matching takes linear time, whatever the pattern is.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(pattern).size_limit(SIZE).build();
    regex.map_err(|error| error.to_string())
}

/// Whether a part of a text matches a pattern.
pub fn matches(text: &str, pattern: &str, budget: &Budget) -> Result<bool, Problem> {
    budget.spend(COMPILATION + BYTE * text.len())?;
    let regex = compile(pattern).map_err(|error| Problem::Pattern {
        pattern: pattern.to_owned(),
        error,
    })?;
    Ok(regex.is_match(text))
}
