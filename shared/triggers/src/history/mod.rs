//! The history of one Workflow: which finished Workplans are deleted, and how many were.
//!
//! Each Workplan counts once, even if the operator is killed. One status write names the Workplans to delete and
//! counts them as deleted; only then they are deleted. After a restart the operator deletes those that the status
//! names and that still exist, and does not count them again.

mod deletions;
mod limits;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use deletions::Deletions;
pub use limits::HistoryLimits;
