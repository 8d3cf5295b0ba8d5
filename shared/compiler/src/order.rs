use kubeci_api::Order;
use kubeci_plan::Graph;

use crate::partition::Pod;

/// How the pods follow each other: one after the other where no step waits in vain for that. The pods
/// are expected in the topological order of their first steps, which is then the only one they have.
pub(crate) fn order(graph: &Graph, pods: &[Pod]) -> Order {
    let exact = pods.windows(2).all(|pair| {
        let waiting = pair[1].first_steps();
        let waits_for = |step| {
            waiting
                .iter()
                .all(|&first| graph.ancestors[first].contains(step))
        };
        pair[0].steps().all(waits_for)
    });
    if exact { Order::Linear } else { Order::Graph }
}
