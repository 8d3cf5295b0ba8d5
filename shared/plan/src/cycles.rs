use std::collections::VecDeque;

use fixedbitset::FixedBitSet;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// Nodes that wait for each other: each for the next, the last for the first.
pub type Cycle = Vec<usize>;

/// The text form of a cycle, such as `a needs b, b needs a`.
#[must_use]
pub fn describe_cycle(names: &[impl AsRef<str>]) -> String {
    let next = names.iter().cycle().skip(1);
    let pairs = names.iter().zip(next);
    let pairs = pairs.map(|(one, next)| format!("{} needs {}", one.as_ref(), next.as_ref()));
    pairs.collect::<Vec<_>>().join(", ")
}

/// One shortest cycle for each strongly connected set of nodes, by lowest index. A set may hold more cycles than
/// can be listed; they are found once this one is resolved.
pub(crate) fn shortest_cycles(predecessors: &[Vec<usize>]) -> Vec<Cycle> {
    let mut graph = DiGraph::<(), ()>::new();
    let nodes: Vec<_> = predecessors.iter().map(|_| graph.add_node(())).collect();
    for (node, predecessors) in predecessors.iter().enumerate() {
        graph.extend_with_edges(predecessors.iter().map(|&to| (nodes[node], nodes[to])));
    }
    let mut cycles: Vec<Cycle> = kosaraju_scc(&graph)
        .into_iter()
        .filter(|component| component.len() > 1)
        .filter_map(|component| {
            let mut members: Vec<usize> = component.into_iter().map(NodeIndex::index).collect();
            members.sort_unstable();
            shortest_among(&members, predecessors)
        })
        .collect();
    cycles.sort_unstable();
    cycles
}

fn shortest_among(members: &[usize], predecessors: &[Vec<usize>]) -> Option<Cycle> {
    let inside: FixedBitSet = members.iter().copied().collect();
    let mut shortest: Option<Cycle> = None;
    for &start in members {
        let cycle = shortest_through(start, &inside, predecessors);
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

/// Breadth first from `start` to its predecessors, inside the set, until `start` is met again.
fn shortest_through(
    start: usize,
    inside: &FixedBitSet,
    predecessors: &[Vec<usize>],
) -> Option<Cycle> {
    let mut reached_from = vec![None; predecessors.len()];
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for &next in predecessors[node]
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
