use fixedbitset::FixedBitSet;

use crate::edge::{Edge, EdgeKind};

/// A step that waits, directly or through other steps, for the success and for the failure of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The step that never starts.
    pub step: usize,
    /// The other one.
    pub of: usize,
}

/// The outcomes of other steps without which a step does not start.
#[derive(Clone)]
pub(crate) struct Needed {
    pub completed: FixedBitSet,
    failed: FixedBitSet,
}

/// The steps that never start, however the others end. Those that never start because another one does not are left out.
/// The order has each step after those that it waits for.
#[must_use]
pub fn contradictions(topological: &[usize], edges: &[Edge]) -> Vec<Contradiction> {
    if edges.iter().all(|edge| edge.kind != EdgeKind::OnFailure) {
        return Vec::new();
    }
    let needed = needed(topological, edges);
    let of_step = |step: usize| needed[step].contradiction();
    let mut is_inherited = FixedBitSet::with_capacity(needed.len());
    let running = edges.iter().filter(|edge| edge.kind.needs_run());
    is_inherited.extend(
        running
            .filter(|edge| of_step(edge.from).is_some())
            .map(|edge| edge.to),
    );
    let steps = topological
        .iter()
        .filter(|&&step| !is_inherited.contains(step));
    let found = steps.filter_map(|&step| {
        let of = of_step(step)?;
        Some(Contradiction { step, of })
    });
    found.collect()
}

/// For each step the outcomes without which it does not start.
pub(crate) fn needed(topological: &[usize], edges: &[Edge]) -> Vec<Needed> {
    let none = FixedBitSet::with_capacity(topological.len());
    let of_none = Needed {
        completed: none.clone(),
        failed: none,
    };
    let mut needed = vec![of_none; topological.len()];
    let mut edges_to = vec![Vec::new(); topological.len()];
    for edge in edges.iter().filter(|edge| edge.kind.needs_run()) {
        edges_to[edge.to].push(edge);
    }
    for &step in topological {
        let mut of_step = needed[step].clone();
        for edge in &edges_to[step] {
            of_step.add(edge.from, edge.kind, &needed[edge.from]);
        }
        needed[step] = of_step;
    }
    needed
}

impl Needed {
    /// Adds what an edge from a step needs, which itself needs this.
    fn add(&mut self, from: usize, kind: EdgeKind, of_from: &Self) {
        self.completed.union_with(&of_from.completed);
        self.failed.union_with(&of_from.failed);
        match kind {
            EdgeKind::OnSuccess => self.completed.insert(from),
            EdgeKind::OnFailure => self.failed.insert(from),
            EdgeKind::OnRun | EdgeKind::OnEnd => {}
        }
    }

    fn contradiction(&self) -> Option<usize> {
        self.completed.intersection(&self.failed).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::EdgeKind::{OnEnd, OnFailure, OnRun, OnSuccess};

    fn found(edges: &[(usize, EdgeKind, usize)]) -> Vec<(usize, usize)> {
        let edges = edges
            .iter()
            .map(|&(from, kind, to)| Edge { from, to, kind });
        let edges: Vec<Edge> = edges.collect();
        let found = contradictions(&[0, 1, 2, 3], &edges);
        found.into_iter().map(|it| (it.step, it.of)).collect()
    }

    #[test]
    fn success_and_failure_of_one_step_contradict() {
        assert_eq!(found(&[(0, OnSuccess, 1), (0, OnFailure, 1)]), [(1, 0)]);
    }

    #[test]
    fn contradiction_is_found_through_other_steps() {
        let through = |kind| found(&[(0, OnSuccess, 1), (1, kind, 2), (0, OnFailure, 2)]);
        assert_eq!(through(OnSuccess), [(2, 0)]);
        assert_eq!(through(OnFailure), [(2, 0)]);
        assert_eq!(through(OnRun), [(2, 0)]);
        assert_eq!(through(OnEnd), []);
    }

    #[test]
    fn steps_behind_a_contradiction_are_left_out() {
        let edges = [
            (0, OnSuccess, 1),
            (0, OnFailure, 1),
            (1, OnSuccess, 2),
            (1, OnEnd, 3),
        ];
        assert_eq!(found(&edges), [(1, 0)]);
    }
}
