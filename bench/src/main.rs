//! Measures kubeci in the cluster of `KUBECI_TEST_KUBECONFIG` and prints the tables of
//! `docs/performance.md`. Nothing is asserted.

mod burst;
mod document;
mod handover;
mod reaction;
mod requests;
mod sightings;
mod table;

use kubeci_e2e::run;

#[tokio::main]
async fn main() {
    println!("| measured | p50 | p99 | max | n |");
    println!("|---|---|---|---|---|");
    // First, while nothing of an earlier measurement is being cleaned up.
    run("bench-requests", requests::measure).await;
    run("bench-reaction", reaction::measure).await;
    run("bench-handover", handover::measure).await;
    run("bench-burst", burst::measure).await;
    run("bench-document", document::measure).await;
}
