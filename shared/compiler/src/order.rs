use kubeci_api::Order;
use kubeci_plan::Graph;

use crate::partition::Pod;

/// The order of the pods: `Linear` if no step then waits for a step that it does not depend on. The pods must be in the
/// topological order of their first steps, which is then their only order.
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
