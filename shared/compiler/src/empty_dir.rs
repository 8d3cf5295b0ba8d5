//! An `emptyDir` as the workspace needs a plan of one pod.

use std::num::NonZeroUsize;

use kubeci_api::{Execution, Step, WorkflowSpec};
use kubeci_plan::Graph;

use crate::error::{CompileError, Problem};
use crate::{Plan, Settings, relay};

/// The most steps that are named for why there are more pods.
const NAMED_MAX: usize = 5;

/// The error of an `emptyDir` as the workspace of a plan that needs several pods.
pub(crate) fn error(
    graph: &Graph,
    steps: &[Step],
    plan: &Plan,
    execution: Execution,
    settings: &Settings,
) -> Option<CompileError> {
    let pods = plan.tasks.len();
    let why = match execution {
        Execution::Pods => by_pods(plan),
        Execution::Relay => by_relay(graph, steps, settings.containers),
    };
    let fits_relay =
        execution == Execution::Pods && relay::tasks(graph, steps, settings.containers).len() == 1;
    let problem = with_approvals(steps).unwrap_or(Problem::EmptyDirOfManyPods {
        pods,
        why,
        fits_relay,
    });
    (pods > 1).then(|| CompileError {
        path: "spec.workspace".to_owned(),
        step: None,
        problem,
    })
}

/// A warning about final steps whose shared folder may be empty.
#[must_use]
pub fn empty_folder_of_final_steps(workflow: &WorkflowSpec) -> Option<String> {
    let is_lost = workflow.workspace.is_empty_dir() && !workflow.finally.is_empty();
    is_lost.then(|| {
        "spec.finally: after a cancel, a time limit or a failure with failFast its steps run in another pod, and with \
         `workspace: emptyDir` the shared folder is then empty; if they need it, use `workspace: hostPath`"
            .to_owned()
    })
}

fn with_approvals(steps: &[Step]) -> Option<Problem> {
    let approvals = steps.iter().filter(|step| step.approval.is_some());
    let named: Vec<String> = approvals.map(|step| format!("{:?}", step.name)).collect();
    (!named.is_empty()).then(|| Problem::EmptyDirWithApproval {
        steps: listed(named),
    })
}

fn by_pods(plan: &Plan) -> String {
    let others = plan.tasks.iter().skip(1);
    let first_steps = others.filter_map(|task| task.steps().next());
    let named = first_steps.map(|step| format!("{:?}", step.name));
    format!("the other pods start with {}", listed(named.collect()))
}

fn by_relay(graph: &Graph, steps: &[Step], containers: NonZeroUsize) -> String {
    let apart = relay::apart(graph, steps);
    let shared = apart.iter().filter(|why| why.is_none()).count();
    let whys = steps.iter().zip(apart);
    let named: Vec<String> = whys
        .filter_map(|(step, why)| Some(format!("{:?} ({})", step.name, why?)))
        .collect();
    if named.is_empty() {
        format!("{shared} steps share a pod, which may have at most {containers} containers")
    } else {
        format!("these steps have their own pods: {}", listed(named))
    }
}

fn listed(mut named: Vec<String>) -> String {
    let more = named.len().saturating_sub(NAMED_MAX);
    named.truncate(NAMED_MAX);
    let named = named.join(", ");
    if more > 0 {
        format!("{named} and {more} more")
    } else {
        named
    }
}
