//! The plan of a Workflow or Workplan: steps, the typed edges between them, and the tasks that they are in.
//!
//! - [`EdgeKind`] is the outcome of a step that an edge waits for; [`readiness`] decides by the edges to a step
//!   whether it waits, starts or is skipped. The workplan operator decides so between pods, the step runner
//!   inside one.
//! - [`RetryPolicy`] decides whether a failed step is attempted again, and when.
//! - [`StepNames`] resolves edges, which are written by the names of steps.
//! - [`Expressions`] are the condition of a step and the values of its environment variables.
//! - [`contradictions`] finds steps that never start.
//! - [`Graph`] orders steps or tasks, finds cycles and reduces the edges transitively.
//! - [`Plan`] is the validated plan of a Workplan: its tasks, and when each may start.
//!
//! To add a kind of edge, add it to [`EdgeKind`]: rustc then lists the places in this crate that decide about it.
//! Then add its field to the API's `Step`, and read it in kubeci-compiler's `read` module.
//!
//! The crate has no client, no clock and no I/O. Without the feature `std` it has no dependencies either, and
//! holds the rules alone.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(missing_docs)]

extern crate alloc;

mod duration_text;
mod edge;
mod readiness;
mod retry;
mod retry_text;

#[cfg(feature = "std")]
mod contradiction;
#[cfg(feature = "std")]
mod cycles;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod expressions;
#[cfg(feature = "std")]
mod finals;
#[cfg(feature = "std")]
mod graph;
#[cfg(feature = "std")]
mod names;
#[cfg(feature = "std")]
mod plan;
#[cfg(feature = "std")]
mod precedence;
#[cfg(feature = "std")]
mod width;

pub use duration_text::{DurationText, NotADuration};
pub use edge::{BrokenEdge, Edge, EdgeKind, EdgeState, NamedEdge, Outcome};
pub use readiness::{Readiness, readiness};
pub use retry::{Backoff, FailureKind, RetryPolicy};
pub use retry_text::NotARetryPolicy;

#[cfg(feature = "std")]
pub use contradiction::{Contradiction, contradictions};
#[cfg(feature = "std")]
pub use cycles::{Cycle, describe_cycle};
#[cfg(feature = "std")]
pub use error::{PlanError, ResolveError};
#[cfg(feature = "std")]
pub use expressions::{
    ExpressionError, ExpressionField, ExpressionTexts, Expressions, InvalidExpression, Variable,
    VariableText,
};
#[cfg(feature = "std")]
pub use finals::final_edges;
#[cfg(feature = "std")]
pub use graph::Graph;
#[cfg(feature = "std")]
pub use names::StepNames;
#[cfg(feature = "std")]
pub use plan::{Order, Plan, PlanStep, StepSpec, TaskSpec};
