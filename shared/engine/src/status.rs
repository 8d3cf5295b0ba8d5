use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kubeci_api::{Phase, StepPhase, WorkplanStatus};
use kubeci_plan::Plan;

use crate::cause::Cause;
use crate::conditions::set_condition;
use crate::halt::{Halt, STOPPED};
use crate::observation::Place;
use crate::step::Step;
use crate::steps::Steps;
use crate::waiting::WaitingCause;

/// The condition that states whether the plan has succeeded.
pub const SUCCEEDED: &str = "Succeeded";

/// The properties of an executor that a status needs.
pub trait Executor {
    /// The command that shows the log of a step that ran there.
    fn log_command(&self, place: &Place) -> String;

    /// Whether a reason that prevents a start concerns one step, not its whole task.
    fn is_of_step(&self, reason: &str) -> bool;
}

/// The input from which a status is derived, besides the previous status.
pub struct Derivation<'a> {
    /// The current steps.
    pub steps: &'a Steps<'a>,
    /// Why the plan waits.
    pub waiting: Option<&'a WaitingCause>,
    /// The executor of the steps.
    pub executor: &'a dyn Executor,
    /// The node on which the plan runs.
    pub node: Option<&'a str>,
    /// The generation of the Workplan.
    pub generation: Option<i64>,
    /// Whether an executor is being deleted.
    pub is_disturbed: bool,
    /// The time.
    pub now: Timestamp,
}

/// Derives the status of a plan that runs or has just ended. A plan that only waits for its first step keeps its
/// status, so that nothing is written.
#[must_use]
pub fn derive_status(prior: WorkplanStatus, from: &Derivation) -> WorkplanStatus {
    let (plan, steps) = (from.steps.plan, from.steps.all());
    let phase = phase(from.steps);
    let was_written = prior.observed_generation.is_some() || from.steps.is_halted();
    if phase == Phase::Pending && from.waiting.is_none() && !from.is_disturbed && !was_written {
        return prior;
    }
    let explanation = explain(phase, from);
    let may_run_finally = plan.has_final_steps() && !from.steps.has_open_main_step();
    let finally_at = may_run_finally.then_some(MicroTime(from.now));
    let started = steps.iter().flat_map(Step::attempts);
    let started = started.filter_map(|attempt| attempt.started);
    let mut status = WorkplanStatus {
        phase: Some(phase),
        node: from.node.map(ToOwned::to_owned),
        started_at: started.min().map(MicroTime),
        progress: Some(progress(steps)),
        task_index: task_index(plan, steps).or(prior.task_index),
        observed_generation: from.generation,
        steps: from.steps.status(),
        reason: explanation
            .summary
            .is_some()
            .then(|| explanation.reason.clone()),
        summary: explanation.summary,
        message: Some(explanation.message.clone()),
        finally_at: prior.finally_at.or(finally_at),
        ..prior
    };
    if phase.is_final() {
        let ended = steps.iter().filter_map(Step::ended_here);
        status.finished_at = Some(MicroTime(ended.max().unwrap_or(from.now)));
    }
    let value = match phase {
        Phase::Completed => "True",
        Phase::Failed | Phase::Cancelled => "False",
        Phase::Pending | Phase::Running => "Unknown",
    };
    set_condition(
        &mut status,
        SUCCEEDED,
        value,
        &explanation.reason,
        &explanation.message,
        from.now,
    );
    status
}

/// The status of a plan that can never run.
#[must_use]
pub fn invalid_status(
    mut status: WorkplanStatus,
    cause: &Cause,
    generation: Option<i64>,
    now: Timestamp,
) -> WorkplanStatus {
    status.phase = Some(Phase::Failed);
    status.finished_at = Some(MicroTime(now));
    status.observed_generation = generation;
    write_cause(&mut status, "False", cause, now);
    status
}

/// The status of a plan that may not start yet.
#[must_use]
pub fn queued_status(
    mut status: WorkplanStatus,
    cause: &Cause,
    generation: Option<i64>,
    now: Timestamp,
) -> WorkplanStatus {
    status.phase = Some(Phase::Pending);
    status.observed_generation = generation;
    write_cause(&mut status, "Unknown", cause, now);
    status
}

/// The status of a plan that had not ended when its Workplan was deleted.
pub fn deleting_status(
    status: &mut WorkplanStatus,
    node: Option<&str>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let message = "the Workplan is being deleted; its pods are stopped, then its folder is removed";
    status.node = node.map(ToOwned::to_owned);
    status.observed_generation = generation;
    write_cause(status, "Unknown", &Cause::new("Deleting", message), now);
}

fn write_cause(status: &mut WorkplanStatus, value: &str, cause: &Cause, now: Timestamp) {
    status.reason = Some(cause.reason.clone());
    status.summary = Some(cause.reason.clone());
    status.message = Some(cause.message.clone());
    set_condition(status, SUCCEEDED, value, &cause.reason, &cause.message, now);
}

/// Why a plan is in its phase.
struct Explanation {
    /// The reason of the condition. It is required.
    reason: String,
    /// Absent if there is no problem.
    summary: Option<String>,
    message: String,
}

impl Explanation {
    fn of_cause(cause: &Cause) -> Self {
        Self {
            reason: cause.reason.clone(),
            summary: Some(cause.reason.clone()),
            message: cause.message.clone(),
        }
    }
}

fn explain(phase: Phase, from: &Derivation) -> Explanation {
    let waiting = from.waiting.filter(|_| !phase.is_final());
    let in_final_steps = from.steps.is_in_final_steps();
    if let Some(cause) = ended_by(from.steps)
        .filter(|_| phase != Phase::Completed)
        .and_then(|it| it.cause(waiting.map(|it| &it.cause), in_final_steps))
    {
        let mut explanation = Explanation::of_cause(&cause);
        if phase.is_final() {
            explanation.message.push('.');
            explanation.message += &others(from.steps);
        }
        return explanation;
    }
    if let Some(waiting) = waiting {
        return Explanation::of_cause(&waiting.cause);
    }
    if let Some((step, cause)) = first_failed(from.steps.all()) {
        return explain_failed(step, cause, from);
    }
    let (reason, message) = match phase {
        Phase::Completed => ("Completed", completed(from.steps.all())),
        Phase::Running if in_final_steps => ("Running", "the final steps are running".into()),
        Phase::Running => ("Running", "steps are running".into()),
        Phase::Failed | Phase::Cancelled => ("Failed", "no step has run".into()),
        Phase::Pending => ("Pending", "no step has started".into()),
    };
    Explanation {
        reason: reason.into(),
        summary: None,
        message,
    }
}

/// Why a plan was ended. The end of the final steps counts only if no other step has failed.
fn ended_by<'a>(steps: &'a Steps) -> Option<&'a Halt> {
    let is_by_final_steps = steps.halt.is_none() && !has_failed(steps.main_steps());
    let of_final_steps = steps.final_halt.as_ref().filter(|_| is_by_final_steps);
    steps.halt.as_ref().or(of_final_steps)
}

/// What the message about an end states about the other steps.
fn others(steps: &Steps) -> String {
    not_run(steps.all()) + &finally(steps)
}

/// What a message states about the final steps, if something else is its reason.
fn finally(steps: &Steps) -> String {
    if steps.halt.is_none() && !has_failed(steps.main_steps()) {
        return String::new();
    }
    if steps.is_in_final_steps() {
        return " The final steps run.".into();
    }
    let failed = steps.final_steps().filter_map(|step| {
        let reason = step.failure()?.summary(step.attempt().exit_code);
        let name = step.name();
        Some(format!(" The final step {name} failed, too: {reason}."))
    });
    let ended = steps.final_halt.iter().map(Halt::note);
    failed.chain(ended).collect()
}

fn has_failed<'s>(mut steps: impl Iterator<Item = &'s Step>) -> bool {
    steps.any(|step| step.failure().is_some())
}

/// States what ended in another way than by completion, though the plan has completed.
fn completed(steps: &[Step]) -> String {
    let failed = match count(steps, StepPhase::Failed) {
        0 => None,
        1 => Some("1 step failed, which allowFailure allows".to_owned()),
        many => Some(format!("{many} steps failed, which allowFailure allows")),
    };
    let others: Vec<String> = failed.into_iter().chain(skipped(steps)).collect();
    if others.is_empty() {
        return "every step has completed".into();
    }
    format!("{}; every other step has completed", others.join("; "))
}

/// Names the step if its own container failed, and the command that shows its log.
fn explain_failed(step: &Step, cause: &Cause, from: &Derivation) -> Explanation {
    let (name, exit_code) = (step.name(), step.attempt().exit_code);
    let of_kind = if step.is_final() {
        "final step"
    } else {
        "step"
    };
    let is_of_step = exit_code.is_some()
        || cause.reason == Cause::EXPRESSION_FAILED
        || from.executor.is_of_step(&cause.reason);
    let mut explanation = Explanation::of_cause(cause);
    if is_of_step {
        let last_line = cause.message.lines().last().unwrap_or_default();
        let last = Cause::new(&cause.reason, last_line);
        explanation = Explanation {
            reason: "StepFailed".into(),
            summary: Some(format!("{name}: {}", cause.summary(exit_code))),
            message: format!("the {of_kind} {name} failed: {}", last.sentence(exit_code)),
        };
    }
    if step.attempt_number() > 1 {
        let message = explanation.message.trim_end_matches('.');
        let attempts = step.attempt_number();
        explanation.message = format!("{message}. It was attempt {attempts} of the step {name}");
    }
    if !explanation.message.ends_with('.') {
        explanation.message.push('.');
    }
    explanation.message += &others(from.steps);
    // Another step without an exit code did not run, or its executor is lost.
    let has_log = exit_code.is_some() || cause.reason == Cause::TIMEOUT;
    if let Some(place) = step.attempt().place.as_ref().filter(|_| has_log) {
        explanation.message += " Log of the step: ";
        explanation.message += &from.executor.log_command(place);
    }
    explanation
}

/// States how many steps did not run because of the failure.
fn not_run(steps: &[Step]) -> String {
    if !steps.iter().any(|step| step.is_open() || step.has_run()) {
        return " No step has run.".into();
    }
    skipped(steps).map_or_else(String::new, |skipped| format!(" {skipped}."))
}

fn skipped(steps: &[Step]) -> Option<String> {
    match count(steps, StepPhase::Skipped) {
        0 => None,
        1 => Some("1 step was skipped".into()),
        many => Some(format!("{many} steps were skipped")),
    }
}

fn count(steps: &[Step], phase: StepPhase) -> usize {
    steps.iter().filter(|it| it.phase() == phase).count()
}

/// The step that failed first and whose failure is not allowed, by itself if there is one, and no final one if there is
/// another. Of steps that failed at the same time or never ran, the first in the plan.
fn first_failed(steps: &[Step]) -> Option<(&Step, &Cause)> {
    let failed = steps
        .iter()
        .filter_map(|step| Some((step, step.failure()?)));
    failed.min_by_key(|(step, cause)| {
        let ended = step.attempt().ended;
        let is_stopped = cause.reason == STOPPED;
        (step.is_final(), is_stopped, ended.is_none(), ended)
    })
}

fn phase(all_steps: &Steps) -> Phase {
    let steps = all_steps.all();
    let mut own = steps.iter().filter(|step| !step.is_taken_over());
    if !steps.iter().any(Step::is_open) {
        let final_steps_succeed =
            all_steps.final_halt.is_none() && !has_failed(all_steps.final_steps());
        match all_steps.phase_without_final_steps() {
            Phase::Completed if !final_steps_succeed => Phase::Failed,
            other => other,
        }
    } else if own.all(|step| step.phase() == StepPhase::Pending && !step.has_started()) {
        Phase::Pending
    } else {
        Phase::Running
    }
}

impl Steps<'_> {
    /// The phase in which the plan ends without its final steps, once all others have ended.
    #[must_use]
    pub fn phase_without_final_steps(&self) -> Phase {
        let succeeds = match &self.halt {
            Some(_) => self.main_steps().all(Step::counts_as_completed),
            None => !has_failed(self.main_steps()),
        };
        let is_cancelled = self.halt.as_ref().is_some_and(Halt::is_cancel);
        match (succeeds, is_cancelled) {
            (true, _) => Phase::Completed,
            (false, true) => Phase::Cancelled,
            (false, false) => Phase::Failed,
        }
    }
}

fn progress(steps: &[Step]) -> String {
    let completed = steps.iter().filter(|it| it.counts_as_completed());
    format!("{}/{}", completed.count(), steps.len())
}

/// The first task with an open step, if any task has started.
fn task_index(plan: &Plan, steps: &[Step]) -> Option<i64> {
    let has_started = |step: &Step| {
        let has_ended = !matches!(step.phase(), StepPhase::Pending | StepPhase::Skipped);
        step.has_started() || has_ended && !step.is_taken_over()
    };
    let mut tasks = plan.tasks.iter();
    let lowest = tasks.position(|range| steps[range.clone()].iter().any(Step::is_open));
    let mut tasks = plan.tasks.iter();
    let last = tasks.rposition(|range| steps[range.clone()].iter().any(has_started));
    let index = lowest.filter(|_| steps.iter().any(has_started)).or(last)?;
    i64::try_from(index).ok()
}
