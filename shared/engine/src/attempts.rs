use std::ops::Range;

use jiff::Timestamp;
use kubeci_plan::Readiness;

use crate::cause::Cause;
use crate::observation::{Observation, Run, Standby, Start, TaskObservation};
use crate::retry::RetryRules;
use crate::step::{Pending, State, Step};
use crate::steps::Steps;
use crate::waiting::{Severity, Waiting, WaitingCause};

impl<'a> Steps<'a> {
    /// The executor that has a task, as its steps name it: some of them have been there, and none has left it.
    #[must_use]
    pub fn executor(&self, task: usize) -> Option<&str> {
        let steps = self.of_task(task);
        let mut named = steps.iter().filter_map(|step| step.attempt.executor());
        named.find(|executor| !steps.iter().any(|step| step.has_left(executor)))
    }

    /// Whether a task goes on in another executor.
    #[must_use]
    pub fn goes_on_after(&self, task: usize, executor: &str) -> bool {
        self.of_task(task).iter().any(|it| it.has_left(executor))
    }

    /// Whether a step of a range has left an executor.
    pub(crate) fn has_left(&self, mut range: Range<usize>, executor: Option<&str>) -> bool {
        executor.is_some_and(|executor| range.any(|at| self.steps[at].has_left(executor)))
    }

    /// Whether all open steps of a task may start: none of them waits for the time of its next attempt.
    pub(crate) fn is_due(&self, task: usize, now: Timestamp) -> bool {
        let mut times = self.of_task(task).iter().filter_map(|step| step.retry_at);
        times.all(|at| at <= now)
    }

    /// The rules of a task for one of its steps.
    pub(crate) fn rules_of<'r>(&self, rules: &RetryRules<'r>, at: usize) -> RetryRules<'r>
    where
        'a: 'r,
    {
        let step = &self.plan.steps[at];
        RetryRules {
            policy: step.retry.as_ref(),
            is_final: step.is_final,
            is_halted: self.halt_of(at).is_some(),
            ..*rules
        }
    }

    /// The rules for a task, without what concerns one step.
    pub(crate) fn retry_rules<'o>(
        &self,
        task: usize,
        observed: &'o TaskObservation,
        is_folder_in_executor: bool,
        now: Timestamp,
    ) -> RetryRules<'o> {
        let executor = observed.executor.as_deref();
        let steps = self.of_task(task).iter();
        let has_started =
            executor.is_some_and(|executor| steps.clone().any(|it| it.has_run_in(executor)));
        let observations = observed.steps.iter();
        let is_completion =
            |(_, it): &(usize, Observation)| matches!(it, Observation::Completed(_));
        let has_completed = |step: &Step| step.state == State::Completed;
        let loses_folder = is_folder_in_executor
            && (self.steps.iter().any(has_completed) || observations.clone().any(is_completion));
        RetryRules {
            executor,
            is_untouched: !has_started
                && !observations
                    .clone()
                    .any(|(at, it)| self.has_started(*at, it)),
            is_stopped: observed.is_stopped,
            repeats_in_place: self.plan.is_relay(task),
            loses_folder,
            ..RetryRules::never(now)
        }
    }

    /// Whether an observation states that a step has started.
    fn has_started(&self, at: usize, observation: &Observation) -> bool {
        let is_ready = || at < self.steps.len() && self.readiness(at) == Readiness::Start;
        let has_start = |run: &Run| match run.start {
            Start::At(_) | Start::AtTurn { up: Some(_) } => true,
            Start::AtTurn { up: None } | Start::AsKnown | Start::Never => false,
        };
        match observation {
            Observation::Running { .. } | Observation::Completed(_) => true,
            Observation::Failed(_, run) => has_start(run),
            Observation::NotStarted { run, .. } => has_start(run) && is_ready(),
            Observation::Standby(Standby::Up { .. }) => is_ready(),
            _ => false,
        }
    }

    /// Adds the steps that wait for their next attempt.
    pub(crate) fn add_retries(&self, waiting: &mut Waiting, now: Timestamp) {
        for step in &self.steps {
            let (Some(at), State::Pending(Pending::Message(message))) =
                (step.retry_at, &step.state)
            else {
                continue;
            };
            if now < at {
                waiting.wake_at(at);
            }
            let cause = Cause::new("Retrying", format!("the step {}: {message}", step.name));
            waiting.add(WaitingCause::new(Severity::Retry, cause));
        }
    }
}
