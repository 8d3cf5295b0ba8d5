//! A Workplan's status, as a user reads it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{Resource, ResourceExt};
use kubeci_api::{Phase, StepPhase, StepStatus, Workplan, WorkplanStatus};
use kubeci_plan::{Order, Plan};

use super::failure::Failure;
use super::trouble::Trouble;
use super::{Facts, home, relayed};

const SUCCEEDED: &str = "Succeeded";
const CLEANED: &str = "WorkspaceCleaned";
const RELAYED: &str = "Relayed";
const PODS_ENDED: &str = "PodsEnded";

/// The status of a plan that can never run.
pub fn refused(
    workplan: &Workplan,
    mut status: WorkplanStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> WorkplanStatus {
    status.phase = Some(Phase::Failed);
    status.reason = Some(reason.into());
    status.summary = Some(reason.into());
    status.message = Some(message.into());
    status.finished_at = Some(MicroTime(now));
    status.observed_generation = workplan.meta().generation;
    condition(&mut status, SUCCEEDED, "False", reason, message, now);
    status
}

/// The status of a plan that runs or has just ended. Of one that merely waits for its first container
/// nothing is said, so that nothing need be written.
pub fn running(
    workplan: &Workplan,
    plan: &Plan,
    prior: WorkplanStatus,
    steps: Vec<StepStatus>,
    trouble: Option<Trouble>,
    facts: &Facts,
) -> WorkplanStatus {
    let phase = phase(&steps);
    let lost = facts.pods.values().any(|pod| pod.deleting);
    let said = prior.observed_generation.is_some();
    if phase == Phase::Pending && trouble.is_none() && !lost && !said {
        return prior;
    }
    let node = home(workplan, &facts.pods).map(ToOwned::to_owned);
    let mut status = WorkplanStatus {
        phase: Some(phase),
        node,
        started_at: steps
            .iter()
            .filter_map(|step| step.started_at.clone())
            .min(),
        progress: Some(progress(&steps)),
        task_index: task_index(plan, &steps).or(prior.task_index),
        observed_generation: workplan.meta().generation,
        steps,
        ..prior
    };
    let said = say(workplan, &status, trouble);
    status.reason = said.summary.is_some().then(|| said.word.clone());
    status.summary = said.summary;
    status.message = Some(said.message);
    if phase.is_final() {
        let ends = status
            .steps
            .iter()
            .filter_map(|step| step.finished_at.clone());
        status.finished_at = Some(ends.max().unwrap_or(MicroTime(facts.now)));
    }
    let message = status.message.clone().unwrap_or_default();
    let succeeded = match phase {
        Phase::Completed => "True",
        Phase::Failed => "False",
        Phase::Pending | Phase::Running => "Unknown",
    };
    condition(
        &mut status,
        SUCCEEDED,
        succeeded,
        &said.word,
        &message,
        facts.now,
    );
    if plan.order == Order::Relay && !has_condition(&status, RELAYED) {
        let said = relayed::say(&workplan.spec.tasks, &facts.limits);
        condition(
            &mut status,
            RELAYED,
            said.value,
            said.reason,
            &said.message,
            facts.now,
        );
    }
    status
}

/// Says of a plan that had not ended that it is being deleted, and where its folder is.
pub fn deleting(
    workplan: &Workplan,
    status: &mut WorkplanStatus,
    node: Option<&str>,
    now: Timestamp,
) {
    let message = "the Workplan is deleted; its pods are stopped, then its folder is removed";
    status.node = node.map(ToOwned::to_owned);
    status.reason = Some("Deleting".into());
    status.summary = Some("Deleting".into());
    status.message = Some(message.into());
    status.observed_generation = workplan.meta().generation;
    condition(status, SUCCEEDED, "Unknown", "Deleting", message, now);
}

pub fn cleaned(status: &mut WorkplanStatus, now: Timestamp, reason: &str, message: &str) {
    condition(status, CLEANED, "True", reason, message, now);
}

pub fn uncleaned(status: &mut WorkplanStatus, now: Timestamp, reason: &str, message: &str) {
    condition(status, CLEANED, "False", reason, message, now);
}

pub fn is_cleaned(status: &WorkplanStatus) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|condition| condition.type_ == CLEANED && condition.status == "True")
}

/// Says that pods go on though their steps have ended.
pub fn pods_kept(status: &mut WorkplanStatus, now: Timestamp, message: &str) {
    condition(status, PODS_ENDED, "False", "SidecarRuns", message, now);
}

pub fn pods_ended(status: &mut WorkplanStatus, now: Timestamp, reason: &str, message: &str) {
    condition(status, PODS_ENDED, "True", reason, message, now);
}

pub fn has_kept_pods(status: &WorkplanStatus) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|condition| condition.type_ == PODS_ENDED && condition.status == "False")
}

fn has_condition(status: &WorkplanStatus, type_: &str) -> bool {
    status.conditions.iter().any(|known| known.type_ == type_)
}

/// What a status says of its phase.
struct Said {
    /// For the column; a completed plan or one without trouble needs none.
    summary: Option<String>,
    /// In one word. A condition must have one.
    word: String,
    message: String,
}

fn say(workplan: &Workplan, status: &WorkplanStatus, trouble: Option<Trouble>) -> Said {
    let phase = status.phase.unwrap_or_default();
    if let Some(trouble) = trouble.filter(|_| !phase.is_final()) {
        let Trouble {
            reason, message, ..
        } = trouble;
        return Said {
            summary: Some(reason.clone()),
            word: reason,
            message,
        };
    }
    if let Some(first) = first_failed(&status.steps) {
        return say_failed(workplan, status, first);
    }
    let (word, message) = match phase {
        Phase::Completed => ("Completed", "every step has completed"),
        Phase::Running => ("Running", "steps are running"),
        Phase::Failed => ("Failed", "no step could run"),
        Phase::Pending => ("Pending", "no step has started"),
    };
    Said {
        summary: None,
        word: word.into(),
        message: message.into(),
    }
}

/// The reason in a word with the step if the step itself is at fault, the sentence with the way to its log.
fn say_failed(workplan: &Workplan, status: &WorkplanStatus, step: &StepStatus) -> Said {
    let failure = Failure::recorded(step);
    let name = &step.name;
    let (summary, word, sentence) = if failure.is_of_container(step) {
        let last_line = failure.text.lines().last().unwrap_or_default();
        let last = Failure::new(&failure.reason, last_line);
        (
            format!("{name}: {}", failure.in_short(step.exit_code)),
            "StepFailed".into(),
            format!("the step {name} failed: {}", last.in_full(step.exit_code)),
        )
    } else {
        (failure.reason.clone(), failure.reason, failure.text)
    };
    let full_stop = if sentence.ends_with('.') { "" } else { "." };
    let (log, skipped) = (log_of(workplan, step), skipped(&status.steps));
    Said {
        summary: Some(summary),
        word,
        message: format!("{sentence}{full_stop}{log}{skipped}"),
    }
}

/// How to read what a step wrote, if it ran.
fn log_of(workplan: &Workplan, step: &StepStatus) -> String {
    match (&step.pod, &step.container, step.exit_code) {
        (Some(pod), Some(container), Some(_)) => {
            let namespace = workplan.namespace().unwrap_or_default();
            format!(" Its log: kubectl -n {namespace} logs {pod} -c {container}")
        }
        _ => String::new(),
    }
}

fn skipped(steps: &[StepStatus]) -> String {
    let skipped = steps.iter().filter(|step| step.phase == StepPhase::Skipped);
    match skipped.count() {
        0 => String::new(),
        1 => " (1 step was skipped)".into(),
        many => format!(" ({many} steps were skipped)"),
    }
}

/// The step that failed first; of those that failed at once, or never ran, the first in the plan.
fn first_failed(steps: &[StepStatus]) -> Option<&StepStatus> {
    let failed = steps.iter().filter(|step| step.phase == StepPhase::Failed);
    failed.min_by_key(|step| (step.finished_at.is_none(), step.finished_at.clone()))
}

fn phase(steps: &[StepStatus]) -> Phase {
    let all = |phase| steps.iter().all(|step| step.phase == phase);
    if all(StepPhase::Completed) {
        Phase::Completed
    } else if steps.iter().all(|step| step.phase.is_final()) {
        Phase::Failed
    } else if all(StepPhase::Pending) {
        Phase::Pending
    } else {
        Phase::Running
    }
}

fn progress(steps: &[StepStatus]) -> String {
    let completed = steps
        .iter()
        .filter(|step| step.phase == StepPhase::Completed)
        .count();
    format!("{completed}/{}", steps.len())
}

/// The lowest task of which something is left to do, if any has started.
fn task_index(plan: &Plan, steps: &[StepStatus]) -> Option<i64> {
    let started =
        |step: &StepStatus| !matches!(step.phase, StepPhase::Pending | StepPhase::Skipped);
    let open = |step: &StepStatus| !step.phase.is_final();
    let mut tasks = plan.tasks.iter();
    let lowest = tasks.position(|range| steps[range.clone()].iter().any(open));
    let last = plan
        .tasks
        .iter()
        .rposition(|range| steps[range.clone()].iter().any(started));
    let index = lowest.filter(|_| steps.iter().any(started)).or(last)?;
    i64::try_from(index).ok()
}

/// Sets a condition; its time changes with its status only.
fn condition(
    status: &mut WorkplanStatus,
    type_: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let known = status
        .conditions
        .iter()
        .position(|condition| condition.type_ == type_);
    let since = known
        .map(|at| &status.conditions[at])
        .filter(|condition| condition.status == value);
    let last_transition_time =
        since.map_or_else(|| seconds(now), |known| known.last_transition_time.clone());
    let condition = Condition {
        last_transition_time,
        message: message.to_owned(),
        observed_generation: status.observed_generation,
        reason: reason.to_owned(),
        status: value.to_owned(),
        type_: type_.to_owned(),
    };
    match known {
        Some(at) => status.conditions[at] = condition,
        None => status.conditions.push(condition),
    }
}

/// The time of a condition as precise as the API keeps it, so that what is read back equals what was written.
fn seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
