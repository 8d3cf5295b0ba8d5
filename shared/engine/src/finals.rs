//! Final steps: they start when all other steps have ended, in whatever way, also in a plan that ends early.

use std::borrow::Cow;

use jiff::Timestamp;
use kubeci_plan::{FailureKind, Readiness};

use crate::cause::Cause;
use crate::observation::{Lost, Observation, Run, Standby, Start, TaskObservation};
use crate::retry::RetryRules;
use crate::step::Step;
use crate::steps::Steps;

/// What a final step waits for.
pub(crate) const WAITS_FOR_MAIN_STEPS: &str = "waiting for all steps that are not final";

impl Steps<'_> {
    /// Whether a step that is not final has not ended.
    #[must_use]
    pub fn has_open_main_step(&self) -> bool {
        self.main_steps().any(Step::is_open)
    }

    /// Whether only final steps have not ended.
    pub(crate) fn is_in_final_steps(&self) -> bool {
        !self.has_open_main_step() && self.final_steps().any(Step::is_open)
    }

    pub(crate) fn main_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !step.is_final)
    }

    pub(crate) fn final_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is_final)
    }

    /// The last end in this plan of a step that is not final.
    pub(crate) fn main_ended(&self) -> Option<Timestamp> {
        self.main_steps().filter_map(Step::ended_here).max()
    }

    /// The observation of a step. An executor that is stopped because of other steps leaves its final steps to the next
    /// one, also those that it has started.
    pub(crate) fn of_final<'o>(
        &self,
        at: usize,
        observation: &'o Observation,
        observed: &TaskObservation,
    ) -> Cow<'o, Observation> {
        let step = &self.steps[at];
        let is_left = step.is_final && observed.is_stopped && self.final_halt.is_none();
        let executor = observed.executor.as_deref().filter(|_| is_left);
        let (Some(executor), readiness) = (executor, self.readiness(at)) else {
            return Cow::Borrowed(observation);
        };
        let cause = || Cause::pod_stopped(executor);
        let down = || {
            let message = cause().message;
            Observation::Standby(Standby::Down { message })
        };
        let left = match (observation, readiness) {
            (_, Readiness::Skip { .. }) => return Cow::Borrowed(observation),
            (Observation::Failed(_, run), _) if !step.is_stopping() => {
                Observation::Failed(cause(), run.clone())
            }
            (
                Observation::NotStarted { run, .. } | Observation::Postponed { run, .. },
                Readiness::Start,
            ) => Observation::Failed(cause(), not_run(run)),
            (
                Observation::Standby(_)
                | Observation::NotStarted { .. }
                | Observation::Postponed { .. },
                _,
            ) => down(),
            _ => return Cow::Borrowed(observation),
        };
        Cow::Owned(left)
    }
}

impl Lost {
    /// The loss of a step. An executor that is stopped because of other steps leaves its final steps to the next one.
    pub(crate) fn of_step(&self, rules: &RetryRules) -> Cow<'_, Self> {
        let is_left = rules.is_final && rules.is_stopped && !rules.is_halted;
        match rules.executor.filter(|_| is_left) {
            None => Cow::Borrowed(self),
            Some(executor) => Cow::Owned(Self {
                cause: Cause::pod_stopped(executor),
                ended: self.ended,
            }),
        }
    }
}

fn not_run(run: &Run) -> Run {
    Run {
        start: Start::Never,
        ended: None,
        exit_code: None,
        ..run.clone()
    }
}

impl Step {
    /// Whether an earlier attempt has started whose pod was not stopped because of other steps.
    pub(crate) fn has_run_before(&self) -> bool {
        let mut earlier = self.earlier.iter();
        earlier
            .any(|(attempt, cause)| attempt.started.is_some() && cause.reason != Cause::POD_STOPPED)
    }

    /// Ends a step of a relay that cannot observe the end of others there. A final step starts in the next executor.
    pub(crate) fn fail_unseen(&mut self, cause: Cause, rules: &RetryRules) {
        if self.is_final {
            self.fail(cause.of_kind(FailureKind::Infrastructure), rules);
        } else {
            self.fail(cause, &RetryRules::never(rules.now));
        }
    }
}
