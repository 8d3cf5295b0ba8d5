//! The compiler of kubeci: a Workflow's steps become tasks, each of which is one pod.
//!
//! Two laws hold for every plan. It is *exact*: a step starts once all it depends on is done, and never
//! waits for a step that it does not depend on, directly or through others. It is *minimal*: no other
//! exact plan of the same steps has fewer pods.
//!
//! The way through: `check` turns names into indices, `graph` orders and reduces them,
//! `partition` cuts them into pods, `order` says how they follow each other, `workplan`
//! names and builds the object; `peak` says how much room a plan needs. Everything here is a function of its arguments.
#![deny(missing_docs)]

mod check;
mod cycles;
mod error;
mod graph;
mod order;
mod partition;
mod peak;
mod quantity;
mod requests;
mod workplan;

use kubeci_api::{Order, Step, Task, WorkflowSpec};

pub use error::{CompileError, Problem};
pub use peak::{first_pod_requests, widest_moment};
pub use requests::Requests;
pub use workplan::{head, workplan};

/// What runs: each task is one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How the tasks follow each other: `Linear` wherever that makes no step wait in vain.
    pub order: Order,
    /// The pods. A task comes after all tasks that its steps depend on, and has at least one parallel
    /// step; the steps are as they were written.
    pub tasks: Vec<Task>,
}

/// Compiles steps into the exact plan with the fewest pods; of those, the one in which the fewest steps
/// wait for another pod. What is still equal is decided by the order in which the steps are written, so
/// the same steps always give the same plan.
///
/// # Errors
/// Everything that is wrong with the steps, in the order in which they are written, cycles last.
pub fn compile(steps: &[Step]) -> Result<Plan, Vec<CompileError>> {
    let graph = check::graph(steps)?;
    let pods = partition::pods(&graph, |step| steps[step].isolate);
    Ok(Plan {
        order: order::order(&graph, &pods),
        tasks: pods.iter().map(|pod| pod.task(steps)).collect(),
    })
}

/// Compiles a Workflow: its steps, and what its steps and its pod settings must agree on.
///
/// # Errors
/// Everything that [`compile`] finds, then volumes that are missing, reserved or defined twice.
pub fn compile_workflow(workflow: &WorkflowSpec) -> Result<Plan, Vec<CompileError>> {
    let volume_errors = check::volumes(workflow);
    match compile(&workflow.steps) {
        Ok(plan) if volume_errors.is_empty() => Ok(plan),
        Ok(_) => Err(volume_errors),
        Err(step_errors) => Err([step_errors, volume_errors].concat()),
    }
}
