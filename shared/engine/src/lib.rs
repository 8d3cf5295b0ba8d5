//! The engine: it runs a plan, with any executor of the steps.
//!
//! An executor (the workplan operator, whose executors are pods) emits observations of steps, and does what is
//! decided. Everything between is here, without a client, a clock or I/O:
//!
//! - [`Observation`] is what an executor observes of one step; [`TaskObservation`] and [`PlanObservation`] are what
//!   it observes of a task and of the plan.
//! - [`Step`] is the state machine of one step, with its attempts. It is read from a status and written to one.
//! - [`Steps`] are the steps of a plan. [`Steps::settle`] lets them consume observations, by the edges of the plan;
//!   [`Steps::ready_tasks`] returns the tasks that start next, [`Steps::with_slots`] those of them that the plan's
//!   maximum of parallel steps admits.
//! - [`Steps::with_values`] gives the expressions of the steps their values. A step whose edges hold is skipped if its
//!   condition is false; in a relay the executor evaluates it.
//! - [`Control`] is what may end a plan besides its steps: a cancel, time limits, the first failure. [`Steps::due`]
//!   returns what ends now, [`Steps::stop`] begins to stop it. The final steps run nevertheless.
//! - [`Approval`] is the observation of a step that no executor runs: it waits for the [`Answer`] of a user.
//! - [`Waiting`] is what keeps a plan waiting, and when to decide again.
//! - [`take_over`] decides what a rerun takes over from a plan that has ended.
//! - [`derive_status`] derives the Workplan's phase, reason, summary, message and the condition `Succeeded`.
//!
//! To add an executor, emit observations, and implement [`Executor`]. To add a kind of edge, see kubeci-plan: all
//! decisions about edges are made there. Whether a failed step is attempted again, in a new executor, is decided in `retry`.
#![deny(missing_docs)]

mod approval;
mod attempts;
mod cause;
mod conditions;
mod earlier_status;
mod expressions;
mod finals;
mod halt;
mod hand_over;
mod next;
mod observation;
mod record;
mod retry;
mod slots;
mod status;
mod step;
mod steps;
mod take_over;
mod waiting;

pub use cause::Cause;
pub use conditions::{is_condition, set_condition};
pub use halt::{Control, Due, PENDING_TIMEOUT, STOPPED};
pub use observation::{
    Answer, Approval, HandOver, Lost, Observation, Place, PlanObservation, Repeated, Run, Standby,
    Start, TaskObservation,
};
pub use retry::failed_attempts;
pub use status::{
    Derivation, Executor, SUCCEEDED, deleting_status, derive_status, invalid_status, queued_status,
};
pub use step::{Attempt, Pending, State, Step};
pub use steps::Steps;
pub use take_over::{TakeOverError, take_over};
pub use waiting::{PATIENCE, Severity, Waiting, WaitingCause};
