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
    /// The nodes that have surely ended when a node starts. Where a node comes after the mere end of another one, which
    /// may be skipped, the ancestors of that one are not among them, so they need not be transitive.
    pub ancestors: Vec<FixedBitSet>,
    /// The nodes that have surely ended when a node has ended or is skipped, itself included.
    pub ended_with: Vec<FixedBitSet>,
    /// The nodes that a node comes after, by index, without those that have surely ended when another one of them has
    /// ended as the node needs it. A node that is not skipped can start when its parents have ended.
    pub parents: Vec<Vec<usize>>,
}

/// The nodes that a node comes after, and how.
type Predecessors = Vec<(usize, EdgeKind)>;

impl Graph {
    /// The graph of steps. If a step starts, those that must run before it have run; what these waited for has then
    /// ended, too. An edge of the kind [`EdgeKind::OnEnd`] says only that one step has ended: it may have been skipped
    /// while others that it depends on still run. A step with a condition may be skipped when all edges to it hold.
    ///
    /// # Errors
    /// A shortest cycle of each set of steps that wait for each other.
    pub fn of_steps(
        count: usize,
        edges: impl IntoIterator<Item = Edge>,
        has_condition: impl Fn(usize) -> bool,
    ) -> Result<Self, Vec<Cycle>> {
        let mut predecessors = vec![Predecessors::new(); count];
        for Edge { from, to, kind } in edges {
            predecessors[to].push((from, kind));
        }
        let from = |of_node: &Predecessors| of_node.iter().map(|&(from, _)| from).collect();
        let plain: Vec<Vec<usize>> = predecessors.iter().map(from).collect();
        Ok(Self::reduced(
            topological(&plain)?,
            &predecessors,
            has_condition,
        ))
    }

    /// The graph in which each node comes after those that are listed for it.
    ///
    /// # Errors
    /// A shortest cycle of each set of nodes that wait for each other.
    pub fn new(predecessors: &[Vec<usize>]) -> Result<Self, Vec<Cycle>> {
        let topological = topological(predecessors)?;
        // No node is skipped, so the end of one says that it has run.
        let with_kind = |&node: &usize| (node, EdgeKind::OnEnd);
        let predecessors = predecessors.iter();
        let predecessors = predecessors.map(|it| it.iter().map(with_kind).collect());
        let predecessors: Vec<Predecessors> = predecessors.collect();
        Ok(Self::reduced(topological, &predecessors, |_| false))
    }

    /// Nodes without edges.
    #[must_use]
    pub fn without_edges(count: usize) -> Self {
        Self::reduced((0..count).collect(), &vec![Vec::new(); count], |_| false)
    }

    /// Nodes of which each comes after the one before it.
    #[must_use]
    pub fn chain(count: usize) -> Self {
        let predecessor = |node: usize| Some((node.checked_sub(1)?, EdgeKind::OnEnd));
        let predecessors: Vec<Predecessors> = (0..count)
            .map(|node| predecessor(node).into_iter().collect())
            .collect();
        Self::reduced((0..count).collect(), &predecessors, |_| false)
    }

    /// The graph of the largest transitive relation whose pairs are of a node and one that has surely ended before it,
    /// with all that had ended before that one.
    pub(crate) fn of_relation(ended_before: &[FixedBitSet]) -> Self {
        let of_node = |ended: &FixedBitSet| {
            let earlier = ended.ones();
            earlier
                .filter(|&earlier| ended_before[earlier].is_subset(ended))
                .collect()
        };
        let predecessors: Vec<Vec<usize>> = ended_before.iter().map(of_node).collect();
        Self::new(&predecessors).unwrap_or_else(|_| Self::without_edges(ended_before.len()))
    }

    /// The graph in which a node is an ancestor of another one if it, and all that ended before it, has surely ended when
    /// the other one starts. Its ancestors are transitive.
    #[must_use]
    pub fn transitive(&self) -> Self {
        Self::of_relation(&self.ancestors)
    }

    fn reduced(
        topological: Vec<usize>,
        predecessors: &[Predecessors],
        has_condition: impl Fn(usize) -> bool,
    ) -> Self {
        let count = predecessors.len();
        let position = positions(&topological, count);
        let none = FixedBitSet::with_capacity(count);
        let mut graph = Self {
            topological: Vec::new(),
            ancestors: vec![none.clone(); count],
            ended_with: vec![none.clone(); count],
            parents: vec![Vec::new(); count],
        };
        let mut may_be_skipped = none;
        for &node in &topological {
            // The latest first: whatever implies an earlier one has then been visited.
            let mut latest_first = predecessors[node].clone();
            latest_first.sort_unstable_by_key(|&(from, _)| Reverse(position[from]));
            let can_break = |&(from, kind): &(usize, EdgeKind)| match kind {
                EdgeKind::OnSuccess | EdgeKind::OnFailure => true,
                EdgeKind::OnRun => may_be_skipped.contains(from),
                EdgeKind::OnEnd => false,
            };
            let breakable: Predecessors = latest_first.iter().copied().filter(can_break).collect();
            may_be_skipped.set(node, !breakable.is_empty() || has_condition(node));
            graph.add(node, &latest_first, &breakable);
        }
        Self {
            topological,
            ..graph
        }
    }

    /// Adds a node after all that it comes after, the latest first.
    fn add(&mut self, node: usize, latest_first: &Predecessors, breakable: &Predecessors) {
        let mut ended = FixedBitSet::with_capacity(self.parents.len());
        for &(from, kind) in latest_first {
            if !ended.put(from) {
                self.parents[node].push(from);
            }
            ended.union_with(if kind.needs_run() {
                &self.ancestors[from]
            } else {
                &self.ended_with[from]
            });
        }
        self.parents[node].sort_unstable();
        // A node that is skipped has ended when one of those has that break an edge to it.
        let mut ended_with = ended.clone();
        for &(from, _) in breakable {
            ended_with.intersect_with(&self.ended_with[from]);
        }
        ended_with.insert(node);
        self.ended_with[node] = ended_with;
        self.ancestors[node] = ended;
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
    use crate::edge::NamedEdge;

    fn graph(predecessors: &[&[usize]]) -> Result<Graph, Vec<Cycle>> {
        let edges = predecessors.iter().enumerate().flat_map(|(to, from)| {
            from.iter().map(move |&from| Edge {
                from,
                to,
                kind: EdgeKind::OnSuccess,
            })
        });
        Graph::of_steps(predecessors.len(), edges, |_| false)
    }

    #[test]
    fn implied_edges_are_reduced() {
        let graph = graph(&[&[1, 2], &[2], &[]]).unwrap();
        assert_eq!(graph.topological, [2, 1, 0]);
        assert_eq!(graph.parents, [vec![1], vec![2], vec![]]);
        assert_eq!(graph.heights(), [1, 2, 3]);
        assert!(graph.are_related(0, 2));
    }

    /// `"a b:a.failed"`, by the letters of the steps in order. Steps in upper case have a condition.
    fn typed(text: &str) -> Graph {
        let steps: Vec<&str> = text.split(' ').collect();
        let index = |name: &str| {
            steps
                .iter()
                .position(|it| it.split(':').next() == Some(name))
        };
        let edges = steps.iter().enumerate().flat_map(|(to, step)| {
            let (_, edges) = step.split_once(':').unwrap_or((step, ""));
            let edges = edges.split(',').filter(|it| !it.is_empty());
            edges.map(NamedEdge::parse).map(move |edge| Edge {
                from: index(edge.from).unwrap(),
                to,
                kind: edge.kind,
            })
        });
        let has_condition = |step: usize| steps[step].starts_with(char::is_uppercase);
        Graph::of_steps(steps.len(), edges, has_condition).unwrap()
    }

    fn ones(set: &FixedBitSet) -> Vec<usize> {
        set.ones().collect()
    }

    #[test]
    fn end_of_skippable_step_implies_no_other() {
        let graph = typed("x y a:x,y b:a c:a.ended d:a.failed");
        assert_eq!(ones(&graph.ancestors[3]), [0, 1, 2]);
        assert_eq!(ones(&graph.ancestors[4]), [2]);
        assert_eq!(ones(&graph.ancestors[5]), [0, 1, 2]);
        assert_eq!(graph.parents[3..], [vec![2], vec![2], vec![2]]);
    }

    #[test]
    fn end_of_step_with_one_edge_implies_it() {
        let graph = typed("x a:x c:a.ended,x.ended");
        assert_eq!(graph.parents[2], [1]);
        assert_eq!(ones(&graph.ancestors[2]), [0, 1]);
    }

    #[test]
    fn step_that_is_never_skipped_implies_all() {
        let graph = typed("x y a:x.ended,y.ran b:a.ended");
        assert_eq!(ones(&graph.ancestors[3]), [0, 1, 2]);
    }

    #[test]
    fn step_with_condition_may_be_skipped() {
        let of_d = |text| ones(&typed(text).ancestors[4]);
        assert_eq!(
            of_d("x y a:x.ended b:a.ran,y.ended d:b.ended"),
            [0, 1, 2, 3]
        );
        assert_eq!(of_d("x y A:x.ended b:A.ran,y.ended d:b.ended"), [0, 2, 3]);
        let own = typed("x y A:x.ended d:A.ended");
        assert_eq!(ones(&own.ancestors[3]), [0, 2], "its edges held");
    }

    #[test]
    fn transitive_graph_leaves_out_skippable_steps() {
        let graph = typed("x y a:x,y b:a.ended c:b").transitive();
        assert_eq!(ones(&graph.ancestors[2]), [0, 1]);
        assert_eq!(ones(&graph.ancestors[3]), [0_usize; 0]);
        assert_eq!(ones(&graph.ancestors[4]), [3]);
    }

    #[test]
    fn each_cyclic_set_has_one_shortest_cycle() {
        let cycles = graph(&[&[1], &[0], &[3], &[4, 2], &[2], &[4]]).unwrap_err();
        assert_eq!(cycles, [vec![0, 1], vec![2, 3]]);
    }
}
