//! Which steps share a pod.
//!
//! An exact pod is a chain, each of whose steps depends on the one before it alone, and then parallel
//! steps, which all depend on the chain's last step alone or, without a chain, on the same steps. A step
//! *follows* another if that is its only parent (of the reduced graph), and neither is isolated. A *timed* step
//! has a time limit, at which its whole pod is stopped: it is the only one of its pod's parallel steps. In a chain
//! only one step runs at a time.
//!
//! Call a step that none follows a *last* step. It cannot be in a chain that goes on, so it is one of its
//! pod's parallel steps; these have equal parents, so no pod has last steps of two different parents, and a timed
//! one is alone among them. Hence no plan has fewer pods than there are timed last steps, sets of the other last
//! steps with equal parents, and isolated steps. The plan below has exactly one pod for each of these: it is
//! minimal, and needs no search.
//!
//! It also has the fewest steps that wait for another pod. A pod holds either one follower of a chain's
//! step, which goes on as the chain, or some, which end it. Ending it with all that are last and not timed, or with
//! one that is timed, holds no fewer; adding one that is not last holds one more, but loses at least one of its own
//! followers.

use std::collections::HashMap;

use kubeci_api::{Step, Task};
use kubeci_plan::Graph;

/// Steps that share a pod, by index.
pub(crate) struct Pod {
    /// One after the other; each depends on the one before it alone.
    pub chain: Vec<usize>,
    /// At the same time, after the chain; at least one, by index.
    pub parallel: Vec<usize>,
}

impl Pod {
    /// All steps, the chain first.
    pub fn steps(&self) -> impl Iterator<Item = usize> + '_ {
        self.chain.iter().chain(&self.parallel).copied()
    }

    /// The steps that start with the pod: the chain's first, or all parallel ones.
    pub fn first_steps(&self) -> &[usize] {
        self.chain.get(..1).unwrap_or(&self.parallel)
    }

    pub fn task(&self, steps: &[Step]) -> Task {
        let written = |indices: &[usize]| indices.iter().map(|&step| steps[step].clone()).collect();
        Task {
            serial_steps: written(&self.chain),
            parallel_steps: written(&self.parallel),
        }
    }
}

/// The fewest exact pods, in the topological order of their first steps.
pub(crate) fn pods(
    graph: &Graph,
    isolated: impl Fn(usize) -> bool,
    timed: impl Fn(usize) -> bool,
) -> Vec<Pod> {
    let followers = followers(graph, &isolated);
    let is_last = |step: usize| followers[step].is_empty();
    let is_alone = |step: usize| isolated(step) || is_last(step) && timed(step);
    let mut last_siblings: HashMap<&[usize], Vec<usize>> = HashMap::new();
    for step in (0..followers.len()).filter(|&step| is_last(step) && !is_alone(step)) {
        last_siblings
            .entry(&graph.parents[step])
            .or_default()
            .push(step);
    }
    let mut placed = vec![false; followers.len()];
    let mut pods = Vec::new();
    for &step in &graph.topological {
        if placed[step] {
            continue;
        }
        let pod = if is_alone(step) {
            Pod {
                chain: Vec::new(),
                parallel: vec![step],
            }
        } else if is_last(step) {
            let siblings = last_siblings.remove(graph.parents[step].as_slice());
            Pod {
                chain: Vec::new(),
                parallel: siblings.unwrap_or_default(),
            }
        } else {
            chain_from(step, &followers, &timed)
        };
        pod.steps().for_each(|step| placed[step] = true);
        pods.push(pod);
    }
    pods
}

/// The steps whose only parent is this one and that may share its pod, by index.
fn followers(graph: &Graph, isolated: impl Fn(usize) -> bool) -> Vec<Vec<usize>> {
    let mut followers = vec![Vec::new(); graph.parents.len()];
    for (step, parents) in graph.parents.iter().enumerate() {
        if let &[parent] = parents.as_slice()
            && !isolated(step)
        {
            followers[parent].push(step);
        }
    }
    followers
}

/// Goes on with the first follower until some followers are last ones, and ends with those of them that may share
/// the pod.
fn chain_from(head: usize, followers: &[Vec<usize>], timed: impl Fn(usize) -> bool) -> Pod {
    let mut chain = vec![head];
    let mut step = head;
    loop {
        let next = &followers[step];
        let last = next.iter().copied();
        let last: Vec<_> = last.filter(|&step| followers[step].is_empty()).collect();
        let untimed: Vec<_> = last.iter().copied().filter(|&step| !timed(step)).collect();
        if let Some(&first) = last.first() {
            let parallel = if untimed.is_empty() {
                vec![first]
            } else {
                untimed
            };
            return Pod { chain, parallel };
        }
        step = next[0];
        chain.push(step);
    }
}
