//! How much room a plan needs on its node at its widest moment: the heaviest set of pods of which none is
//! surely over before another starts. By Dilworth's theorem that is all weights less a maximum flow from
//! pods to pods that start after them.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use fixedbitset::FixedBitSet;
use kubeci_api::{Order, Task};
use petgraph::algo::maximum_flow::dinics;
use petgraph::graph::DiGraph;

use crate::graph::{Graph, topological_order};
use crate::requests::Requests;

/// The most that the pods of a plan request of their node at the same time, however long each step
/// takes; the heaviest moment of each resource by itself.
#[must_use]
pub fn widest_moment(order: Order, tasks: &[Task]) -> Requests {
    let all: Vec<usize> = (0..tasks.len()).collect();
    widest_among(&all, &precedence(order, tasks), tasks)
}

/// What the first task's pod should request, so that the scheduler chooses a node with room for the
/// whole plan: the widest moment, less what may run beside the first pod and so asks for its own room.
/// That is never less than the pod itself needs. `None`: no step requests anything.
#[must_use]
pub fn first_pod_requests(order: Order, tasks: &[Task]) -> Option<Requests> {
    let graph = precedence(order, tasks);
    let all: Vec<usize> = (0..tasks.len()).collect();
    let apart = |&task: &usize| task == 0 || related(&graph, task, 0);
    let beside_first: Vec<usize> = all.iter().copied().filter(|task| !apart(task)).collect();
    let widest = widest_among(&all, &graph, tasks);
    let beside = widest_among(&beside_first, &graph, tasks);
    let rest = |resource: &str| {
        widest
            .milli(resource)
            .saturating_sub(beside.milli(resource))
    };
    let first = widest
        .resources()
        .map(|name| (name.to_owned(), rest(name)))
        .collect();
    (!widest.is_empty()).then_some(first)
}

fn related(graph: &Graph, one: usize, another: usize) -> bool {
    graph.ancestors[one].contains(another) || graph.ancestors[another].contains(one)
}

/// The tasks, each depending on those whose pods are surely over before its own starts.
fn precedence(order: Order, tasks: &[Task]) -> Graph {
    match order {
        Order::Linear => {
            let before = |task: usize| task.checked_sub(1).into_iter().collect();
            let before: Vec<Vec<usize>> = (0..tasks.len()).map(before).collect();
            Graph::reduced((0..tasks.len()).collect(), &before)
        }
        Order::Graph => surely_over(tasks),
    }
}

/// A task starts when the steps outside it that its own depend on are done. By then those are done that
/// these waited for: the serial steps before them in their pods, and what their pods waited for. Tasks
/// that wait for each other, as only a hand could write them, never start: nothing is over before them.
fn surely_over(tasks: &[Task]) -> Graph {
    let places = places(tasks);
    let waits = waits(tasks, &places);
    let task_of = |&step: &usize| places[step].task;
    let dependencies: Vec<Vec<usize>> = waits
        .iter()
        .map(|steps| distinct(steps.iter().map(task_of)))
        .collect();
    let order = topological_order(&dependencies);

    let mut over = vec![FixedBitSet::with_capacity(places.len()); tasks.len()];
    for &task in &order {
        let mut done = FixedBitSet::with_capacity(places.len());
        for &step in &waits[task] {
            let place = &places[step];
            done.union_with(&over[place.task]);
            done.insert_range(place.pod.start..place.after);
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
    Graph::reduced(order, &before)
}

/// Where a step is. Steps are counted through all tasks, the serial ones of each task first.
struct Place<'a> {
    name: &'a str,
    task: usize,
    /// All steps of its task.
    pod: Range<usize>,
    /// The steps of its pod below this are over before it starts.
    after: usize,
    is_first: bool,
}

fn places(tasks: &[Task]) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    for (task, written) in tasks.iter().enumerate() {
        let start = places.len();
        let end = start + written.steps().count();
        let parallel = start + written.serial_steps.len();
        places.extend(written.steps().zip(start..).map(|(step, at)| Place {
            name: &step.name,
            task,
            pod: start..end,
            after: at.min(parallel),
            is_first: at == start,
        }));
    }
    places
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

/// The widest moment of these tasks alone.
fn widest_among(chosen: &[usize], graph: &Graph, tasks: &[Task]) -> Requests {
    let requests: Vec<(usize, Requests)> = chosen
        .iter()
        .map(|&task| (task, Requests::of_task(&tasks[task])))
        .collect();
    let resources: BTreeSet<&str> = requests
        .iter()
        .flat_map(|(_, requests)| requests.resources())
        .collect();
    let widest = |resource: &str| {
        let mut weights = vec![0; tasks.len()];
        for (task, requests) in &requests {
            weights[*task] = requests.milli(resource);
        }
        heaviest_antichain(graph, &weights)
    };
    resources
        .into_iter()
        .map(|resource| (resource.to_owned(), widest(resource)))
        .collect()
}

/// The largest sum of weights of nodes of which none depends on another.
fn heaviest_antichain(graph: &Graph, weights: &[u128]) -> u128 {
    let total: u128 = weights.iter().sum();
    let mut network = DiGraph::<(), u128>::new();
    let (source, sink) = (network.add_node(()), network.add_node(()));
    let mut pair = || (network.add_node(()), network.add_node(()));
    let (before, after): (Vec<_>, Vec<_>) = weights.iter().map(|_| pair()).unzip();
    for (node, &weight) in weights.iter().enumerate() {
        network.add_edge(source, before[node], weight);
        network.add_edge(after[node], sink, weight);
        // Flow that has reached a node may go on to what comes after it: the graph need not be closed.
        network.add_edge(after[node], before[node], total);
        for &parent in &graph.parents[node] {
            network.add_edge(before[parent], after[node], total);
        }
    }
    let (flow, _) = dinics(&network, source, sink);
    total - flow
}
