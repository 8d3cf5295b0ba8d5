use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fixedbitset::FixedBitSet;

use crate::cycles::{Cycle, shortest_cycles};
use crate::edge::{Edge, EdgeKind};

/// An acyclic graph over the indices `0..n`, transitively reduced.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The nodes, each after its ancestors; otherwise by index.
    pub topological: Vec<usize>,
    /// The nodes that end before a node starts.
    pub ancestors: Vec<FixedBitSet>,
    /// The ancestors of a node that are no ancestors of another one of them, by index. Two nodes with equal
    /// parents have equal ancestors, and the other way round.
    pub parents: Vec<Vec<usize>>,
}

impl Graph {
    /// The graph of steps. An edge means that one step, and all steps before it, have ended before the other step
    /// starts.
    ///
    /// # Errors
    /// A shortest cycle of each set of steps that wait for each other.
    pub fn of_steps(
        count: usize,
        edges: impl IntoIterator<Item = Edge>,
    ) -> Result<Self, Vec<Cycle>> {
        let mut predecessors = vec![Vec::new(); count];
        for edge in edges {
            match edge.kind {
                EdgeKind::OnSuccess => predecessors[edge.to].push(edge.from),
            }
        }
        Self::new(&predecessors)
    }

    /// The graph in which each node comes after those that are listed for it.
    ///
    /// # Errors
    /// A shortest cycle of each set of nodes that wait for each other.
    pub fn new(predecessors: &[Vec<usize>]) -> Result<Self, Vec<Cycle>> {
        let topological = topological(predecessors)?;
        Ok(Self::reduced(topological, predecessors))
    }

    /// Nodes without edges.
    #[must_use]
    pub fn without_edges(count: usize) -> Self {
        Self::reduced((0..count).collect(), &vec![Vec::new(); count])
    }

    /// Nodes of which each comes after the one before it.
    #[must_use]
    pub fn chain(count: usize) -> Self {
        let predecessor = |node: usize| node.checked_sub(1).into_iter().collect();
        let predecessors: Vec<Vec<usize>> = (0..count).map(predecessor).collect();
        Self::reduced((0..count).collect(), &predecessors)
    }

    fn reduced(topological: Vec<usize>, predecessors: &[Vec<usize>]) -> Self {
        let count = predecessors.len();
        let position = positions(&topological, count);
        let mut ancestors = vec![FixedBitSet::with_capacity(count); count];
        let mut parents = vec![Vec::new(); count];
        for &node in &topological {
            // The latest first: whatever implies an earlier one has then been visited.
            let mut latest_first = predecessors[node].clone();
            latest_first.sort_unstable_by_key(|&predecessor| Reverse(position[predecessor]));
            let mut implied = FixedBitSet::with_capacity(count);
            for predecessor in latest_first {
                if !implied.put(predecessor) {
                    implied.union_with(&ancestors[predecessor]);
                    parents[node].push(predecessor);
                }
            }
            parents[node].sort_unstable();
            ancestors[node] = implied;
        }
        Self {
            topological,
            ancestors,
            parents,
        }
    }

    /// Whether one of the nodes is an ancestor of the other.
    #[must_use]
    pub fn are_related(&self, one: usize, other: usize) -> bool {
        self.ancestors[one].contains(other) || self.ancestors[other].contains(one)
    }

    /// For each node its position in the topological order.
    #[must_use]
    pub fn positions(&self) -> Vec<usize> {
        positions(&self.topological, self.parents.len())
    }

    /// A set of nodes.
    pub fn set(&self, nodes: impl IntoIterator<Item = usize>) -> FixedBitSet {
        let mut set = FixedBitSet::with_capacity(self.parents.len());
        set.extend(nodes);
        set
    }

    /// For each node how many nodes the longest path from it has, itself included.
    #[must_use]
    pub fn heights(&self) -> Vec<usize> {
        let mut heights = vec![1; self.parents.len()];
        for &node in self.topological.iter().rev() {
            for &parent in &self.parents[node] {
                heights[parent] = heights[parent].max(heights[node] + 1);
            }
        }
        heights
    }
}

/// For each of so many nodes its position in the order.
fn positions(topological: &[usize], count: usize) -> Vec<usize> {
    let mut positions = vec![0; count];
    for (position, &node) in topological.iter().enumerate() {
        positions[node] = position;
    }
    positions
}

/// The nodes, each after its predecessors, ties by index.
pub(crate) fn topological(predecessors: &[Vec<usize>]) -> Result<Vec<usize>, Vec<Cycle>> {
    let order = acyclic_part(predecessors);
    if order.len() < predecessors.len() {
        return Err(shortest_cycles(predecessors));
    }
    Ok(order)
}

/// As [`topological`], without the nodes on or behind a cycle.
fn acyclic_part(predecessors: &[Vec<usize>]) -> Vec<usize> {
    let mut successors = vec![Vec::new(); predecessors.len()];
    let mut open: Vec<usize> = predecessors.iter().map(Vec::len).collect();
    for (node, predecessors) in predecessors.iter().enumerate() {
        for &predecessor in predecessors {
            successors[predecessor].push(node);
        }
    }
    let free = (0..predecessors.len()).filter(|&node| open[node] == 0);
    let mut ready: BinaryHeap<_> = free.map(Reverse).collect();
    let mut order = Vec::with_capacity(predecessors.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(node);
        for &successor in &successors[node] {
            open[successor] -= 1;
            if open[successor] == 0 {
                ready.push(Reverse(successor));
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(predecessors: &[&[usize]]) -> Result<Graph, Vec<Cycle>> {
        let edges = predecessors.iter().enumerate().flat_map(|(to, from)| {
            from.iter().map(move |&from| Edge {
                from,
                to,
                kind: EdgeKind::OnSuccess,
            })
        });
        Graph::of_steps(predecessors.len(), edges)
    }

    #[test]
    fn implied_edges_are_reduced() {
        let graph = graph(&[&[1, 2], &[2], &[]]).unwrap();
        assert_eq!(graph.topological, [2, 1, 0]);
        assert_eq!(graph.parents, [vec![1], vec![2], vec![]]);
        assert_eq!(graph.heights(), [1, 2, 3]);
        assert!(graph.are_related(0, 2));
    }

    #[test]
    fn each_cyclic_set_has_one_shortest_cycle() {
        let cycles = graph(&[&[1], &[0], &[3], &[4, 2], &[2], &[4]]).unwrap_err();
        assert_eq!(cycles, [vec![0, 1], vec![2, 3]]);
    }
}
