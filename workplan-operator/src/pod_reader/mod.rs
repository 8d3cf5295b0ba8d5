//! Reads pods, and emits observations of the steps of their tasks.
//!
//! `task` reads a task's pod, or that there is none. In a pod whose containers follow each other `native` reads each
//! container; in one whose steps start by themselves `relay` does, with the record that the step runner leaves.
//! `preparation` reads kubeci's own containers, `other_containers` those that are no steps. `waiting` and
//! `scheduling` find what a pod waits for, `blocked` why a container does not start, `cause` why one ended.

mod blocked;
mod cause;
mod container;
mod native;
mod other_containers;
mod preparation;
mod relay;
mod scheduling;
mod task;
mod task_steps;
mod waiting;

pub use blocked::is_of_container;
pub use preparation::must_be_recreated;
pub use task::observe;
pub use waiting::is_stalled;
