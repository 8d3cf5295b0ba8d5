//! Conditions and expressions: a bounded part of CEL, the Common Expression Language.
//!
//! - [`Expression::parse`] parses a text within [`Limits`]. Errors have a position and say what would be right.
//! - [`Expression::steps`] and [`Expression::roots`] are what it names, so that a compiler can refuse a step without
//!   an edge.
//! - [`Expression::check_condition`] and [`Expression::check_text`] check names and types against a [`Scope`], as far
//!   as that is possible without values.
//! - [`Expression::holds`] and [`Expression::to_text`] evaluate it over the values of a [`Context`], within the
//!   [`BUDGET`]. Errors have the expression and the values.
//! - [`Value`] is what JSON can express. Its text form is a CEL literal, which [`Value::parse`] reads: a process
//!   hands values to another one without JSON. [`StepValues`] are those of a step, in the same form.
//!
//! The operators check expressions, and the step runner evaluates them from their text: one parser and one evaluator
//! for both. The tests compare them with the crate `cel`: what both accept has the same value. That crate is not used
//! at run time. It would add 2.4 MB to the step runner, its parser needs 8 MiB of stack for some 180 bytes, and it
//! does not bound the cost of an evaluation.
//!
//! To add a function, add it to `Function`: rustc then lists the places. To add a name, add it to the [`Scope`] and
//! the [`Context`] where they are made.
//!
//! The crate has no client, no clock and no I/O.
#![deny(missing_docs)]

mod budget;
mod calls;
mod check;
mod context;
mod error;
mod evaluate;
mod expression;
mod functions;
mod lexer;
mod limits;
mod literals;
mod node;
mod operators;
mod parser;
mod pattern;
mod step_values;
mod types;
mod value;

pub use context::Context;
pub use error::{CheckError, EvaluateError, Mistake, ParseError, Position, Problem, Syntax};
pub use expression::Expression;
pub use limits::{BUDGET, Limits};
pub use step_values::StepValues;
pub use types::{Scope, Type};
pub use value::Value;
