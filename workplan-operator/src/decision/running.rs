//! A plan that runs: its steps brought up to date, its next pods.

use kube::{Resource, ResourceExt};
use kubeci_api::{StepStatus, Workplan, WorkplanStatus};
use kubeci_engine::{Derivation, Executor, Place, Steps, derive_status};
use kubeci_plan::{Order, Plan};

use super::action::{Action, Decision};
use super::conditions;
use super::stuck_pod::is_stuck;
use super::workplan::{has_finalizer, holds_folder};
use crate::observed::{Certainty, ObservedPod, ObservedState, Owner, assigned_node};
use crate::pod_reader::{self, is_of_container, is_to_be_made_again};
use crate::refusal::Verdict;

pub fn decide(
    workplan: &Workplan,
    plan: &Plan,
    prior: WorkplanStatus,
    facts: &ObservedState,
) -> Decision {
    let node = assigned_node(workplan, &facts.pods);
    let mut steps = Steps::read(plan, &prior.steps);
    let mut actions = Vec::new();
    if may_have_unseen_pods(plan, &steps, facts) {
        actions.push(Action::ListPods);
    }
    let observed = pod_reader::observe(workplan, plan, &steps, facts, node);
    let waiting = steps.settle(&observed, facts.now);
    actions.extend(deleted_pods(plan, &steps.status(), facts));
    let mut refusals = facts.refusals.values();
    if refusals.all(|refusal| refusal.verdict != Verdict::Over) {
        actions.extend(start(workplan, &steps, facts, node));
    }
    let mut status = derive_status(
        prior,
        &Derivation {
            steps: &steps,
            waiting: waiting.cause(),
            executor: &Pods {
                namespace: workplan.namespace().unwrap_or_default(),
            },
            node,
            generation: workplan.meta().generation,
            is_disturbed: facts.pods.values().any(|pod| pod.deleting),
            now: facts.now,
        },
    );
    if plan.order == Order::Relay && status.phase.is_some() {
        let tasks = &workplan.spec.tasks;
        conditions::relayed_once(&mut status, tasks, &facts.limits, facts.now);
    }
    Decision {
        status,
        actions,
        wake_at: waiting.wakes_at(),
    }
}

/// Pods as the executors of steps.
struct Pods {
    namespace: String,
}

impl Executor for Pods {
    fn log_command(&self, place: &Place) -> String {
        let Place { pod, container } = place;
        format!("kubectl -n {} logs {pod} -c {container}", self.namespace)
    }

    fn is_of_step(&self, reason: &str) -> bool {
        is_of_container(reason)
    }
}

/// Whether a step has run whose pod the watch does not show.
fn may_have_unseen_pods(plan: &Plan, steps: &Steps, facts: &ObservedState) -> bool {
    let is_known =
        |task: usize| facts.pods.contains_key(&task) || facts.refusals.contains_key(&task);
    let mut unknown = (0..plan.tasks.len()).filter(|&task| !is_known(task));
    facts.certainty == Certainty::Watched
        && unknown.any(|task| steps.was_started(task) && steps.is_open(task))
}

/// The pods that wait in vain.
fn deleted_pods(plan: &Plan, steps: &[StepStatus], facts: &ObservedState) -> Vec<Action> {
    let is_deleted = |task: usize, pod: &ObservedPod| {
        let range = plan.tasks.get(task).cloned();
        range.is_some_and(|range| {
            let steps = &steps[range];
            let is_step = |name: &str| steps.iter().any(|step| step.name == name);
            let again = || is_to_be_made_again(is_step, pod) && !pod.deleting;
            is_stuck(steps, pod) || again()
        })
    };
    let pods = facts.pods.iter().filter(|(task, pod)| {
        pod.owner == Owner::Ours && !facts.refusals.contains_key(task) && is_deleted(**task, pod)
    });
    pods.map(|(task, _)| Action::DeletePod(*task)).collect()
}

/// Creates the pods of all tasks that may start; before the first is placed only that one.
fn start(
    workplan: &Workplan,
    steps: &Steps,
    facts: &ObservedState,
    node: Option<&str>,
) -> Vec<Action> {
    let mut ready = steps.ready_tasks(|task| facts.pods.contains_key(&task));
    if node.is_none() {
        ready.truncate(usize::from(!awaits_node(steps, facts)));
    }
    ready.retain(|task| !facts.refusals.contains_key(task));
    if ready.is_empty() {
        Vec::new()
    } else if has_finalizer(workplan) || !holds_folder(workplan) {
        ready.into_iter().map(Action::CreatePod).collect()
    } else {
        vec![Action::AddFinalizer]
    }
}

/// Whether a pod of an open task is still to be placed.
fn awaits_node(steps: &Steps, facts: &ObservedState) -> bool {
    let mut pods = facts.pods.iter();
    pods.any(|(task, pod)| pod.owner == Owner::Ours && steps.is_open(*task))
}
