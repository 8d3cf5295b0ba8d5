//! Plans whose steps wait for each other inside their pods.

mod apart;
mod cut;
mod groups;
mod room;

use std::cmp::Reverse;
use std::num::NonZeroUsize;

use kubeci_api::{Step, Task};
use kubeci_plan::Graph;

use crate::relay::cut::Cutter;
use crate::relay::groups::largest_exact;

pub(crate) use apart::apart;
pub use apart::{Apart, relay_apart};
pub use room::{Room, relay_pod_requests, relay_room, relay_shares};

/// The tasks, each after all that it depends on; their steps are in the order in which containers should
/// start: each after all that it depends on, and first those that the most steps in a row wait for.
pub(crate) fn tasks(graph: &Graph, steps: &[Step], containers: NonZeroUsize) -> Vec<Task> {
    let heights = graph.heights();
    let positions = graph.positions();
    let mut pods = pods(graph, &apart(graph, steps), containers);
    // The dependencies of a pod precede all its steps, so its first step determines its position.
    pods.sort_by_key(|pod| pod.iter().map(|&step| positions[step]).min());
    let task = |mut pod: Vec<usize>| {
        pod.sort_unstable_by_key(|&step| (Reverse(heights[step]), step));
        Task {
            parallel_steps: pod.into_iter().map(|step| steps[step].clone()).collect(),
            ..Task::default()
        }
    };
    pods.into_iter().map(task).collect()
}

/// The steps of each pod.
fn pods(graph: &Graph, apart: &[Option<Apart>], containers: NonZeroUsize) -> Vec<Vec<usize>> {
    let is_apart = |step: usize| apart[step].is_some();
    let alone = (0..apart.len()).filter(|&step| is_apart(step));
    let cutter = Cutter::new(graph, containers.get(), is_apart);
    let shared = largest_exact(graph, apart::together(graph, apart))
        .into_iter()
        .flat_map(|group| cutter.cut(group))
        .map(|pod| pod.ones().collect());
    alone.map(|step| vec![step]).chain(shared).collect()
}
