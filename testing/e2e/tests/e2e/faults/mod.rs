//! Faults of pods, nodes and containers: what kubeci does, and what the status says. The table "Faults" in
//! `docs/operations.md` lists them with the tests.

mod containers;
mod images;
mod node;
mod pods;
mod workspace;

use kube::ResourceExt;
use kubeci_api::{RetryOn, StepPhase, Workplan};
use kubeci_e2e::{Inspector, Test, step};
use serde_json::{Value, json};

use crate::workflow::{script, steps};

/// Runs until a file `go` is in the folder, or SIGTERM is received.
const GATE: &str = "trap 'exit 143' TERM; until [ -e /kubeci/go ]; do sleep 0.1; done";

/// The first attempt runs until it receives SIGTERM; each later one succeeds.
const ENDLESS_AT_FIRST: &str = "trap 'exit 143' TERM; echo x >> /kubeci/attempts; \
     [ $(wc -l < /kubeci/attempts) -ge 2 ] || while true; do sleep 0.1; done";

/// A step that is attempted again after its pod was lost.
fn with_retry(mut step: Value) -> Value {
    step["retry"] = json!({"limit": 1, "on": ["Infrastructure"]});
    step
}

/// `before`, then `runs` with this script, then `after`. The first and the last step do nothing.
fn around(runs: Value) -> String {
    let mut runs = runs;
    runs["dependency"] = json!(["before"]);
    let before = script("before", "true", &[]);
    steps(&[before, runs, script("after", "true", &["runs"])])
}

/// Phase, reason and kind of failure of a step.
fn outcome(plan: &Workplan, name: &str) -> (StepPhase, Option<String>, Option<RetryOn>) {
    let step = step(plan, name);
    (step.phase, step.reason, step.failure)
}

/// Asserts that the first of two attempts of a step was lost, for this reason, and that the step then completed.
fn assert_repeated(plan: &Workplan, name: &str, reason: &str) {
    let step = step(plan, name);
    assert_eq!(step.phase, StepPhase::Completed, "{step:?}");
    assert_eq!(step.attempts.len(), 2, "{step:?}");
    let lost = &step.attempts[0];
    assert_eq!(lost.reason.as_deref(), Some(reason), "{lost:?}");
    assert_eq!(lost.failure, Some(RetryOn::Infrastructure), "{lost:?}");
    assert!(lost.message.as_ref().is_some_and(|it| !it.is_empty()));
}

/// Asserts that a step was lost, for this reason, and that the step after it was skipped.
fn assert_lost(plan: &Workplan, name: &str, reason: &str) {
    let lost = (
        StepPhase::Failed,
        Some(reason.to_owned()),
        Some(RetryOn::Infrastructure),
    );
    assert_eq!(outcome(plan, name), lost, "{:?}", plan.status);
    assert_eq!(step(plan, "after").phase, StepPhase::Skipped);
}

/// The node of a Workplan, once a step of it runs.
async fn node_of(test: &Test, plan: &str, running: &str) -> String {
    let plan = test.runs(plan, running).await;
    plan.status.and_then(|it| it.node).expect("a node")
}

/// Opens the [`GATE`] of a plan.
async fn open_gate(test: &Test, plan: &str) {
    let pods = test.pods_of(plan).await;
    let pod = pods.first().expect("a pod");
    let node = pod.spec.as_ref().and_then(|it| it.node_name.clone());
    let node = node.unwrap_or_else(|| panic!("{} has no node", pod.name_any()));
    let go = format!("touch {}/go", kubeci_e2e::workspace_of(pod));
    let inspector = Inspector::get(&test.client).await;
    inspector.node(&node).sh(&go).await;
}
