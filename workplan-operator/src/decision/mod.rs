//! The decision about a Workplan: its next status and the next actions, from the Workplan and the observed state of
//! its pods. The decision is total: it is defined for every state of the pods.

mod action;
mod approvals;
mod cleanup;
mod conditions;
mod control;
mod decide;
pub mod fit;
mod folder_use;
mod in_pod;
mod kept;
mod other_containers;
mod relayed;
pub mod rerun;
mod running;
mod stopping;
mod stuck_pod;
mod workplan;

#[cfg(test)]
mod tests;

pub use action::{Action, Decision};
pub use approvals::AWAITING_APPROVAL;
pub use conditions::{IN_USE, KEEP_ENDED, KEPT, RELAYED, SUSPENDED};
pub use decide::decide;
pub use folder_use::{folder_use, with_user};
pub use workplan::holds_folder;
