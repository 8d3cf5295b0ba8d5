//! Measures kubeci in the cluster of `KUBECI_TEST_KUBECONFIG` and prints the tables of
//! `docs/performance.md`: all measurements, or those that are named. Nothing is asserted.

mod burst;
mod by_hand;
mod fire;
mod load;
mod observations;
mod old_plans;
mod operators;
mod pod_handover;
mod reaction;
mod relay_handover;
mod relay_retry;
mod requests;
mod shapes;
mod side_by_side;
mod simulated_node;
mod table;
mod throughput;

use kubeci_e2e::{Test, run};

#[tokio::main]
async fn main() {
    side_by_side::header();
    measure("side-by-side", side_by_side::measure).await;
    println!();
    table::header();
    // Before the others, which leave things to be cleaned up.
    measure("requests", requests::measure).await;
    measure("relay-handover", relay_handover::measure).await;
    measure("relay-handover-flow", relay_handover::with_expressions).await;
    measure("relay-retry", relay_retry::measure).await;
    measure("pod-handover", pod_handover::measure).await;
    measure("reaction", reaction::measure).await;
    measure("burst", burst::measure).await;
    println!();
    measure("throughput", throughput::measure).await;
    println!();
    measure("large-plans", load::large_plans).await;
    println!();
    measure("waiting", load::waiting).await;
    println!();
    measure("old-plans", old_plans::measure).await;
}

async fn measure(name: &str, measurement: impl AsyncFnOnce(&Test)) {
    let mut asked = std::env::args().skip(1).peekable();
    if asked.peek().is_none() || asked.any(|it| it == name) {
        run(&format!("bench-{name}"), measurement).await;
    }
}
