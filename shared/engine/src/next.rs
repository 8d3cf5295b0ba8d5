use crate::step::{State, Step};
use crate::steps::Steps;

impl Steps<'_> {
    /// The tasks that start next: no executor has them, nothing of them has run, and all that they wait for has
    /// ended.
    pub fn ready_tasks(&self, has_executor: impl Fn(usize) -> bool) -> Vec<usize> {
        let is_ready = |task: &usize| {
            !has_executor(*task)
                && !self.was_started(*task)
                && self.is_open(*task)
                && self
                    .plan
                    .task_may_start(*task, |step| !self.steps[step].is_open())
        };
        (0..self.plan.tasks.len()).filter(is_ready).collect()
    }

    /// Whether a step of a task is known to have run, so that the task must not be started again.
    #[must_use]
    pub fn was_started(&self, task: usize) -> bool {
        let was_started =
            |step: &Step| !matches!(step.state, State::Pending(_) | State::Skipped(_));
        self.of_task(task).iter().any(was_started)
    }
}
