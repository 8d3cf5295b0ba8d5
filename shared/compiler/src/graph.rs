use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fixedbitset::FixedBitSet;

use crate::cycles::{Cycle, shortest_cycles};

/// An acyclic graph over the indices `0..n`, reduced: no edge says what others say already.
pub(crate) struct Graph {
    /// The nodes, each after all that it depends on; otherwise by index.
    pub topological: Vec<usize>,
    /// All that a node depends on, directly or through others.
    pub ancestors: Vec<FixedBitSet>,
    /// What a node depends on and on nothing else's account, by index. Two nodes with equal parents
    /// have equal ancestors, and the other way round.
    pub parents: Vec<Vec<usize>>,
}

impl Graph {
    /// The graph in which each node depends on what is listed for it.
    pub fn new(dependencies: &[Vec<usize>]) -> Result<Self, Vec<Cycle>> {
        let topological = topological_order(dependencies);
        if topological.len() < dependencies.len() {
            return Err(shortest_cycles(dependencies));
        }
        Ok(Self::reduced(topological, dependencies))
    }

    /// The same, where the order is known: each node must come after all that it depends on.
    pub fn reduced(topological: Vec<usize>, dependencies: &[Vec<usize>]) -> Self {
        let count = dependencies.len();
        let position = positions(&topological, count);
        let mut ancestors = vec![FixedBitSet::with_capacity(count); count];
        let mut parents = vec![Vec::new(); count];
        for &node in &topological {
            // The latest first: whatever an earlier one is implied by has then been seen.
            let mut latest_first = dependencies[node].clone();
            latest_first.sort_unstable_by_key(|&dependency| Reverse(position[dependency]));
            let mut implied = FixedBitSet::with_capacity(count);
            for dependency in latest_first {
                if !implied.put(dependency) {
                    implied.union_with(&ancestors[dependency]);
                    parents[node].push(dependency);
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

    /// Nodes of which none depends on another.
    pub fn without_edges(count: usize) -> Self {
        Self::reduced((0..count).collect(), &vec![Vec::new(); count])
    }

    /// Whether one of the nodes depends on the other.
    pub fn are_related(&self, one: usize, other: usize) -> bool {
        self.ancestors[one].contains(other) || self.ancestors[other].contains(one)
    }

    /// For each node its place in the topological order.
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

/// The places of those of so many nodes that are listed.
fn positions(topological: &[usize], count: usize) -> Vec<usize> {
    let mut positions = vec![0; count];
    for (position, &node) in topological.iter().enumerate() {
        positions[node] = position;
    }
    positions
}

/// The nodes, each after all that it depends on, ties by index; without those on or behind a cycle.
pub(crate) fn topological_order(dependencies: &[Vec<usize>]) -> Vec<usize> {
    let mut dependents = vec![Vec::new(); dependencies.len()];
    let mut waits_for: Vec<usize> = dependencies.iter().map(Vec::len).collect();
    for (node, dependencies) in dependencies.iter().enumerate() {
        for &dependency in dependencies {
            dependents[dependency].push(node);
        }
    }
    let free = (0..dependencies.len()).filter(|&node| waits_for[node] == 0);
    let mut ready: BinaryHeap<_> = free.map(Reverse).collect();
    let mut order = Vec::with_capacity(dependencies.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(node);
        for &dependent in &dependents[node] {
            waits_for[dependent] -= 1;
            if waits_for[dependent] == 0 {
                ready.push(Reverse(dependent));
            }
        }
    }
    order
}
