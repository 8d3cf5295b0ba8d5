//! What the end-to-end tests stand on: a client for the cluster under test, a namespace for each test,
//! conditions to wait for, and a way to reach a node's folder and an operator's process.

mod chain;
mod config_maps;
mod described;
mod eventually;
mod kubectl;
mod manifest;
mod node;
mod operators;
mod outage;
mod outside;
mod pods;
mod test;
mod workflows;
mod workplans;

pub use chain::{chains, fired};
pub use eventually::{eventually, eventually_within};
pub use kubectl::kubectl;
pub use manifest::{apply, create, example, manifests};
pub use node::{Inspector, Shell, workspace_path};
pub use operators::{DISRUPTIVE, Operator};
pub use outage::{Component, NodeProcess, Outage};
pub use pods::{PodHistory, workspace_of};
pub use test::{Test, client, run, run_alone, run_as, run_by_itself, run_in_default};
pub use workplans::{all_in, assert_in_order, duration_between, status_text, step};
