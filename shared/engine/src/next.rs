use jiff::Timestamp;

use crate::steps::Steps;

impl Steps<'_> {
    /// The tasks that start next, or start again: no executor has them, all that they wait for has ended, and the time
    /// of the next attempt of their steps has come. In a plan that ends these are tasks of final steps. An approval needs
    /// no executor.
    pub fn ready_tasks(&self, has_executor: impl Fn(usize) -> bool, now: Timestamp) -> Vec<usize> {
        let is_ready = |task: &usize| {
            !self.is_ending(*task)
                && !self.plan.is_approval(*task)
                && !has_executor(*task)
                && self.executor(*task).is_none()
                && self.is_open(*task)
                && self.is_due(*task, now)
                && self
                    .plan
                    .task_may_start(*task, |step| !self.steps[step].is_open())
        };
        (0..self.plan.tasks.len()).filter(is_ready).collect()
    }
}
