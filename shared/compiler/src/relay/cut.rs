//! Exact sets that are too wide for a pod, cut into exact ones that are not.
//!
//! Steps that nothing connects can be in any pods; of steps that come in series, each part after all of the
//! one before, any run of parts can be a pod. So a set is taken apart along these, and what fits together is
//! joined again, the largest parts first where they lie beside each other. What is neither is taken apart
//! into its steps, each behind what it needs. Where the pods that `Pods` would have make fewer, it is those that
//! are joined. To fill pods best is the bin packing problem: the pods here are exact and within the limit
//! always, never more than for `Pods` within the same limit, and not always the fewest.

use std::cmp::Reverse;
use std::collections::HashMap;

use fixedbitset::FixedBitSet;
use kubeci_plan::Graph;
use petgraph::unionfind::UnionFind;

use crate::partition;
use crate::relay::groups::largest_exact;

/// Cuts sets of one graph.
pub(crate) struct Cutter<'a> {
    graph: &'a Graph,
    limit: usize,
    /// What would be the pods for `Pods` if each step followed its only parent, and so are runs of steps of one; the largest
    /// exact parts of these.
    chains: Vec<FixedBitSet>,
}

impl<'a> Cutter<'a> {
    pub fn new(graph: &'a Graph, limit: usize, apart: impl Fn(usize) -> bool + Copy) -> Self {
        let mut chains = Vec::new();
        let only_parent = |parents: &Vec<usize>| match parents.as_slice() {
            &[parent] if !apart(parent) => Some(parent),
            _ => None,
        };
        let followed: Vec<_> = graph.parents.iter().map(only_parent).collect();
        for pod in partition::pods(graph, &followed, &[], apart, usize::MAX) {
            let steps: Vec<usize> = pod.steps().collect();
            let runs = steps
                .chunks(limit)
                .map(|run| graph.set(run.iter().copied()));
            chains.extend(runs.flat_map(|run| largest_exact(graph, run)));
        }
        Self {
            graph,
            limit,
            chains,
        }
    }

    /// The exact set itself, or exact sets of at most `limit` steps that make it up.
    pub fn cut(&self, group: FixedBitSet) -> Vec<FixedBitSet> {
        if group.count_ones(..) <= self.limit {
            return vec![group];
        }
        fewer(self.by_parts(&group), self.by_chains(&group))
    }

    fn by_parts(&self, group: &FixedBitSet) -> Vec<FixedBitSet> {
        let parts = [parts_beside, parts_in_series].map(|parts| parts(self.graph, group));
        let Some(parts) = parts.into_iter().find(|parts| parts.len() > 1) else {
            let by_steps = self.join(single_steps(self.graph, group));
            return fewer(by_steps, self.by_chains(group));
        };
        self.join(parts.into_iter().flat_map(|part| {
            if part.count_ones(..) <= self.limit {
                vec![part]
            } else {
                self.by_parts(&part)
            }
        }))
    }

    fn by_chains(&self, group: &FixedBitSet) -> Vec<FixedBitSet> {
        // What two exact sets share is exact.
        let of_group = self.chains.iter().map(|chain| chain & group);
        self.join(of_group.filter(|chain| !chain.is_clear()))
    }

    /// Puts each set into the fullest one before it with which it is exact, if there is one with room. No set
    /// may come before one that it depends on.
    fn join(&self, sets: impl IntoIterator<Item = FixedBitSet>) -> Vec<FixedBitSet> {
        let mut pods = Pods::new(self.graph);
        for set in sets {
            pods.add(set, self.limit);
        }
        pods.all.into_iter().map(|pod| pod.steps).collect()
    }
}

fn fewer(one: Vec<FixedBitSet>, other: Vec<FixedBitSet>) -> Vec<FixedBitSet> {
    if other.len() < one.len() { other } else { one }
}

/// Pods that are being filled.
struct Pods<'a> {
    graph: &'a Graph,
    all: Vec<Pod>,
    /// The pod of each step that is in one.
    pod_of: Vec<Option<usize>>,
    /// The pods that wait for the same.
    waiting_for: HashMap<FixedBitSet, Vec<usize>>,
}

/// An exact set of steps.
struct Pod {
    size: usize,
    steps: FixedBitSet,
    /// The ancestors outside it that all its steps have.
    waits_for: FixedBitSet,
}

impl<'a> Pods<'a> {
    fn new(graph: &'a Graph) -> Self {
        Self {
            graph,
            all: Vec::new(),
            pod_of: vec![None; graph.parents.len()],
            waiting_for: HashMap::new(),
        }
    }

    fn add(&mut self, set: FixedBitSet, limit: usize) {
        let size = set.count_ones(..);
        let waits_for = self.waits_for(&set);
        let fitting = self.candidates(&set, &waits_for).filter(|&pod| {
            let pod = &self.all[pod];
            let mut waits_for = waits_for.clone();
            waits_for.difference_with(&pod.steps);
            pod.size + size <= limit && waits_for == pod.waits_for
        });
        let fullest = fitting.max_by_key(|&pod| (self.all[pod].size, Reverse(pod)));
        let pod = fullest.unwrap_or(self.all.len());
        set.ones().for_each(|step| self.pod_of[step] = Some(pod));
        if let Some(pod) = self.all.get_mut(pod) {
            pod.size += size;
            pod.steps.union_with(&set);
        } else {
            let same = self.waiting_for.entry(waits_for.clone()).or_default();
            same.push(pod);
            self.all.push(Pod {
                size,
                steps: set,
                waits_for,
            });
        }
    }

    fn waits_for(&self, set: &FixedBitSet) -> FixedBitSet {
        let ancestors = |step: usize| self.graph.ancestors[step].clone();
        let mut waits_for = set.ones().next().map(ancestors).unwrap_or_default();
        waits_for.difference_with(set);
        waits_for
    }

    /// The pods with which the set may be exact. Either both wait for the same, or the set waits for steps of
    /// the pod too; as no path leaves an exact set and comes back, some are then parents of its own steps.
    fn candidates(
        &self,
        set: &FixedBitSet,
        waits_for: &FixedBitSet,
    ) -> impl Iterator<Item = usize> {
        let same = self.waiting_for.get(waits_for).into_iter().flatten();
        let parents = set.ones().flat_map(|step| &self.graph.parents[step]);
        let of_parents = parents.filter_map(|&parent| self.pod_of[parent]);
        same.copied().chain(of_parents)
    }
}

/// The parts between which there is no dependency, the largest first.
fn parts_beside(graph: &Graph, group: &FixedBitSet) -> Vec<FixedBitSet> {
    let mut connected = UnionFind::<usize>::new(group.len());
    for step in group.ones() {
        for &parent in graph.parents[step].iter().filter(|&&it| group.contains(it)) {
            connected.union(step, parent);
        }
    }
    let mut parts = vec![Vec::new(); group.len()];
    for step in group.ones() {
        parts[connected.find(step)].push(step);
    }
    parts.retain(|part| !part.is_empty());
    parts.sort_by_key(|part| (Reverse(part.len()), part[0]));
    parts.into_iter().map(|part| graph.set(part)).collect()
}

/// The parts of which each depends on all of the one before.
fn parts_in_series(graph: &Graph, group: &FixedBitSet) -> Vec<FixedBitSet> {
    let order: Vec<usize> = in_order(graph, group).collect();
    // From the end: what all that come later depend on.
    let mut needed = group.clone();
    let mut needed_after = Vec::with_capacity(order.len());
    for &step in order.iter().rev() {
        needed_after.push(needed.clone());
        needed.intersect_with(&graph.ancestors[step]);
    }
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut done = FixedBitSet::with_capacity(group.len());
    for (step, needed_after) in order.into_iter().zip(needed_after.into_iter().rev()) {
        part.push(step);
        done.insert(step);
        if done.is_subset(&needed_after) {
            parts.push(graph.set(part.drain(..)));
        }
    }
    parts
}

/// Each step by itself: for each step that ends something, what comes before it and no other, then it.
fn single_steps(graph: &Graph, group: &FixedBitSet) -> Vec<FixedBitSet> {
    let before = before_in(graph, group);
    let mut ends = group.clone();
    for before in before.values() {
        ends.difference_with(before);
    }
    let mut left = group.clone();
    let mut parts = Vec::new();
    for end in in_order(graph, &ends) {
        let mut needed = before[&end].clone();
        needed.insert(end);
        needed.intersect_with(&left);
        left.difference_with(&needed);
        parts.extend(in_order(graph, &needed).map(|step| graph.set([step])));
    }
    parts
}

/// For each step of a set those of the set that come before it, directly or through others.
fn before_in(graph: &Graph, group: &FixedBitSet) -> HashMap<usize, FixedBitSet> {
    let mut before: HashMap<usize, FixedBitSet> = HashMap::new();
    for step in in_order(graph, group) {
        let mut of_step = graph.set([]);
        for parent in graph.parents[step].iter().filter(|it| group.contains(**it)) {
            of_step.insert(*parent);
            of_step.union_with(&before[parent]);
        }
        before.insert(step, of_step);
    }
    before
}

fn in_order(graph: &Graph, set: &FixedBitSet) -> impl Iterator<Item = usize> {
    let steps = graph.topological.iter().copied();
    steps.filter(|&step| set.contains(step))
}
