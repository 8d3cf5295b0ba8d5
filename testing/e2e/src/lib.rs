//! What the end-to-end tests stand on: a client for the cluster under test, a namespace for each test,
//! conditions to wait for, and a way to reach a node's folder and an operator's process.

mod eventually;
mod manifest;
mod node;
mod operators;
mod test;
mod workplans;

pub use eventually::{eventually, eventually_within};
pub use manifest::{apply, example, manifests};
pub use node::{Inspector, workspace_path};
pub use operators::{DISRUPTIVE, Operator};
pub use test::{Test, client, run};
pub use workplans::{duration_between, step};
