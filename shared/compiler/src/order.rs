use kubeci_api::Order;
use kubeci_plan::Graph;

use crate::partition::Pod;

/// The order of the pods: `Linear` if no step then waits for a step that it does not wait for by itself. The pods must be
/// in the topological order of their first steps, which is then their only order.
pub(crate) fn order(graph: &Graph, pods: &[Pod]) -> Order {
    let mut earlier = graph.set([]);
    for pod in pods {
        let mut first = pod.first_steps().iter();
        if !first.all(|&first| earlier.is_subset(&graph.ancestors[first])) {
            return Order::Graph;
        }
        earlier.extend(pod.steps());
    }
    Order::Linear
}
