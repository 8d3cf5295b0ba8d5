//! A plan that runs: the update of its steps, and its next pods.

use std::collections::{BTreeMap, BTreeSet};

use kube::{Resource, ResourceExt};
use kubeci_api::{Phase, StepStatus, Workplan, WorkplanStatus};
use kubeci_engine::{
    Cause, Derivation, Executor, Place, STOPPED, Severity, Step, Steps, Waiting, WaitingCause,
    derive_status,
};
use kubeci_plan::{Order, Plan};

use super::action::{Action, Decision};
use super::in_pod::steps_in_pod;
use super::stopping::stopped_pods;
use super::stuck_pod::is_stuck;
use super::workplan::{has_finalizer, holds_folder};
use super::{approvals, conditions, control};
use crate::expression_values;
use crate::observed::{Certainty, ObservedPod, ObservedState, Owner, assigned_node};
use crate::pod_reader::{self, is_of_container, must_be_recreated};
use crate::refusal::Verdict;

pub fn decide(
    workplan: &Workplan,
    plan: &Plan,
    prior: WorkplanStatus,
    state: &ObservedState,
    pods_max: usize,
) -> Decision {
    let node = assigned_node(workplan, &state.pods);
    let control = control::of(workplan, plan, state);
    let values = expression_values::context(workplan);
    let mut steps = Steps::read(plan, &prior.steps).with_values(values);
    steps.resume_halt(&prior, &control);
    if may_have_unseen_pods(plan, &steps, state) {
        return list_pods(prior);
    }
    let settle = |steps: &mut Steps| {
        let mut waiting = settle(workplan, steps, plan, state, node);
        if is_suspended(workplan, steps) {
            waiting.add(WaitingCause::new(Severity::Suspended, suspended()));
        }
        if let Some(cause) = approvals::awaited(workplan, &steps.awaited_approvals()) {
            waiting.add(WaitingCause::new(Severity::Approval, cause));
        }
        waiting
    };
    let mut waiting = settle(&mut steps);
    // A step that is stopped and runs nothing ends at once, and its failure may end the plan.
    let mut due = steps.due(&control, &mut waiting, &prior, state.now);
    while !due.is_empty() {
        if state.certainty == Certainty::Watched {
            return list_pods(prior);
        }
        steps.stop(due);
        waiting = settle(&mut steps);
        due = steps.due(&control, &mut waiting, &prior, state.now);
    }
    let Some(mut actions) = ended_pods(plan, &steps, state) else {
        return list_pods(prior);
    };
    let mut refusals = state.refusals.values();
    let is_refused = refusals.any(|refusal| refusal.verdict == Verdict::Over);
    if !is_refused && !is_suspended(workplan, &steps) {
        actions.extend(start(workplan, &mut steps, state, node, pods_max));
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
            is_disturbed: state.pods.values().any(|pod| pod.deleting),
            now: state.now,
        },
    );
    let has_ended = status.phase.is_some_and(Phase::is_final);
    let is_suspended = is_suspended(workplan, &steps) && !has_ended;
    conditions::suspended(&mut status, state.now, is_suspended, SUSPENDED_MESSAGE);
    if plan.order == Order::Relay && status.observed_generation.is_some() {
        conditions::relayed_once(&mut status, &workplan.spec, &state.limits, state.now);
    }
    Decision {
        status,
        actions,
        wake_at: waiting.wakes_at(),
    }
}

/// Lets the steps consume what is observed of the pods. Of several pods of a task the oldest comes first: the next one
/// runs what is left of it. The refusal of a pod comes after the pods before it.
fn settle(
    workplan: &Workplan,
    steps: &mut Steps,
    plan: &Plan,
    state: &ObservedState,
    node: Option<&str>,
) -> Waiting {
    let attempts = |steps: &Steps| -> u32 { steps.all().iter().map(Step::attempt_number).sum() };
    let observe = |steps: &Steps, pods: &BTreeMap<usize, &ObservedPod>, refusals: &_| {
        let mut observed = pod_reader::observe(workplan, plan, steps, pods, refusals, state, node);
        approvals::observe(workplan, plan, steps, &mut observed);
        observed
    };
    let no_refusals = BTreeMap::new();
    let earlier = state.pods.values().map(|pod| pod.earlier.len()).max();
    let mut waiting = Waiting::default();
    for round in 0..=earlier.unwrap_or_default() {
        let pods = state.pods.iter();
        let pods = pods.map(|(task, pod)| (*task, pod.earlier.get(round).unwrap_or(pod)));
        let pods: BTreeMap<usize, &ObservedPod> = pods.collect();
        // What is observed of a pod depends on which steps have left it.
        loop {
            let before = attempts(steps);
            let observed = observe(steps, &pods, &no_refusals);
            waiting = steps.settle(&observed, state.now);
            if attempts(steps) == before {
                break;
            }
        }
    }
    if !state.refusals.is_empty() {
        let pods = state.pods.iter().map(|(task, pod)| (*task, pod));
        let observed = observe(steps, &pods.collect(), &state.refusals);
        waiting = steps.settle(&observed, state.now);
    }
    waiting
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
        is_of_container(reason) || ["Timeout", STOPPED, Cause::REJECTED].contains(&reason)
    }
}

const SUSPENDED_MESSAGE: &str = "spec.suspend is true: no pod is created, and pods that run continue. To resume, set it to false";

/// The final steps of a plan that ends run nevertheless.
fn is_suspended(workplan: &Workplan, steps: &Steps) -> bool {
    workplan.spec.suspend && !steps.is_halted()
}

fn suspended() -> Cause {
    Cause::new(conditions::SUSPENDED, SUSPENDED_MESSAGE)
}

/// Stops and deletes pods. Returns none if the pods must be listed first.
fn ended_pods(plan: &Plan, steps: &Steps, state: &ObservedState) -> Option<Vec<Action>> {
    let mut actions = deleted_pods(plan, &steps.status(), state);
    for action in stopped_pods(plan, steps, state) {
        if state.certainty == Certainty::Watched && matches!(action, Action::DeletePod(_)) {
            return None;
        }
        if !actions.contains(&action) {
            actions.push(action);
        }
    }
    Some(actions)
}

/// Only the pods that the API server lists show what may be stopped: the watch may lag.
fn list_pods(prior: WorkplanStatus) -> Decision {
    Decision {
        actions: vec![Action::ListPods],
        ..Decision::wait(prior)
    }
}

/// Whether the steps name a pod that the watch has not returned, or may have one though the plan ends.
fn may_have_unseen_pods(plan: &Plan, steps: &Steps, state: &ObservedState) -> bool {
    let is_unseen = |task: usize| match (state.pods.get(&task), steps.executor(task)) {
        (Some(known), Some(pod)) => !known.is_or_succeeds(pod),
        (None, Some(_)) => true,
        (Some(_), None) => false,
        (None, None) => steps.is_ending(task),
    };
    let is_refused = |task: usize| state.refusals.contains_key(&task);
    let has_pod = |task: &usize| !plan.is_approval(*task);
    let tasks = (0..plan.tasks.len()).filter(has_pod);
    let mut open = tasks.filter(|&task| steps.is_open(task));
    state.certainty == Certainty::Watched && open.any(|task| is_unseen(task) && !is_refused(task))
}

/// Deletes pods that cannot end, or are created again while their containers may still start.
fn deleted_pods(plan: &Plan, steps: &[StepStatus], state: &ObservedState) -> Vec<Action> {
    let is_deleted = |task: usize, pod: &ObservedPod| {
        let steps = steps_in_pod(plan, task, steps, &pod.name);
        let is_step = |name: &str| steps.iter().any(|step| step.name == name);
        let is_replaced = || {
            let has_step = steps.iter().any(|step| !step.phase.is_final());
            has_step && must_be_recreated(is_step, pod) && !pod.is_quiet() && !pod.deleting
        };
        is_stuck(&steps, pod) || is_replaced()
    };
    let pods = state.pods.iter().filter(|(task, pod)| {
        pod.owner == Owner::Workplan
            && !state.refusals.contains_key(task)
            && is_deleted(**task, pod)
    });
    pods.map(|(task, _)| Action::DeletePod(*task)).collect()
}

/// Creates the pods of all tasks that may start; before the first is placed only that one. If there are slots only for
/// some, the pods are listed first: one that the watch has not returned may have some of them.
fn start(
    workplan: &Workplan,
    steps: &mut Steps,
    state: &ObservedState,
    node: Option<&str>,
    pods_max: usize,
) -> Vec<Action> {
    let pods = executors(steps, state);
    let mut ready = steps.ready_tasks(|task| pods.contains_key(&task), state.now);
    if node.is_none() {
        ready.truncate(usize::from(!awaits_node(steps, state)));
    }
    ready.retain(|task| !state.refusals.contains_key(task));
    let count = ready.len();
    let mut ready = steps.with_slots(ready, |task| pods.get(&task).copied());
    let is_full = ready.len() < count;
    ready.truncate(pods_max.saturating_sub(open_pods(steps, state)));
    if ready.is_empty() {
        Vec::new()
    } else if is_full && state.certainty == Certainty::Watched {
        vec![Action::ListPods]
    } else if has_finalizer(workplan) || !holds_folder(workplan) {
        ready.into_iter().map(Action::CreatePod).collect()
    } else {
        vec![Action::AddFinalizer]
    }
}

/// The pods that have their tasks, by task: not those that have ended while the task goes on in another one.
fn executors<'a>(steps: &Steps, state: &'a ObservedState) -> BTreeMap<usize, &'a str> {
    let pods = state.pods.iter();
    let pods =
        pods.filter(|(task, pod)| !(pod.is_quiet() && steps.goes_on_after(**task, &pod.name)));
    pods.map(|(task, pod)| (*task, pod.name.as_str())).collect()
}

/// The number of open tasks that have a pod which has not ended, or whose pod the API server refuses for now.
fn open_pods(steps: &Steps, state: &ObservedState) -> usize {
    let pods = state.pods.iter();
    let own = pods.filter(|(_, pod)| pod.owner == Owner::Workplan && !pod.is_quiet());
    let tasks: BTreeSet<&usize> = own
        .map(|(task, _)| task)
        .chain(state.refusals.keys())
        .collect();
    tasks
        .into_iter()
        .filter(|task| steps.is_open(**task))
        .count()
}

/// Whether a pod of an open task is still to be placed.
fn awaits_node(steps: &Steps, state: &ObservedState) -> bool {
    let mut pods = state.pods.iter();
    pods.any(|(task, pod)| pod.owner == Owner::Workplan && !pod.is_quiet() && steps.is_open(*task))
}
