use std::collections::VecDeque;

use fixedbitset::FixedBitSet;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// Nodes that depend on each other: each on the next, the last on the first.
pub(crate) type Cycle = Vec<usize>;

/// One shortest cycle for each set of nodes that all depend on each other, by lowest index. A set may
/// hold more cycles than can be listed, and they show again once this one is resolved.
pub(crate) fn shortest_cycles(dependencies: &[Vec<usize>]) -> Vec<Cycle> {
    let mut graph = DiGraph::<(), ()>::new();
    let nodes: Vec<_> = dependencies.iter().map(|_| graph.add_node(())).collect();
    for (node, dependencies) in dependencies.iter().enumerate() {
        graph.extend_with_edges(dependencies.iter().map(|&to| (nodes[node], nodes[to])));
    }
    let mut cycles: Vec<Cycle> = kosaraju_scc(&graph)
        .into_iter()
        .filter(|component| component.len() > 1)
        .filter_map(|component| {
            let mut members: Vec<usize> = component.into_iter().map(NodeIndex::index).collect();
            members.sort_unstable();
            shortest_among(&members, dependencies)
        })
        .collect();
    cycles.sort_unstable();
    cycles
}

fn shortest_among(members: &[usize], dependencies: &[Vec<usize>]) -> Option<Cycle> {
    let inside: FixedBitSet = members.iter().copied().collect();
    let mut shortest: Option<Cycle> = None;
    for &start in members {
        let cycle = shortest_through(start, &inside, dependencies);
        let length = cycle.as_ref().map_or(usize::MAX, Vec::len);
        if length < shortest.as_ref().map_or(usize::MAX, Vec::len) {
            shortest = cycle;
        }
        if length == 2 {
            break;
        }
    }
    shortest
}

/// Breadth first from `start` along dependencies, inside the set, until it is met again.
fn shortest_through(
    start: usize,
    inside: &FixedBitSet,
    dependencies: &[Vec<usize>],
) -> Option<Cycle> {
    let mut reached_from = vec![None; dependencies.len()];
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for &next in dependencies[node]
            .iter()
            .filter(|&&next| inside.contains(next))
        {
            if next == start {
                let back = std::iter::successors(Some(node), |&node| reached_from[node]);
                let mut cycle: Cycle = back.collect();
                cycle.reverse();
                return Some(cycle);
            }
            if reached_from[next].is_none() {
                reached_from[next] = Some(node);
                queue.push_back(next);
            }
        }
    }
    None
}
