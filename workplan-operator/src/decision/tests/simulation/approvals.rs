//! Approvals in the simulation: some tasks of one step become approvals, and users answer them at any time.

use kubeci_api::{Approval, Step, StepApproval, Task};

use super::Simulation;
use super::plans::{Fate, Outcome, Scenario};

/// Makes some tasks of one step approvals. It takes no random numbers, so that earlier failures are found again.
pub fn add_approvals(scenario: &mut Scenario, dice: &[u8]) {
    let sum: usize = dice.iter().map(|dice| usize::from(*dice)).sum();
    let tasks = scenario.workplan.spec.tasks.iter_mut().enumerate();
    for (at, task) in tasks.filter(|(_, task)| task.steps().count() == 1) {
        let mut steps = task.serial_steps.iter_mut().chain(&mut task.parallel_steps);
        if let Some(step) = steps.next().filter(|_| (sum + at).is_multiple_of(4)) {
            let fate = scenario.fates.get_mut(&step.name);
            make_approval(step, fate.expect("each step has a fate"));
        }
    }
}

/// A step that would complete is approved; any other is rejected.
pub fn make_approval(step: &mut Step, fate: &mut Fate) {
    step.approval = Some(Approval::default());
    (step.image, step.commands, step.retry) = (String::new(), Vec::new(), None);
    step.isolate = false;
    *fate = Fate {
        outcome: match fate.outcome {
            Outcome::Completes => Outcome::Approved,
            _ => Outcome::Rejected,
        },
        recovers_after: 0,
        limit: 0,
        losses: 0,
    };
}

impl Simulation {
    fn written_steps(&self) -> impl Iterator<Item = &Step> {
        self.workplan.spec.tasks.iter().flat_map(Task::steps)
    }

    pub fn is_approval(&self, step: &str) -> bool {
        let mut steps = self.written_steps();
        steps.any(|it| it.name == step && it.approval.is_some())
    }

    pub fn is_approved(&self, step: &str) -> bool {
        let mut entries = self.workplan.status.iter().flat_map(|it| &it.approvals);
        entries.any(|entry| entry.step == step && entry.approved)
    }

    pub fn has_approvals(&self) -> bool {
        self.written_steps().any(|step| step.approval.is_some())
    }

    /// A user answers a step: as its fate says if it is an approval, otherwise without an effect. Entries may come before
    /// the step waits, and before there is a status.
    pub fn answer(&mut self, which: usize) {
        let steps: Vec<&Step> = self.written_steps().collect();
        let step = steps[which % steps.len()].name.clone();
        let approved = self.cluster.is_approved(&step);
        let status = self.workplan.status.get_or_insert_default();
        if status.approvals.iter().all(|entry| entry.step != step) {
            status.approvals.push(StepApproval {
                step,
                approved,
                by: Some("jane".into()),
                at: None,
                message: None,
            });
        }
    }

    /// Users answer all steps.
    pub fn answer_all(&mut self) {
        for which in 0..self.written_steps().count() {
            self.answer(which);
        }
    }
}
