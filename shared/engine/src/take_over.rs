//! What a rerun takes over from a plan that has ended, and what runs again.

use kubeci_api::{RerunFrom, StepPhase, StepStatus};
use kubeci_plan::{Order, Outcome, Plan, Readiness};

use crate::expressions::condition_is_false;

/// Why nothing can be run again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeOverError {
    /// The step is not in the plan.
    #[error("{of} has no step {name:?}; it has the steps {known}")]
    UnknownStep {
        /// The Workplan.
        of: String,
        /// The step.
        name: String,
        /// Some steps of the plan.
        known: String,
    },
    /// There is nothing to run.
    #[error(
        "every step of {of} has completed; to run a step and those after it again, name the step in spec.rerun.from"
    )]
    NothingToRun {
        /// The Workplan.
        of: String,
    },
}

/// The statuses of the steps of a rerun of the Workplan `of`, in the plan's order: those that are taken over have
/// ended, the others have not started.
///
/// A step runs again if it has not completed, if it is the named one, or if it comes after such a step: by an edge, in
/// the chain of its task, or by the order of the tasks. An allowed failure counts as completion. A step that was skipped
/// by an edge or its condition decides so again. Final steps always run.
///
/// # Errors
/// If the named step is unknown, or no step runs again.
pub fn take_over(
    plan: &Plan,
    recorded: &[StepStatus],
    of: &str,
    from: &RerunFrom,
) -> Result<Vec<StepStatus>, TakeOverError> {
    let ended = Ended { plan, recorded };
    let mut runs: Vec<bool> = (0..plan.steps.len())
        .map(|at| !ended.has_settled(at))
        .collect();
    if let RerunFrom::Step(name) = from {
        let at = plan.steps.iter().position(|step| step.name == name);
        runs[at.ok_or_else(|| unknown(plan, of, name))?] = true;
    }
    if !runs.contains(&true) {
        return Err(TakeOverError::NothingToRun { of: of.to_owned() });
    }
    add_followers(plan, &mut runs);
    let status = |(at, runs): (usize, &bool)| {
        let completed = ended.completed(at).filter(|_| !runs);
        let name = plan.steps[at].name;
        completed.map_or_else(|| not_started(name), |step| taken_over(step, of))
    };
    Ok(runs.iter().enumerate().map(status).collect())
}

/// The steps of a plan that has ended, as its status records them.
struct Ended<'a> {
    plan: &'a Plan<'a>,
    recorded: &'a [StepStatus],
}

impl<'a> Ended<'a> {
    fn step(&self, at: usize) -> Option<&'a StepStatus> {
        let name = self.plan.steps[at].name;
        self.recorded.get(at).filter(|it| it.name == name)
    }

    /// The step, if it has completed or its failure counts as that.
    fn completed(&self, at: usize) -> Option<&'a StepStatus> {
        let allowed = self.plan.steps[at].allow_failure;
        self.step(at).filter(|step| match step.phase {
            StepPhase::Completed => true,
            StepPhase::Failed => allowed,
            StepPhase::Pending | StepPhase::Running | StepPhase::Skipped => false,
        })
    }

    /// Whether the step has completed, or was skipped for another reason than the end of the plan: an edge to it is
    /// broken, or its condition is false.
    fn has_settled(&self, at: usize) -> bool {
        let skipped = self.step(at).filter(|it| it.phase == StepPhase::Skipped);
        let is_skipped_by_edge = || {
            let readiness = self.plan.readiness(at, |from| self.outcome(from));
            matches!(readiness, Readiness::Skip { .. })
        };
        let is_skipped_by_condition = |step: &StepStatus| {
            let when = self.plan.steps[at].expressions.when.as_ref();
            when.is_some_and(|when| step.message == Some(condition_is_false(when.text())))
        };
        self.completed(at).is_some()
            || skipped.is_some_and(|it| is_skipped_by_edge() || is_skipped_by_condition(it))
    }

    fn outcome(&self, at: usize) -> Option<Outcome> {
        self.step(at).and_then(|step| match step.phase {
            StepPhase::Completed => Some(Outcome::Completed),
            StepPhase::Failed => Some(Outcome::Failed),
            StepPhase::Skipped => Some(Outcome::Skipped),
            StepPhase::Pending | StepPhase::Running => None,
        })
    }
}

/// Adds the steps that come after those that run again, and the final steps.
fn add_followers(plan: &Plan, runs: &mut [bool]) {
    let mut changed = true;
    while changed {
        changed = false;
        for at in 0..plan.steps.len() {
            if !runs[at] && comes_after(plan, at, runs) {
                runs[at] = true;
                changed = true;
            }
        }
    }
}

fn comes_after(plan: &Plan, at: usize, runs: &[bool]) -> bool {
    let step = &plan.steps[at];
    let task = plan.tasks[step.task].clone();
    let mut chain = task.start..at;
    let mut edges = step.edges.iter();
    edges.any(|edge| runs[edge.from])
        || chain.any(|before| plan.steps[before].serial && runs[before])
        || plan.order == Order::Linear && runs[..task.start].contains(&true)
        || step.is_final
}

fn not_started(name: &str) -> StepStatus {
    StepStatus {
        name: name.to_owned(),
        ..StepStatus::default()
    }
}

/// What a step says that another Workplan has run.
pub(crate) fn taken_over_message(of: &str) -> String {
    format!("taken over from {of}")
}

/// Its pods are those of the other Workplan.
fn taken_over(step: &StepStatus, of: &str) -> StepStatus {
    StepStatus {
        pod: None,
        container: None,
        attempts: Vec::new(),
        taken_over_from: Some(of.to_owned()),
        message: Some(taken_over_message(of)),
        ..step.clone()
    }
}

fn unknown(plan: &Plan, of: &str, name: &str) -> TakeOverError {
    const NAMED_MAX: usize = 10;
    let names = plan.steps.iter().map(|step| step.name);
    let mut known: Vec<&str> = names.take(NAMED_MAX).collect();
    if plan.steps.len() > NAMED_MAX {
        known.push("…");
    }
    TakeOverError::UnknownStep {
        of: of.to_owned(),
        name: name.to_owned(),
        known: known.join(", "),
    }
}

#[cfg(test)]
mod tests;
