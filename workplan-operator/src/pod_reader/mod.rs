//! Reads pods, and emits observations of the steps of their tasks.
//!
//! `task` reads the pod of a task, or its absence. `native` reads the containers of a pod without a relay, `relay` those
//! of a relay pod, with the records of the step runners. `preparation` reads kubeci's own containers,
//! `other_containers` those that are not steps. `outputs` reads the outputs of steps without a step runner. `waiting` and `scheduling` find why a pod waits, `blocked` why a
//! container does not start, `cause` why a container ended.

mod blocked;
mod cause;
mod container;
mod native;
mod other_containers;
mod outputs;
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
