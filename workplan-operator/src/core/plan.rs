//! A Workplan's tasks, checked: every dependency found, nothing that waits for itself.

use std::collections::HashMap;
use std::ops::Range;

use kubeci_api::names::{OPENER_CONTAINER, RUNNER_CONTAINER, STEPS_MAX};
use kubeci_api::{Order, Step, Task, WorkplanSpec};

/// The steps of a Workplan in the order of its tasks, with their dependencies by position.
#[derive(Debug)]
pub struct Plan<'a> {
    pub order: Order,
    pub steps: Vec<PlanStep<'a>>,
    /// The positions of each task's steps.
    pub tasks: Vec<Range<usize>>,
}

#[derive(Debug)]
pub struct PlanStep<'a> {
    pub step: &'a Step,
    pub task: usize,
    pub serial: bool,
    /// The positions of the steps that must have completed before.
    pub needs: Vec<usize>,
}

/// Why the tasks cannot run, and where that is written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct InvalidPlan {
    pub path: String,
    pub message: String,
}

impl<'a> Plan<'a> {
    /// Checks the tasks of `spec`.
    ///
    /// # Errors
    /// When there are too many steps, a name is taken, a dependency is unknown, steps or tasks wait for each other for ever, or a step
    /// has no command that it could be started by.
    pub fn check(spec: &'a WorkplanSpec) -> Result<Self, InvalidPlan> {
        let mut plan = Self {
            order: spec.order,
            steps: Vec::new(),
            tasks: Vec::with_capacity(spec.tasks.len()),
        };
        for (task, steps) in spec.tasks.iter().enumerate() {
            let range = plan.push(task, steps);
            plan.tasks.push(range);
        }
        plan.refuse_too_many()?;
        let positions = plan.positions()?;
        for at in 0..plan.steps.len() {
            plan.refuse_unstartable(at)?;
            plan.steps[at].needs = plan.needs(at, &positions)?;
        }
        if plan.order == Order::Relay {
            plan.refuse_cycles_of_steps()?;
        }
        if !plan.order.is_linear() {
            plan.refuse_cycles_of_tasks()?;
        }
        Ok(plan)
    }

    /// Whether the steps of a task hand over to each other inside their pod.
    #[must_use]
    pub fn is_relay(&self, task: usize) -> bool {
        let steps = self.tasks.get(task).map_or(0, ExactSizeIterator::len);
        is_relay(self.order, steps)
    }

    fn push(&mut self, task: usize, steps: &'a Task) -> Range<usize> {
        let start = self.steps.len();
        let serial = steps.serial_steps.len();
        let steps = steps.steps().enumerate().map(|(i, step)| PlanStep {
            step,
            task,
            serial: i < serial,
            needs: Vec::new(),
        });
        self.steps.extend(steps);
        start..self.steps.len()
    }

    /// All of them stand in one status, and are looked through at each change.
    fn refuse_too_many(&self) -> Result<(), InvalidPlan> {
        let count = self.steps.len();
        if count <= STEPS_MAX {
            return Ok(());
        }
        Err(InvalidPlan {
            path: "spec.tasks".into(),
            message: format!(
                "there are {count} steps in all, more than the {STEPS_MAX} that a Workplan may have; \
                 split it into several Workplans"
            ),
        })
    }

    fn positions(&self) -> Result<HashMap<&'a str, usize>, InvalidPlan> {
        let mut positions = HashMap::with_capacity(self.steps.len());
        for (at, step) in self.steps.iter().enumerate() {
            let name = step.step.name.as_str();
            if name == OPENER_CONTAINER || name == RUNNER_CONTAINER {
                let message = format!("the name {name:?} is taken by kubeci; use another");
                return Err(self.invalid(at, "name", message));
            }
            if let Some(first) = positions.insert(name, at) {
                let message = format!(
                    "{} has the name {name:?} too; names are unique over all tasks",
                    self.path(first)
                );
                return Err(self.invalid(at, "name", message));
            }
        }
        Ok(positions)
    }

    fn needs(
        &self,
        at: usize,
        positions: &HashMap<&str, usize>,
    ) -> Result<Vec<usize>, InvalidPlan> {
        let names = self.steps[at].step.dependency.iter().enumerate();
        let mut needs = names
            .map(|(i, name)| {
                positions
                    .get(name.as_str())
                    .ok_or_else(|| {
                        format!("no task has a step {name:?}; correct the name or add the step")
                    })
                    .and_then(|&need| self.refuse_late(at, need).map(|()| need))
                    .map_err(|message| self.invalid(at, &format!("dependency[{i}]"), message))
            })
            .collect::<Result<Vec<_>, _>>()?;
        needs.sort_unstable();
        needs.dedup();
        Ok(needs)
    }

    /// The step runner starts a command, and knows none but those that are written.
    fn refuse_unstartable(&self, at: usize) -> Result<(), InvalidPlan> {
        let step = &self.steps[at];
        if self.order == Order::Relay && step.serial {
            let message = "with order: Relay all steps stand in ParallelSteps, each with its dependencies; move it there";
            return Err(self.invalid(at, "name", message.into()));
        }
        if self.is_relay(step.task) && step.step.commands.is_empty() {
            let message = "a step that shares a task with others needs commands with order: Relay, because the \
                           image's own entrypoint is not known; write it here, or give the step a task of its own";
            return Err(self.invalid(at, "commands", message.into()));
        }
        Ok(())
    }

    /// Within a pod only serial steps end before others start, but for a relay; in `Linear` order no task
    /// looks ahead.
    fn refuse_late(&self, at: usize, need: usize) -> Result<(), String> {
        let (step, needed) = (&self.steps[at], &self.steps[need]);
        let name = &needed.step.name;
        if need == at {
            Err("a step cannot depend on itself; remove its own name".into())
        } else if needed.task == step.task && self.is_relay(step.task) {
            Ok(())
        } else if needed.task == step.task && (!needed.serial || need > at) {
            Err(format!(
                "{name:?} does not end before this step starts, as both are in one task; \
                 make it an earlier serial step or put this step into a later task"
            ))
        } else if self.order.is_linear() && needed.task > step.task {
            Err(format!(
                "{name:?} is in a later task, spec.tasks[{}]; move this step behind it, or set spec.order: Graph",
                needed.task
            ))
        } else {
            Ok(())
        }
    }

    fn refuse_cycles_of_steps(&self) -> Result<(), InvalidPlan> {
        let needs_in_pod = |step: &PlanStep| {
            let needs = step.needs.iter().copied();
            needs
                .filter(|&need| self.steps[need].task == step.task)
                .collect()
        };
        let waits: Vec<Vec<usize>> = self.steps.iter().map(needs_in_pod).collect();
        let Some(cycle) = cycle(&waits) else {
            return Ok(());
        };
        let name = |&at: &usize| format!("{:?}", self.steps[at].step.name);
        let names: Vec<_> = cycle.iter().chain(cycle.first()).map(name).collect();
        let message = format!(
            "steps wait for each other: {}; remove one of these dependencies",
            names.join(" -> ")
        );
        Err(self.invalid(cycle[0], "dependency", message))
    }

    fn refuse_cycles_of_tasks(&self) -> Result<(), InvalidPlan> {
        let waits: Vec<Vec<usize>> = self.tasks.iter().map(|task| self.waits(task)).collect();
        let Some(cycle) = cycle(&waits) else {
            return Ok(());
        };
        let names = cycle
            .iter()
            .chain(cycle.first())
            .map(|task| format!("spec.tasks[{task}]"));
        let message = format!(
            "tasks wait for each other: {}; a task starts when all that its steps depend on has ended, so split one of them",
            names.collect::<Vec<_>>().join(" -> ")
        );
        let path = format!("spec.tasks[{}]", cycle[0]);
        Err(InvalidPlan { path, message })
    }

    /// The other tasks in which a task's steps have dependencies.
    fn waits(&self, task: &Range<usize>) -> Vec<usize> {
        let needs = self.steps[task.clone()].iter().flat_map(|step| &step.needs);
        let mut tasks: Vec<usize> = needs
            .filter(|need| !task.contains(need))
            .map(|&need| self.steps[need].task)
            .collect();
        tasks.sort_unstable();
        tasks.dedup();
        tasks
    }

    /// Where a step is written.
    fn path(&self, at: usize) -> String {
        let step = &self.steps[at];
        let task = &self.tasks.get(step.task).map_or(at, |task| task.start);
        let index = at - task;
        let serial = self.steps[*task..at]
            .iter()
            .filter(|before| before.serial)
            .count();
        let (list, index) = if step.serial {
            ("SerialSteps", index)
        } else {
            ("ParallelSteps", index - serial)
        };
        format!("spec.tasks[{}].{list}[{index}]", step.task)
    }

    fn invalid(&self, at: usize, field: &str, message: String) -> InvalidPlan {
        let path = format!("{}.{field}", self.path(at));
        InvalidPlan { path, message }
    }
}

/// Whether a task of so many steps is a relay; one that is alone has nobody to hand over to.
#[must_use]
pub fn is_relay(order: Order, steps: usize) -> bool {
    order == Order::Relay && steps > 1
}

/// A circle of those that wait for each other, if there is one.
fn cycle(waits: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut stuck = vec![true; waits.len()];
    while let Some(free) =
        (0..waits.len()).find(|&at| stuck[at] && waits[at].iter().all(|&other| !stuck[other]))
    {
        stuck[free] = false;
    }
    let mut path = vec![stuck.iter().position(|stuck| *stuck)?];
    loop {
        let last = path[path.len() - 1];
        let next = waits[last].iter().copied().find(|&other| stuck[other])?;
        if let Some(start) = path.iter().position(|&at| at == next) {
            return Some(path.split_off(start));
        }
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::{relay, spec, step};

    #[test]
    fn dependencies_become_positions() {
        let spec = spec(Order::Linear, &["a | b:a c:a", "d:b,c | e:a,d"]);
        let plan = Plan::check(&spec).unwrap();
        assert_eq!(plan.tasks, [0..3, 3..5]);
        let needs: Vec<_> = plan.steps.iter().map(|step| step.needs.clone()).collect();
        assert_eq!(needs, [vec![], vec![0], vec![0], vec![1, 2], vec![0, 3]]);
    }

    #[rstest]
    #[case::unknown(&["a |", "b:x |"], "spec.tasks[1].SerialSteps[0].dependency[0]: no task has a step \"x\"")]
    #[case::duplicate(&["a | b", "c | b"], "spec.tasks[1].ParallelSteps[0].name: spec.tasks[0].ParallelSteps[0] has the name \"b\" too")]
    #[case::taken(&["kubeci-workspace |"], "spec.tasks[0].SerialSteps[0].name: the name \"kubeci-workspace\" is taken")]
    #[case::itself(&["a:a |"], "spec.tasks[0].SerialSteps[0].dependency[0]: a step cannot depend on itself")]
    #[case::sibling(&["| a b:a"], "spec.tasks[0].ParallelSteps[1].dependency[0]: \"a\" does not end before")]
    #[case::later_in_the_chain(&["a:b b |"], "spec.tasks[0].SerialSteps[0].dependency[0]: \"b\" does not end before")]
    #[case::serial_on_parallel(&["a:b | b"], "spec.tasks[0].SerialSteps[0].dependency[0]: \"b\" does not end before")]
    #[case::later_task(&["a | b c:d", "d |"], "spec.tasks[0].ParallelSteps[1].dependency[0]: \"d\" is in a later task, spec.tasks[1]")]
    fn what_cannot_run_is_refused_by_path(#[case] tasks: &[&str], #[case] expected: &str) {
        let spec = spec(Order::Linear, tasks);
        let error = Plan::check(&spec).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn graph_tasks_may_look_ahead_but_not_in_circles() {
        let ahead = spec(Order::Graph, &["a:b |", "b |"]);
        assert!(Plan::check(&ahead).is_ok());

        let circle = spec(
            Order::Graph,
            &["x |", "a | b:d", "c | d", "e:b |", "c2:e | d2", "f:d2 | g"],
        );
        assert!(Plan::check(&circle).is_ok());
        let circle = spec(Order::Graph, &["x:a |", "a | b:d", "c:a | d"]);
        let error = Plan::check(&circle).unwrap_err().to_string();
        let expected = "spec.tasks[1]: tasks wait for each other: spec.tasks[1] -> spec.tasks[2] -> spec.tasks[1]";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn steps_of_a_relay_may_depend_on_each_other() {
        let spec = relay(&["| c:b b:a a", "| d:a"]);
        let plan = Plan::check(&spec).unwrap();
        let needs: Vec<_> = plan.steps.iter().map(|step| step.needs.clone()).collect();
        assert_eq!(needs, [vec![1], vec![2], vec![], vec![2]]);
        assert!(plan.is_relay(0) && !plan.is_relay(1));
    }

    #[rstest]
    #[case::circle(&["| x a:c b:a c:b"], "spec.tasks[0].ParallelSteps[1].dependency: steps wait for each other: \"a\" -> \"c\" -> \"b\" -> \"a\"")]
    #[case::itself(&["| a:a b"], "spec.tasks[0].ParallelSteps[0].dependency[0]: a step cannot depend on itself")]
    #[case::tasks(&["| a b:c", "| c:a d"], "spec.tasks[0]: tasks wait for each other: spec.tasks[0] -> spec.tasks[1] -> spec.tasks[0]")]
    #[case::serial(&["a | b"], "spec.tasks[0].SerialSteps[0].name: with order: Relay all steps stand in ParallelSteps")]
    #[case::taken(&["| kubeci-runner a"], "spec.tasks[0].ParallelSteps[0].name: the name \"kubeci-runner\" is taken")]
    fn a_relay_that_cannot_run_is_refused_by_path(#[case] tasks: &[&str], #[case] expected: &str) {
        let error = Plan::check(&relay(tasks)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn a_step_of_a_relay_needs_a_command_unless_it_is_alone() {
        let mut alone = relay(&["| a"]);
        alone.tasks[0].parallel_steps[0].commands.clear();
        assert!(Plan::check(&alone).is_ok());
        let mut two = relay(&["| a b"]);
        two.tasks[0].parallel_steps[1].commands.clear();
        let error = Plan::check(&two).unwrap_err();
        assert_eq!(error.path, "spec.tasks[0].ParallelSteps[1].commands");
    }

    #[test]
    fn a_plan_has_as_many_steps_as_a_workflow_at_most() {
        let task = |task: usize| {
            let chain = (0..500).map(|at| format!("s{task}-{at}:s{task}-{}", at + 1));
            format!("| {} s{task}-500", chain.collect::<Vec<_>>().join(" "))
        };
        let tasks: Vec<String> = (0..20).map(task).collect();
        let tasks: Vec<&str> = tasks.iter().map(String::as_str).collect();
        let error = Plan::check(&relay(&tasks)).unwrap_err().to_string();
        let expected = "spec.tasks: there are 10020 steps in all, more than the 500 that";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn a_dependency_named_twice_counts_once() {
        let mut twice = step("b");
        twice.dependency = vec!["a".into(), "a".into()];
        let mut spec = spec(Order::Linear, &["a |"]);
        spec.tasks[0].parallel_steps.push(twice);
        assert_eq!(Plan::check(&spec).unwrap().steps[1].needs, [0]);
    }
}
