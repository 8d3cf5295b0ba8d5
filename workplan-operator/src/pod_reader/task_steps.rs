use kubeci_engine::{Step, Steps};
use kubeci_plan::Plan;

/// The steps of one task, as they were before its pod was read.
#[derive(Clone, Copy)]
pub struct TaskSteps<'a> {
    /// The position of the first one in the plan.
    first: usize,
    steps: &'a [Step],
}

impl<'a> TaskSteps<'a> {
    pub fn new(plan: &Plan, steps: &'a Steps, task: usize) -> Self {
        Self {
            first: plan.tasks[task].start,
            steps: steps.of_task(task),
        }
    }

    /// The steps, each with its position in the plan.
    pub fn iter(self) -> impl Iterator<Item = (usize, &'a Step)> {
        (self.first..).zip(self.steps)
    }

    pub fn find(self, name: &str) -> Option<(usize, &'a Step)> {
        self.iter().find(|(_, step)| step.name() == name)
    }

    pub fn has(self, name: &str) -> bool {
        self.find(name).is_some()
    }
}
