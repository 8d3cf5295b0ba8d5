//! The compiler of kubeci: a Workflow's steps become tasks, each of which is one pod.
//!
//! Two laws hold for every plan. It is *exact*: a step starts once all its edges hold, and never waits for a
//! step that may still run then. It is *minimal*: no other exact plan of the same steps has fewer pods, of those
//! that are executed the same way (and, for `Relay`, whose pods need not be cut for having too many containers; for
//! `Pods` with `maxParallel`, whose pods run no more steps at the same time).
//!
//! `check` validates the steps and makes them a graph of kubeci-plan. For `Pods`, `partition` groups them into pods
//! and `order` says how these follow each other; for `Relay`, `relay` does both. `workplan` names and builds the
//! object. `read` reads the tasks of a Workplan as a plan. `peak` computes how much room a plan needs, `limits`
//! what a namespace changes about that, and `size` whether the objects can be stored. Everything here is a function
//! of its arguments.
//!
//! An approval has a task of its own, which is no pod. It is planned as a step with `isolate`.
#![deny(missing_docs)]

mod check;
mod empty_dir;
mod error;
mod limits;
mod order;
mod partition;
mod peak;
mod quantity;
mod read;
mod relay;
mod requests;
mod settings;
mod shared_volumes;
mod size;
mod workplan;

use std::num::NonZeroUsize;

use kubeci_api::{Execution, Order, Step, Task, WorkflowSpec};
use kubeci_plan::Graph;

use check::Written;

pub use empty_dir::empty_folder_of_final_steps;
pub use error::{CompileError, Problem};
pub use limits::{Limits, Need, pod_requests};
pub use peak::{first_pod_requests, widest_moment};
pub use read::{container_field, edge_field, edges_to, is_relay, read_plan, retry_policy};
pub use relay::{Apart, Room, relay_apart, relay_pod_requests, relay_room, relay_shares};
pub use requests::Requests;
pub use settings::Settings;
pub use shared_volumes::{SharedVolume, shared_volumes};
pub use size::{MESSAGE_BYTES, STORED_MAX, TooLarge, output_bytes, stored_bytes, too_large};
pub use workplan::{head, workplan, workplan_spec};

/// What runs: each task is one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The order of the tasks: `Linear` if no step then waits for a step that it does not depend on; always `Relay` for
    /// that execution.
    pub order: Order,
    /// The pods. A task comes after all tasks that its steps depend on, and has at least one parallel
    /// step; the steps are as they were written.
    pub tasks: Vec<Task>,
    /// The names of the final steps, as they were written.
    pub finally: Vec<String>,
}

/// Compiles steps for `Pods`: into the exact plan with the fewest pods; of those, the one in which the fewest
/// steps wait for another pod. What is still equal is decided by the order in which the steps are written, so
/// the same steps always give the same plan.
///
/// # Errors
/// Everything that is wrong with the steps, in the order in which they are written, cycles last.
pub fn compile(steps: &[Step]) -> Result<Plan, Vec<CompileError>> {
    let written = Written::new(steps, &[]);
    Ok(pods_plan(&check::graph(&written)?, &written, None))
}

/// As [`compile`], of the plans whose pods run at most so many steps at the same time.
///
/// # Errors
/// As [`compile`].
pub fn compile_limited(
    steps: &[Step],
    max_parallel: NonZeroUsize,
) -> Result<Plan, Vec<CompileError>> {
    let written = Written::new(steps, &[]);
    let checked = check::graph(&written)?;
    Ok(pods_plan(&checked, &written, Some(max_parallel)))
}

/// Compiles steps for `Relay`: into the exact plan with the fewest pods, each of at most so many containers.
/// Steps without `commands` or with `isolate` have tasks of their own, and so have approvals and steps that take
/// turns with a device. All steps are parallel ones, in the order in which their containers should start: each after all
/// that it depends on, and first those that the most steps in a row wait for.
///
/// # Errors
/// As [`compile`].
pub fn compile_relay(steps: &[Step], containers: NonZeroUsize) -> Result<Plan, Vec<CompileError>> {
    let written = Written::new(steps, &[]);
    let checked = check::graph(&written)?;
    Ok(relay_plan(&checked.graph, &written, containers))
}

/// Compiles a Workflow: its steps, and what its steps and its pod settings must agree on.
///
/// # Errors
/// Everything that [`compile`] finds, then volumes that are missing, reserved or defined twice; else a
/// workspace of one pod for a plan that needs several, or a plan that is too large to be stored.
pub fn compile_workflow(
    workflow: &WorkflowSpec,
    settings: &Settings,
) -> Result<Plan, Vec<CompileError>> {
    let written = Written::new(&workflow.steps, &workflow.finally);
    let volume_errors = check::volumes(workflow, &written);
    let checked = match check::graph(&written) {
        Ok(checked) if volume_errors.is_empty() => checked,
        Ok(_) => return Err(volume_errors),
        Err(step_errors) => return Err([step_errors, volume_errors].concat()),
    };
    let execution = workflow.execution.unwrap_or(settings.execution);
    let plan = match execution {
        Execution::Pods => pods_plan(&checked, &written, workflow.max_parallel.map(Into::into)),
        Execution::Relay => relay_plan(&checked.graph, &written, settings.containers),
    };
    let error = if workflow.workspace.is_empty_dir() {
        empty_dir::error(&checked.graph, &written.steps, &plan, execution, settings)
    } else {
        None
    };
    let too_large = || {
        let found = too_large(plan.order, &plan.tasks, &workflow.pod, 0)?;
        Some(CompileError {
            path: "spec.steps".to_owned(),
            step: None,
            problem: Problem::TooLarge { found },
        })
    };
    let error = error.or_else(too_large);
    error.map_or(Ok(plan), |error| Err(vec![error]))
}

fn pods_plan(
    checked: &check::Steps,
    written: &Written,
    max_parallel: Option<NonZeroUsize>,
) -> Plan {
    let (graph, steps) = (&checked.graph, &written.steps);
    let is_isolated = |step: usize| steps[step].isolate || steps[step].approval.is_some();
    let follows = partition::followed(graph, &checked.edges, is_isolated);
    let is_alone = |step: usize| is_isolated(step) || steps[step].timeout.is_some();
    let most = max_parallel.map_or(usize::MAX, NonZeroUsize::get);
    let pods = partition::pods(graph, &follows, &checked.named, is_alone, most);
    Plan {
        order: order::order(graph, &pods),
        tasks: pods.iter().map(|pod| pod.task(steps)).collect(),
        finally: written.finally(),
    }
}

fn relay_plan(graph: &Graph, written: &Written, containers: NonZeroUsize) -> Plan {
    Plan {
        order: Order::Relay,
        tasks: relay::tasks(graph, &written.steps, containers),
        finally: written.finally(),
    }
}
