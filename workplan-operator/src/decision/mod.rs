//! What is to be done for a Workplan: from it and what is observed of its pods to its next status and the actions
//! that bring it on. Total: every state of the pods has an answer.

mod action;
mod cleanup;
mod conditions;
mod decide;
pub mod fit;
mod other_containers;
mod relayed;
mod running;
mod stuck_pod;
mod workplan;

#[cfg(test)]
mod tests;

pub use action::{Action, Decision};
pub use conditions::RELAYED;
pub use decide::decide;
pub use workplan::holds_folder;
