//! Random plans that can run.

use std::collections::BTreeMap;

use kubeci_api::{Order, Step, Task, Workplan};
use proptest::prelude::*;

use crate::testing::{step, workplan};

#[derive(Clone, Debug)]
pub struct Scenario {
    pub workplan: Workplan,
    pub outcomes: BTreeMap<String, Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Completes,
    Fails,
    HasNoImage,
}

/// The dice of one step: whom it depends on, and how it ends.
type StepDice = (u16, u8);

pub fn scenario() -> impl Strategy<Value = Scenario> {
    let steps = || prop::collection::vec(any::<StepDice>(), 0..4);
    let task = (steps(), steps());
    let tasks = prop::collection::vec(task, 1..5);
    (tasks, any::<bool>(), any::<bool>())
        .prop_map(|(tasks, graph, reversed)| build(&tasks, graph, reversed))
}

fn build(dice: &[(Vec<StepDice>, Vec<StepDice>)], graph: bool, reversed: bool) -> Scenario {
    let mut outcomes = BTreeMap::new();
    let mut before: Vec<String> = Vec::new();
    let mut tasks = Vec::new();
    for (serial, parallel) in dice {
        let mut task = Task::default();
        for dice in serial {
            let step = build_step(*dice, &before, &mut outcomes);
            before.push(step.name.clone());
            task.serial_steps.push(step);
        }
        for dice in parallel {
            task.parallel_steps
                .push(build_step(*dice, &before, &mut outcomes));
        }
        if task.steps().next().is_none() {
            task.parallel_steps
                .push(build_step((0, 0), &before, &mut outcomes));
        }
        before.extend(task.parallel_steps.iter().map(|step| step.name.clone()));
        tasks.push(task);
    }
    if graph && reversed {
        tasks.reverse();
    }
    let order = if graph { Order::Graph } else { Order::Linear };
    let mut workplan = workplan(order, &[]);
    workplan.spec.tasks = tasks;
    Scenario { workplan, outcomes }
}

fn build_step(
    (needs, end): StepDice,
    before: &[String],
    outcomes: &mut BTreeMap<String, Outcome>,
) -> Step {
    let mut step = step(&format!("s{}", outcomes.len()));
    let needs = before
        .iter()
        .rev()
        .enumerate()
        .filter(|(at, _)| *at < 16 && needs >> at & 1 == 1 && needs & 0x8000 != 0);
    step.dependency = needs.map(|(_, name)| name.clone()).collect();
    let outcome = match end {
        0..200 => Outcome::Completes,
        200..230 => Outcome::Fails,
        230.. => Outcome::HasNoImage,
    };
    outcomes.insert(step.name.clone(), outcome);
    step
}
