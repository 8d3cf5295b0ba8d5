//! Operators that start beside many Workplans that have long ended.

use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kubeci_api::Workplan;
use kubeci_e2e::{Operator, Test, eventually_within};
use serde_json::json;

use crate::operators::Operators;

const PLANS: usize = 50_000;
const AT_ONCE: usize = 64;
const PATIENCE: Duration = Duration::from_mins(20);

pub async fn measure(test: &Test) {
    for operator in [Operator::Workflow, Operator::Workplan] {
        operator.go_away(&test.client).await;
    }
    futures::stream::iter(0..PLANS)
        .for_each_concurrent(AT_ONCE, async |index| create_ended(test, index).await)
        .await;
    let start = Instant::now();
    let operators = Operators::anew(test).await;
    println!("| start beside {PLANS} Workplans that have ended | |");
    println!("|---|---|");
    println!(
        "| both operators started and at work | {:.1} s |",
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    run_one(test).await;
    println!(
        "| a new Workplan has ended | {:.1} s |",
        start.elapsed().as_secs_f64()
    );
    operators
        .rows(test, &format!("beside {PLANS} Workplans"))
        .await;
    remove(test).await;
}

/// A Workplan that has ended and been cleaned up, as the operator leaves it.
async fn create_ended(test: &Test, index: usize) {
    let plans = test.api::<Workplan>();
    let name = format!("old-{index}");
    let step = json!({"name": "only", "image": "alpine", "commands": ["true"]});
    let plan = json!({
        "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "metadata": {"name": name},
        "spec": {"tasks": [{"ParallelSteps": [step]}]},
    });
    let plan: Workplan = serde_json::from_value(plan).expect("a Workplan");
    let created = plans.create(&PostParams::default(), &plan).await;
    created.expect("a Workplan");
    let at = "2026-11-01T00:00:00Z";
    let condition = |type_: &str, reason: &str| {
        json!({"type": type_, "status": "True", "reason": reason, "message": "Done.",
            "lastTransitionTime": at, "observedGeneration": 1})
    };
    let status = json!({"status": {
        "phase": "completed", "taskIndex": 0, "progress": "1/1", "startedAt": at, "finishedAt": at,
        "observedGeneration": 1, "steps": [{"name": "only", "phase": "completed", "exitCode": 0}],
        "conditions": [condition("Succeeded", "Completed"), condition("WorkspaceCleaned", "NothingOnNode")],
    }});
    let params = PatchParams::default();
    let ended = plans
        .patch_status(&name, &params, &Patch::Merge(status))
        .await;
    ended.expect("an ended Workplan");
}

async fn run_one(test: &Test) {
    let step = json!({"name": "only", "image": "alpine", "imagePullPolicy": "IfNotPresent", "commands": ["true"]});
    let plan = json!({
        "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "metadata": {"name": "new"},
        "spec": {"tasks": [{"ParallelSteps": [step]}]},
    });
    test.create(&plan.to_string()).await;
    test.cleaned("new").await;
}

/// In portions that the API server deletes within one request.
async fn remove(test: &Test) {
    let plans = test.api::<Workplan>();
    eventually_within(PATIENCE, "no Workplans", async || {
        let some = ListParams::default().limit(2000);
        let deleted = plans
            .delete_collection(&DeleteParams::default(), &some)
            .await;
        deleted.map_err(|error| error.to_string())?;
        let left = plans.list_metadata(&ListParams::default().limit(1)).await;
        match left.map_err(|error| error.to_string())?.items.len() {
            0 => Ok(()),
            _ => Err("some are left".to_owned()),
        }
    })
    .await;
}
