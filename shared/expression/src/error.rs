use std::fmt;

use thiserror::Error;

use crate::limits::Limits;

/// Where something is in the text of an expression: line and column, counted in characters from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The position of a byte.
    pub(crate) fn of(text: &str, at: usize) -> Self {
        let before = &text[..text.floor_char_boundary(at)];
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}", self.column)
    }
}

/// Why a text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{position}: {problem}")]
pub struct ParseError {
    /// Where.
    pub position: Position,
    /// What is wrong, and what would be right.
    pub problem: Syntax,
}

/// What is wrong with the text of an expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Syntax {
    /// There is no expression.
    #[error("the expression is empty")]
    Empty,
    /// The text is too long.
    #[error("the expression has {length} bytes, more than {max}; split it, or do this in a step", max = limits.length)]
    TooLong {
        /// Its length.
        length: usize,
        /// What is allowed.
        limits: Limits,
    },
    /// The text has too many parts.
    #[error("the expression has more than {} parts; split it, or do this in a step", _0.nodes)]
    TooLarge(Limits),
    /// The parts are too deeply nested.
    #[error("the expression is nested more than {} deep; split it, or do this in a step", _0.depth)]
    TooDeep(Limits),
    /// Something else belongs here.
    #[error("found {found}, expected {expected}")]
    Unexpected {
        /// What is there.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// An integer exceeds 64 bits.
    #[error("{0} exceeds an integer of 64 bits; write a double, such as 1e20")]
    IntegerRange(String),
    /// Digits and letters are neither a number nor a name.
    #[error(
        "'{0}' is neither a number nor a name; a field or step with other characters than letters, digits and _, or \
         with a digit first, is written in brackets: steps[\"2-a\"]"
    )]
    Number(String),
    /// A string does not end.
    #[error("the string has no end; it ends with {0}")]
    OpenString(&'static str),
    /// An escape sequence is unknown.
    #[error("'{0}' is not an escape sequence; a backslash is written \\\\, or the string r\"…\"")]
    Escape(String),
    /// A word has no meaning outside of other languages.
    #[error("'{0}' is a reserved word; a field of this name is written [\"{0}\"]")]
    Reserved(String),
    /// A part of CEL that is not supported.
    #[error("{what} are not supported; {instead}")]
    Unsupported {
        /// What is there.
        what: &'static str,
        /// What to write instead.
        instead: &'static str,
    },
    /// There is no such function.
    #[error("there is no function {name}; the functions are {known}")]
    UnknownFunction {
        /// Its name.
        name: String,
        /// The functions.
        known: String,
    },
    /// A function is called in another way.
    #[error("wrong call of {name}; it is written {usage}")]
    Call {
        /// The function or macro.
        name: &'static str,
        /// How it is called.
        usage: &'static str,
    },
    /// A regular expression is wrong.
    #[error("the regular expression is wrong: {0}")]
    Pattern(String),
    /// A value is expected, and the text names something.
    #[error("{0}")]
    NotConstant(String),
    /// The values of a step are expected.
    #[error(
        "not the values of a step, as in {{\"phase\": \"failed\", \"exitCode\": 1, \"outputs\": {{}}}}"
    )]
    NotStepValues,
}

/// What is named, compared or computed in an expression that cannot be right, whatever the values are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{position}: {problem}")]
pub struct CheckError {
    /// Where.
    pub position: Position,
    /// What is wrong, and what would be right.
    pub problem: Mistake,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Mistake {
    /// The name is not known.
    #[error("there is no {name}; the names are {known}")]
    UnknownName {
        /// The name.
        name: String,
        /// The known names.
        known: String,
    },
    /// The field is not known.
    #[error("{of} has no field {field}; its fields are {known}")]
    UnknownField {
        /// What has fields.
        of: String,
        /// The field.
        field: String,
        /// The known fields.
        known: String,
    },
    /// The name of a step contains `-`, which subtracts.
    #[error("- subtracts; the step {step} is written steps[\"{step}\"]")]
    Hyphen {
        /// The name of the step.
        step: String,
    },
    /// The step depends on a value, or on all steps.
    #[error("steps are named one by one: steps.a, or steps[\"a-b\"]")]
    StepNotNamed,
    /// The types do not go together.
    #[error("{operation} is not defined for {types}; {hint}")]
    Types {
        /// The operator or function.
        operation: String,
        /// The types.
        types: String,
        /// What would be right.
        hint: String,
    },
    /// A string is compared with a value that it never has.
    #[error("{of} is never \"{value}\"; it is {known}")]
    NeverEqual {
        /// What is compared.
        of: String,
        /// The value.
        value: String,
        /// The values that it has.
        known: String,
    },
    /// The condition has another type.
    #[error("the condition is {0}, not a boolean; compare it, as in a == b")]
    NotBoolean(&'static str),
    /// The value cannot be a text.
    #[error("the expression is {0}; it must be a string, a number or a boolean")]
    NotText(&'static str),
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{expression}: {position}: {problem}")]
pub struct EvaluateError {
    /// The text of the expression.
    pub expression: String,
    /// Where.
    pub position: Position,
    /// What is wrong, with the values.
    pub problem: Problem,
}

/// What is wrong with the values of an expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The context does not have the name.
    #[error("there is no {0} here")]
    NoName(String),
    /// The context does not have the step.
    #[error("the step {0} is not known here; add an edge to it")]
    NoStep(String),
    /// The step did not run.
    #[error("the step {0} has no exit code: it did not run, or was lost; test it with has()")]
    NoExitCode(String),
    /// The step did not write the output.
    #[error("the step {step} has no output {output}; {known}")]
    NoOutput {
        /// The step.
        step: String,
        /// The output.
        output: String,
        /// What it wrote.
        known: String,
    },
    /// A map does not have a key.
    #[error("{of} has no {key}; test it with has()")]
    NoKey {
        /// The map, by its name or its value.
        of: String,
        /// The key.
        key: String,
    },
    /// A list does not have an element.
    #[error("the list has {length} elements, and no element {index}")]
    NoElement {
        /// The index.
        index: String,
        /// The length of the list.
        length: usize,
    },
    /// The values do not go together.
    #[error("{operation} is not defined for {values}")]
    Types {
        /// The operator or function.
        operation: String,
        /// The values, with their types.
        values: String,
    },
    /// A key occurs twice in a map.
    #[error("the key {0} occurs twice")]
    DuplicateKey(String),
    /// An integer exceeds 64 bits.
    #[error("{0} exceeds an integer of 64 bits")]
    Overflow(String),
    /// A division by zero.
    #[error("{0} divides by zero")]
    DivisionByZero(String),
    /// A text does not have the form of the type.
    #[error("{value} cannot be converted by {function}()")]
    Conversion {
        /// The function.
        function: &'static str,
        /// The text.
        value: String,
    },
    /// A regular expression is wrong.
    #[error("the regular expression {pattern:?} is wrong: {error}")]
    Pattern {
        /// Its text.
        pattern: String,
        /// What is wrong.
        error: String,
    },
    /// The evaluation takes too long.
    #[error("the evaluation takes more than {0} operations; do this in a step")]
    TooExpensive(u32),
    /// The condition has another value.
    #[error("the condition is {0}, not true or false")]
    NotBoolean(String),
    /// The value cannot be a text.
    #[error("the value is {0}; it must be a string, a number or a boolean")]
    NotText(String),
    /// The value cannot be an environment variable.
    #[error("the value contains a zero byte, which an environment variable cannot")]
    ZeroByte,
}
