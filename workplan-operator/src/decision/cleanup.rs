//! The clean-up of a plan that has ended or is being deleted: its pods end, its folder and its finalizer are removed.

use std::ops::Range;

use jiff::Timestamp;
use kube::Resource;
use kubeci_api::{Phase, StepPhase, StepStatus, Task, Workplan, WorkplanStatus};
use kubeci_engine::{PENDING_TIMEOUT, deleting_status};

use super::action::{Action, Decision};
use super::conditions;
use super::folder_use::{take_back, used_by};
use super::kept::{kept, kept_until, seconds};
use super::stuck_pod::is_stuck;
use super::workplan::{has_finalizer, holds_folder};
use crate::observed::{
    Certainty, NodeState, ObservedPod, ObservedState, Owner, SweepState, assigned_node,
};
use crate::pod_builder;
use crate::workspace::holder;

/// Cleans up after a plan whose steps have all ended.
pub fn of_ended(
    workplan: &Workplan,
    tasks: &[Range<usize>],
    mut status: WorkplanStatus,
    state: &ObservedState,
) -> Decision {
    let stuck: Vec<Action> = pods_of(tasks, state)
        .filter(|(task, pod)| {
            steps_of(tasks, &status, *task).is_some_and(|steps| is_stuck(steps, pod))
        })
        .map(|(task, _)| Action::DeletePod(task))
        .collect();
    if !holds_folder(workplan) {
        gone_with_its_pod(&mut status, state);
    }
    take_back(&mut status, state);
    let mut wake_at = None;
    let actions = if !stuck.is_empty() {
        stuck
    } else if !has_finalizer(workplan) {
        // The finalizer comes before the first pod.
        if !conditions::is_cleaned(&status) {
            if let Some(holder) = holder(workplan) {
                returned(&mut status, state, holder);
            } else if assigned_node(workplan, &state.pods).is_none() {
                never_placed(&mut status, state);
            }
        }
        Vec::new()
    } else if conditions::is_cleaned(&status) {
        vec![Action::RemoveFinalizer]
    } else {
        wake_at = kept_until(workplan, &status, state.now);
        clean(workplan, tasks, &mut status, wake_at, state)
    };
    Decision {
        status,
        actions,
        wake_at,
    }
}

/// Stops a plan that is being deleted, and cleans up after it.
pub fn of_deleted(
    workplan: &Workplan,
    tasks: &[Range<usize>],
    prior: WorkplanStatus,
    state: &ObservedState,
) -> Decision {
    if !has_finalizer(workplan) {
        return Decision::wait(prior);
    }
    let mut status = prior.clone();
    take_back(&mut status, state);
    if !status.phase.is_some_and(Phase::is_final) {
        deleting_status(
            &mut status,
            assigned_node(workplan, &state.pods),
            workplan.meta().generation,
            state.now,
        );
    }
    let stopped: Vec<Action> = pods_of(tasks, state)
        .filter(|(_, pod)| !pod.deleting)
        .map(|(task, _)| Action::DeletePod(task))
        .collect();
    let mut actions = if conditions::is_cleaned(&status) || !holds_folder(workplan) {
        vec![Action::RemoveFinalizer]
    } else {
        clean(workplan, tasks, &mut status, None, state)
    };
    if actions.contains(&Action::RemoveFinalizer) {
        status = prior; // the Workplan is deleted before its status could be read
    }
    actions.splice(0..0, stopped);
    Decision {
        actions,
        ..Decision::wait(status)
    }
}

/// The next actions for the clean-up of the folder, which may be kept until some time.
fn clean(
    workplan: &Workplan,
    tasks: &[Range<usize>],
    status: &mut WorkplanStatus,
    kept_until: Option<Timestamp>,
    state: &ObservedState,
) -> Vec<Action> {
    let node = assigned_node(workplan, &state.pods).map(ToOwned::to_owned);
    let gone = node.is_some() && state.node == NodeState::Gone;
    if !gone && may_have_more_pods(workplan, tasks, status, state) {
        return vec![Action::ListPods];
    }
    let waits = pods_of(tasks, state).any(|(_, pod)| !pod.is_quiet());
    let Some(node) = node else {
        if waits {
            return Vec::new();
        }
        never_placed(status, state);
        return vec![Action::RemoveFinalizer];
    };
    if state.node == NodeState::Gone {
        let message = format!("the node {node} was deleted, and the folder with it");
        return done(status, state, "NodeGone", &message);
    }
    if let Some(user) = used_by(status).map(|user| user.name.clone()) {
        in_use(status, state, &user);
        return Vec::new();
    }
    match holder(workplan) {
        Some(_) if waits => Vec::new(),
        Some(holder) => {
            returned(status, state, holder);
            vec![Action::RemoveFinalizer]
        }
        None => remove(workplan, status, kept_until, state, (&node, waits)),
    }
}

/// The next actions for the removal of the folder from its node, on which pods may run.
fn remove(
    workplan: &Workplan,
    status: &mut WorkplanStatus,
    kept_until: Option<Timestamp>,
    state: &ObservedState,
    (node, pods_run): (&str, bool),
) -> Vec<Action> {
    if kept_until.is_none() && conditions::is_kept(status) {
        let message = format!("the folder was kept, and is now removed from the node {node}");
        conditions::uncleaned(status, state.now, conditions::KEEP_ENDED, &message);
    }
    match (state.node, kept_until, &state.sweep) {
        (_, None, SweepState::Done) if !pods_run => {
            let message = format!("the folder was removed from the node {node}");
            done(status, state, "Removed", &message)
        }
        (NodeState::NotReady, ..) => {
            let message = node_is_away(node, kept_until);
            conditions::uncleaned(status, state.now, "NodeNotReady", &message);
            Vec::new()
        }
        (_, Some(until), _) => {
            let message = kept(workplan, node, until);
            conditions::uncleaned(status, state.now, conditions::KEPT, &message);
            Vec::new()
        }
        (_, None, _) if pods_run => Vec::new(),
        (_, None, SweepState::Failed(error)) => {
            let message =
                format!("the folder cannot be removed from the node {node}; retrying: {error}");
            conditions::uncleaned(status, state.now, "SweepFailed", &message);
            Vec::new()
        }
        (_, None, SweepState::NotAsked) => vec![Action::Sweep],
        (_, None, SweepState::Underway | SweepState::Done) => Vec::new(),
    }
}

fn node_is_away(node: &str, kept_until: Option<Timestamp>) -> String {
    let then = match kept_until {
        Some(until) => format!("the folder is kept there until {}", seconds(until)),
        None => "the folder is removed when the node is ready again".to_owned(),
    };
    format!(
        "the node {node} is not ready; {then}. If it does not come back, delete it: kubectl delete node {node}"
    )
}

/// The folder stays until another Workplan is done with it.
fn in_use(status: &mut WorkplanStatus, state: &ObservedState, user: &str) {
    let message = format!(
        "the Workplan {user} uses the folder, which is not removed before that one has ended; to end it, cancel it"
    );
    conditions::uncleaned(status, state.now, conditions::IN_USE, &message);
}

/// The folder is another Workplan's, which removes it.
fn returned(status: &mut WorkplanStatus, state: &ObservedState, holder: &str) {
    let message = format!("the folder is that of {holder}, which removes it");
    conditions::cleaned(status, state.now, "Returned", &message);
}

fn never_placed(status: &mut WorkplanStatus, state: &ObservedState) {
    let message = "no pod was placed on a node, so there is no folder";
    conditions::cleaned(status, state.now, "NeverPlaced", message);
}

fn gone_with_its_pod(status: &mut WorkplanStatus, state: &ObservedState) {
    let message = "the folder was an emptyDir volume; Kubernetes removes it with the pod";
    conditions::cleaned(status, state.now, "NothingOnNode", message);
}

fn done(
    status: &mut WorkplanStatus,
    state: &ObservedState,
    reason: &str,
    message: &str,
) -> Vec<Action> {
    conditions::cleaned(status, state.now, reason, message);
    vec![Action::RemoveFinalizer]
}

/// Whether a task may have a pod that was not observed. A task with only skipped steps never had a pod, unless the plan
/// was ended before its steps.
fn may_have_more_pods(
    workplan: &Workplan,
    tasks: &[Range<usize>],
    status: &WorkplanStatus,
    state: &ObservedState,
) -> bool {
    let never_started = |step: &StepStatus| {
        let is_skipped = step.phase == StepPhase::Skipped && step.attempts.is_empty();
        is_skipped || step.taken_over_from.is_some()
    };
    let ends_early = may_end_early(workplan, status);
    let may_have = |task: usize| {
        let steps = steps_of(tasks, status, task);
        ends_early || !steps.is_some_and(|steps| steps.iter().all(never_started))
    };
    let is_seen = |task: usize| {
        let number = pod_builder::number(workplan, task, &status.steps);
        let last = pod_builder::name(workplan, task, number);
        let pod = state.pods.get(&task);
        pod.is_some_and(|pod| number == 1 || pod.is_or_succeeds(&last))
    };
    let has_pod = |task: &usize| workplan.spec.tasks.get(*task).is_some_and(Task::has_pod);
    let mut unseen = (0..tasks.len()).filter(|task| has_pod(task) && !is_seen(*task));
    state.certainty == Certainty::Watched && unseen.any(may_have)
}

/// Whether something else than its steps may have ended the plan. Then steps were skipped that had a pod already.
fn may_end_early(workplan: &Workplan, status: &WorkplanStatus) -> bool {
    let spec = &workplan.spec;
    let has_waited_too_long = status.reason.as_deref() == Some(PENDING_TIMEOUT);
    spec.cancel || spec.fail_fast || spec.timeout.is_some() || has_waited_too_long
}

fn steps_of<'a>(
    tasks: &[Range<usize>],
    status: &'a WorkplanStatus,
    task: usize,
) -> Option<&'a [StepStatus]> {
    status.steps.get(tasks.get(task)?.clone())
}

fn pods_of<'a>(
    tasks: &[Range<usize>],
    state: &'a ObservedState,
) -> impl Iterator<Item = (usize, &'a ObservedPod)> {
    let known = tasks.len();
    let pods = state.pods.iter().map(|(task, pod)| (*task, pod));
    pods.filter(move |(task, pod)| *task < known && pod.owner == Owner::Workplan)
}
