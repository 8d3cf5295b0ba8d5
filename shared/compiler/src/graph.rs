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
        let mut position = vec![0; count];
        for (index, &node) in topological.iter().enumerate() {
            position[node] = index;
        }
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
