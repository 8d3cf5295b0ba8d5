//! The observed state of a Workplan: its pods, its node, and what the API server answered.

mod by_task;
mod node;
mod pod;
mod read;
mod state;
mod warnings;

pub use by_task::by_task;
pub use node::is_ready;
pub use pod::{
    ContainerKind, ContainerState, Ended, ObservedContainer, ObservedPod, Owner, PodPhase,
};
pub use read::STOPPED_SECONDS;
pub use state::{Certainty, FolderUse, NodeState, ObservedState, SweepState, assigned_node};
pub use warnings::{PodWarning, warnings};
