//! The steps that wait because a plan limits how many of its steps run at the same time.

use std::num::NonZeroUsize;

use jiff::Timestamp;
use kubeci_api::StepPhase;
use kubeci_plan::Readiness;

use crate::step::{Pending, State, Step};
use crate::steps::Steps;

/// The end of the message of a step that waits for a slot.
const MAX_PARALLEL: &str = "(maxParallel)";

impl Steps<'_> {
    /// Of the tasks that are ready, those for which there are slots, in the plan's order. From its start a task has as
    /// many slots as the maximum number of its open steps that may still run at the same time. The steps of the other
    /// tasks say that they wait.
    pub fn with_slots<'e>(
        &mut self,
        ready: Vec<usize>,
        executor: impl Fn(usize) -> Option<&'e str>,
    ) -> Vec<usize> {
        let Some(max_parallel) = self.plan.max_parallel else {
            return ready;
        };
        self.release(&executor);
        if ready.is_empty() {
            return ready;
        }
        let mut taken = self.taken(&executor);
        let widths = self.plan.widths(|step| self.steps[step].is_open());
        let (admitted, held): (Vec<usize>, Vec<usize>) = ready.into_iter().partition(|&task| {
            let fits = taken + widths[task] <= max_parallel.get();
            taken += if fits { widths[task] } else { 0 };
            fits
        });
        for task in held {
            self.hold(task, &message(widths[task], max_parallel));
        }
        admitted
    }

    /// The slots of the tasks that have an executor. A step that waits for its next attempt, in another executor, needs
    /// none.
    fn taken<'e>(&self, executor: impl Fn(usize) -> Option<&'e str>) -> usize {
        let executor = |task: usize| executor(task).or_else(|| self.executor(task));
        let executors: Vec<_> = (0..self.plan.tasks.len()).map(executor).collect();
        let is_open = |step: usize| {
            let executor = executors[self.plan.steps[step].task];
            let step = &self.steps[step];
            step.is_open() && executor.is_some_and(|executor| !step.has_left(executor))
        };
        self.plan.widths(is_open).iter().sum()
    }

    /// The steps of tasks without an executor wait for no slot any more.
    fn release<'e>(&mut self, executor: impl Fn(usize) -> Option<&'e str>) {
        for at in 0..self.steps.len() {
            let has_executor = executor(self.plan.steps[at].task).is_some();
            if self.steps[at].waits_for_slot() && !has_executor {
                self.steps[at].state = State::Pending(Pending::NotStarted);
            }
        }
    }

    fn hold(&mut self, task: usize, message: &str) {
        for at in self.plan.tasks[task].clone() {
            let would_start = self.plan.readiness(at, |from| self.steps[from].outcome());
            // One that waits for its next attempt says that.
            let step = &self.steps[at];
            let is_pending = step.phase() == StepPhase::Pending && step.retry_at.is_none();
            if is_pending && would_start == Readiness::Start {
                self.steps[at].state = State::Pending(Pending::Message(message.to_owned()));
            }
        }
    }

    /// Why a step of a relay waits though its edges are satisfied: as many steps of its pod run as may. The step
    /// runners decide which steps these are. The first ones in the plan's order are assumed to run.
    pub(crate) fn slot_message(&self, at: usize) -> Option<String> {
        let max_parallel = self.plan.max_parallel?;
        let task = self.plan.steps[at].task;
        if !self.plan.is_relay(task) || self.steps[at].phase() == StepPhase::Running {
            return None;
        }
        let steps = self.of_task(task).iter();
        let running = steps.filter(|step| step.phase() == StepPhase::Running);
        (running.count() >= max_parallel.get()).then(|| message(1, max_parallel))
    }

    /// When a step got its slot, if it has waited for one: when another step of its pod ended.
    pub(crate) fn slot_since(&self, at: usize) -> Option<Timestamp> {
        let task = self.plan.steps[at].task;
        if self.plan.max_parallel.is_none() || !self.plan.is_relay(task) {
            return None;
        }
        let step = &self.steps[at];
        if step.waits_for_slot() {
            let steps = self.of_task(task).iter();
            return steps.filter_map(|step| step.attempt.ended).max();
        }
        step.attempt
            .started
            .filter(|_| step.phase() == StepPhase::Running)
    }
}

impl Step {
    fn waits_for_slot(&self) -> bool {
        matches!(&self.state, State::Pending(Pending::Message(message)) if message.ends_with(MAX_PARALLEL))
    }
}

fn message(slots: usize, max_parallel: NonZeroUsize) -> String {
    match (slots, max_parallel.get()) {
        (_, 1) => format!("waiting for the only slot {MAX_PARALLEL}"),
        (1, all) => format!("waiting for one of {all} slots {MAX_PARALLEL}"),
        (slots, all) => format!("waiting for {slots} of {all} slots {MAX_PARALLEL}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kubeci_plan::{ExpressionTexts, NamedEdge, Order, Plan, StepSpec, TaskSpec};
    use rstest::rstest;

    use super::*;
    use crate::cause::Cause;
    use crate::observation::{
        Observation, Place, PlanObservation, Run, Standby, Start, TaskObservation,
    };
    use crate::step::Attempt;

    /// Tasks of parallel steps: `"a b:a"` are two steps, of which the second is after the first.
    fn plan<'a>(order: Order, tasks: &[&'a str], max_parallel: usize) -> Plan<'a> {
        let step = |text: &'a str| {
            let (name, edges) = text.split_once(':').unwrap_or((text, ""));
            let edges = edges.split(',').filter(|name| !name.is_empty());
            StepSpec {
                name,
                edges: edges.map(NamedEdge::parse).collect(),
                retry: None,
                allow_failure: false,
                expressions: ExpressionTexts::default(),
                is_final: false,
                is_approval: false,
            }
        };
        let task = |text: &&'a str| TaskSpec {
            serial: Vec::new(),
            parallel: text.split_whitespace().map(step).collect(),
        };
        let plan = Plan::new(order, tasks.iter().map(task)).unwrap();
        plan.limited(NonZeroUsize::new(max_parallel)).unwrap()
    }

    fn message(steps: &Steps, at: usize) -> Option<String> {
        steps.status()[at].message.clone()
    }

    #[rstest]
    #[case::in_order(&["a b", "c", "d", "e"], &[], &[0, 1, 2])]
    #[case::what_fits(&["a b c", "d e", "f"], &[], &[0, 2])]
    #[case::beside_executors(&["a b", "c d", "e f g", "h"], &[1], &[0])]
    #[case::none(&["a", "b c d e"], &[1], &[])]
    fn tasks_start_while_they_fit(
        #[case] tasks: &[&str],
        #[case] executors: &[usize],
        #[case] expected: &[usize],
    ) {
        let plan = plan(Order::Graph, tasks, 4);
        let mut steps = Steps::read(&plan, &[]);
        let executor = |task: usize| executors.contains(&task).then_some("pod");
        let ready = steps.ready_tasks(|task| executor(task).is_some(), Timestamp::UNIX_EPOCH);
        assert_eq!(steps.with_slots(ready, executor), expected);
    }

    #[test]
    fn held_task_says_so_until_it_starts() {
        let plan = plan(Order::Graph, &["a b c", "d", "e f g"], 4);
        let mut steps = Steps::read(&plan, &[]);
        steps.with_slots(vec![0, 1, 2], |_| None);
        let expected = "waiting for 3 of 4 slots (maxParallel)";
        assert_eq!(message(&steps, 4).as_deref(), Some(expected));
        assert_eq!(message(&steps, 3), None);
        let recorded = steps.status();
        let mut steps = Steps::read(&plan, &recorded);
        assert_eq!(
            steps.with_slots(vec![2], |task| (task == 1).then_some("pod")),
            [2]
        );
        assert_eq!(message(&steps, 4), None);
    }

    #[rstest]
    #[case::in_its_executor("plan-0-a2", &[])]
    #[case::between_two("plan-0", &[1])]
    fn step_between_attempts_has_no_slot(#[case] executor: &str, #[case] expected: &[usize]) {
        let plan = plan(Order::Graph, &["a", "b"], 1);
        let mut steps = Steps::read(&plan, &[]);
        let failed = Attempt {
            place: Some(place("a")),
            ..Attempt::default()
        };
        steps.steps[0]
            .earlier
            .push((failed, Cause::new("Error", "")));
        let executor = |task: usize| (task == 0).then_some(executor);
        assert_eq!(steps.with_slots(vec![1], executor), expected);
    }

    fn place(step: &str) -> Place {
        Place {
            pod: "plan-0".into(),
            container: step.into(),
        }
    }

    fn settle(steps: &mut Steps, ended: usize) {
        let observation = |at: usize| {
            let place = place(steps.steps[at].name());
            if at != ended {
                let since = Some(Timestamp::UNIX_EPOCH);
                return Observation::Standby(Standby::Up { place, since });
            }
            Observation::Completed(Run {
                place,
                start: Start::AsKnown,
                ended: Timestamp::from_second(7).ok(),
                exit_code: Some(0),
                outputs: BTreeMap::new(),
                repeated: Vec::new(),
            })
        };
        let observed = (0..steps.steps.len()).map(|at| (at, observation(at)));
        let task = TaskObservation {
            steps: observed.collect(),
            ..TaskObservation::default()
        };
        let observed = PlanObservation {
            tasks: vec![task],
            ..PlanObservation::default()
        };
        steps.settle(&observed, Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn no_more_relay_steps_run_than_slots() {
        let plan = plan(Order::Relay, &["a b c d:a"], 2);
        let mut steps = Steps::read(&plan, &[]);
        settle(&mut steps, usize::MAX);
        let phases = |steps: &Steps| steps.all().iter().map(Step::phase).collect::<Vec<_>>();
        assert_eq!(
            phases(&steps),
            [
                StepPhase::Running,
                StepPhase::Running,
                StepPhase::Pending,
                StepPhase::Pending
            ]
        );
        let expected = "waiting for one of 2 slots (maxParallel)";
        assert_eq!(message(&steps, 2).as_deref(), Some(expected));
        assert_eq!(message(&steps, 3).as_deref(), Some("waiting for a"));
        settle(&mut steps, 0);
        assert_eq!(
            phases(&steps),
            [
                StepPhase::Completed,
                StepPhase::Running,
                StepPhase::Running,
                StepPhase::Pending
            ]
        );
        assert_eq!(
            steps.steps[2].attempt.started,
            Timestamp::from_second(7).ok()
        );
        assert_eq!(message(&steps, 3).as_deref(), Some(expected));
    }
}
