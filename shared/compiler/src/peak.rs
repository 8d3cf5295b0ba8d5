//! How much room a plan needs on its node at its widest moment: the heaviest set of pods of which none is
//! surely over before another starts. By Dilworth's theorem that is all weights less a maximum flow from
//! pods to pods that start after them. Where at most so many steps run at the same time, there are no more pods
//! with open steps, so it is also no more than the heaviest pods of that number together.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use kubeci_api::{Order, Task};
use kubeci_plan::Graph;
use petgraph::algo::maximum_flow::dinics;
use petgraph::graph::DiGraph;

use crate::read::precedence;
use crate::relay::relay_pod_requests;
use crate::requests::Requests;

/// The maximum that the pods of a plan request of their node at the same time, for any durations of the steps; computed
/// for each resource separately. With `max_parallel` it is an upper bound.
#[must_use]
pub fn widest_moment(
    order: Order,
    tasks: &[Task],
    finally: &[String],
    max_parallel: Option<NonZeroUsize>,
) -> Requests {
    let requests = requests(order, tasks, finally, max_parallel);
    let most = max_parallel.map(NonZeroUsize::get);
    widest(&precedence(order, tasks, finally), &requests, most)
}

/// The requests of the pod of the task `first`, which is placed first, so that the scheduler chooses a node with room for
/// the whole plan: the maximum of the plan, less the requests of pods that may run beside the first pod. It is never less
/// than the pod itself needs. `None` if no step has requests.
#[must_use]
pub fn first_pod_requests(
    order: Order,
    tasks: &[Task],
    finally: &[String],
    first: usize,
    max_parallel: Option<NonZeroUsize>,
) -> Option<Requests> {
    let graph = precedence(order, tasks, finally);
    let mut requests = requests(order, tasks, finally, max_parallel);
    let most = max_parallel.map(NonZeroUsize::get);
    let widest_at_all = widest(&graph, &requests, most);
    for (task, requests) in requests.iter_mut().enumerate() {
        if task == first || graph.are_related(task, first) {
            *requests = Requests::default();
        }
    }
    let beside = widest(&graph, &requests, most.map(|most| most - 1));
    let rest = |resource: &str| {
        widest_at_all
            .milli(resource)
            .saturating_sub(beside.milli(resource))
    };
    let first = widest_at_all
        .resources()
        .map(|name| (name.to_owned(), rest(name)))
        .collect();
    (!widest_at_all.is_empty()).then_some(first)
}

fn requests(
    order: Order,
    tasks: &[Task],
    finally: &[String],
    max_parallel: Option<NonZeroUsize>,
) -> Vec<Requests> {
    let of_pod = |task| match order {
        Order::Linear | Order::Graph => Requests::of_task(task),
        Order::Relay => relay_pod_requests(task, finally, max_parallel).unwrap_or_default(),
    };
    tasks.iter().map(of_pod).collect()
}

/// For each resource the most that nodes of which none depends on another request of it together. If there are at most
/// `most` of them, it is an upper bound.
pub(crate) fn widest(graph: &Graph, requests: &[Requests], most: Option<usize>) -> Requests {
    let resources: BTreeSet<&str> = requests.iter().flat_map(Requests::resources).collect();
    let widest = |resource: &str| {
        let weights: Vec<u128> = requests.iter().map(|it| it.milli(resource)).collect();
        let antichain = heaviest_antichain(graph, &weights);
        most.map_or(antichain, |most| antichain.min(heaviest(weights, most)))
    };
    resources
        .into_iter()
        .map(|resource| (resource.to_owned(), widest(resource)))
        .collect()
}

/// The sum of the largest weights, of at most so many.
fn heaviest(mut weights: Vec<u128>, most: usize) -> u128 {
    weights.sort_unstable_by_key(|&weight| Reverse(weight));
    weights.iter().take(most).sum()
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
