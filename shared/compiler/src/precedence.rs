//! Which pods of a plan are surely over before others start, however long each step takes.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use fixedbitset::FixedBitSet;
use kubeci_api::{Order, Step, Task};

use crate::graph::{Graph, topological_order};

/// The tasks, each depending on those whose pods are surely over before its own starts.
pub(crate) fn precedence(order: Order, tasks: &[Task]) -> Graph {
    match order {
        Order::Linear => {
            let before = |task: usize| task.checked_sub(1).into_iter().collect();
            let before: Vec<Vec<usize>> = (0..tasks.len()).map(before).collect();
            Graph::reduced((0..tasks.len()).collect(), &before)
        }
        Order::Graph | Order::Relay => surely_over(order, tasks),
    }
}

/// A task starts when the steps outside it that its own depend on are done. By then those are done that
/// these waited for: the steps before them in their pods, and what their pods waited for. Tasks that wait
/// for each other, as only a hand could write them, never start: nothing is over before them.
fn surely_over(order: Order, tasks: &[Task]) -> Graph {
    let places = places(order, tasks);
    let waits = waits(tasks, &places);
    let task_of = |&step: &usize| places[step].task;
    let dependencies: Vec<Vec<usize>> = waits
        .iter()
        .map(|steps| distinct(steps.iter().map(task_of)))
        .collect();
    let topological = topological_order(&dependencies);

    let mut over = vec![FixedBitSet::with_capacity(places.len()); tasks.len()];
    for &task in &topological {
        let mut done = FixedBitSet::with_capacity(places.len());
        for &step in &waits[task] {
            let place = &places[step];
            done.union_with(&over[place.task]);
            done.extend(place.before.iter().copied());
            done.insert(step);
        }
        over[task] = done;
    }
    let mut before = vec![Vec::new(); tasks.len()];
    for place in places.iter().filter(|place| place.is_first) {
        for (task, done) in over.iter().enumerate() {
            if done.contains_all_in_range(place.pod.clone()) {
                before[task].push(place.task);
            }
        }
    }
    Graph::reduced(topological, &before)
}

/// Where a step is. Steps are counted through all tasks, the serial ones of each task first.
struct Place<'a> {
    name: &'a str,
    task: usize,
    /// All steps of its task.
    pod: Range<usize>,
    /// The steps of its pod that are over before it starts.
    before: Vec<usize>,
    is_first: bool,
}

fn places(order: Order, tasks: &[Task]) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    for (task, written) in tasks.iter().enumerate() {
        let start = places.len();
        let pod = start..start + written.steps().count();
        let before = before(order, written);
        let steps = written.steps().zip(before).zip(pod.clone());
        places.extend(steps.map(|((step, before), at)| Place {
            name: &step.name,
            task,
            pod: pod.clone(),
            before: before.into_iter().map(|step| start + step).collect(),
            is_first: at == start,
        }));
    }
    places
}

/// For each step of a task those of the task that are over before it starts.
fn before(order: Order, task: &Task) -> Vec<Vec<usize>> {
    if order == Order::Relay {
        let ancestors = inside(task).ancestors;
        return ancestors.iter().map(|it| it.ones().collect()).collect();
    }
    let serial = task.serial_steps.len();
    let steps = 0..task.steps().count();
    steps.map(|at| (0..at.min(serial)).collect()).collect()
}

/// The steps of a task by what they say of each other; if they wait in a circle, without any order.
pub(crate) fn inside(task: &Task) -> Graph {
    let index: HashMap<&str, usize> = task
        .steps()
        .map(|step| step.name.as_str())
        .zip(0..)
        .collect();
    let known = |name: &String| index.get(name.as_str()).copied();
    let of_step = |(at, step): (usize, &Step)| {
        distinct(
            step.dependency
                .iter()
                .filter_map(known)
                .filter(|&it| it != at),
        )
    };
    let dependencies: Vec<Vec<usize>> = task.steps().enumerate().map(of_step).collect();
    Graph::new(&dependencies).unwrap_or_else(|_| Graph::without_edges(dependencies.len()))
}

/// The steps outside each task that its own depend on.
fn waits(tasks: &[Task], places: &[Place]) -> Vec<Vec<usize>> {
    let step: HashMap<&str, usize> = places.iter().map(|place| place.name).zip(0..).collect();
    let known = |name: &String| step.get(name.as_str()).copied();
    let of_task = |(at, task): (usize, &Task)| {
        let dependencies = task
            .steps()
            .flat_map(|step| &step.dependency)
            .filter_map(known);
        distinct(dependencies.filter(|&step| places[step].task != at))
    };
    tasks.iter().enumerate().map(of_task).collect()
}

fn distinct(items: impl Iterator<Item = usize>) -> Vec<usize> {
    items.collect::<BTreeSet<_>>().into_iter().collect()
}
