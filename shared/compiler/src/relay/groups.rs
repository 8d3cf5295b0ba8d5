//! Which steps can share a relay pod.
//!
//! A relay pod starts when all that its steps depend on outside it is done; inside, each step starts by
//! itself. Call a set of steps *exact* if all its steps have the same ancestors outside it, which have surely ended
//! when the step starts: then none of them waits for a step that may still run when it can start. If all edges wait
//! for steps that have run, it is so only then. (A path from outside into the set enters by an edge from outside, so
//! an ancestor outside of one step is waited for by the pod, and so must be one of all. The same shows that no path
//! leaves the set and comes back.) A step that comes after the mere end of another one has fewer ancestors, and may
//! so be set apart from one that depends on the same step.
//!
//! - Exact pods never wait in a circle: each step of a pod would then come before itself.
//! - The union of two exact sets that share a step is exact: the ancestors of a step of either, less both
//!   sets, are those of the shared step, less both sets.
//!
//! So each step that can be in a relay pod is in one largest exact set, these do not overlap, and each pod of
//! any exact plan lies in one of them: they are the plan with the fewest pods, and the only one. They are
//! found from above. All steps of an exact set have the same ancestors outside any set that holds it, so a
//! set in which a step outside it is an ancestor of some but not of all can be split there without splitting
//! an exact one; a set that cannot be split so is exact itself.

use fixedbitset::FixedBitSet;
use kubeci_plan::Graph;

/// The largest exact sets of the steps, in no order.
pub(crate) fn largest_exact(graph: &Graph, steps: FixedBitSet) -> Vec<FixedBitSet> {
    let mut exact = Vec::new();
    let mut open = vec![steps];
    while let Some(group) = open.pop() {
        if let Some(outside) = ancestor_of_some(graph, &group) {
            let (after, beside): (Vec<_>, Vec<_>) = group
                .ones()
                .partition(|&step| graph.ancestors[step].contains(outside));
            open.extend([graph.set(after), graph.set(beside)]);
        } else if !group.is_clear() {
            exact.push(group);
        }
    }
    exact
}

/// A step outside the set that is an ancestor of some of its steps, but not of all.
fn ancestor_of_some(graph: &Graph, group: &FixedBitSet) -> Option<usize> {
    let mut of_any = graph.set([]);
    let mut of_all = graph.set(0..graph.ancestors.len());
    for step in group.ones() {
        of_any.union_with(&graph.ancestors[step]);
        of_all.intersect_with(&graph.ancestors[step]);
    }
    of_any.difference_with(&of_all);
    of_any.difference_with(group);
    of_any.ones().next()
}
