//! Steps that are attempted again, and pods that are created again.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams};
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, RetryOn, StepPhase, Workplan};
use kubeci_e2e::{DISRUPTIVE, Test, eventually, run_as, step};
use rstest::rstest;
use serde_json::{Value, json};

use crate::workflow::{fire, script, steps};

/// Fails until this attempt, and counts the attempts in a file.
fn until(attempt: u32) -> String {
    format!("echo x >> /kubeci/attempts; test $(wc -l < /kubeci/attempts) -ge {attempt}")
}

/// The first attempt does not end; each later one succeeds.
const ENDLESS_AT_FIRST: &str =
    "echo x >> /kubeci/attempts; test $(wc -l < /kubeci/attempts) -ge 2 || sleep 600";

fn with_retry(mut step: Value, retry: Value) -> Value {
    step["retry"] = retry;
    step
}

async fn delete_pod(test: &Test, plan: &str) -> String {
    let pod = test.pods_of(plan).await.remove(0).name_any();
    let now = DeleteParams::default().grace_period(0);
    let deleted = test.api::<Pod>().delete(&pod, &now).await;
    deleted.expect("the pod is deleted");
    pod
}

fn failures(plan: &Workplan, name: &str) -> Vec<RetryOn> {
    let attempts = step(plan, name).attempts;
    attempts.iter().filter_map(|it| it.failure).collect()
}

#[rstest]
#[tokio::test]
async fn step_is_retried_until_it_succeeds(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "retried", async |test| {
        let first = with_retry(
            script("first", &until(3), &[]),
            json!({"limit": 3, "backoff": {"initial": "1s"}}),
        );
        let last = script("last", "true", &["first"]);
        let name = fire(test, "retried", &steps(&[first, last])).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(failures(&plan, "first"), [RetryOn::Failure; 2]);
        let first = step(&plan, "first");
        assert_eq!(first.attempt(), 3);
        assert!(step(&plan, "last").started_at >= first.finished_at);
        let pods = match execution {
            Pods => 3,
            Relay => 1,
        };
        assert_eq!(test.pods_of(&name).await.len(), pods);
        test.cleaned(&name).await;
        test.assert_folder_gone("retried", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn exhausted_retries_fail_the_step(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "exhausted", async |test| {
        let fails = with_retry(script("fails", "exit 3", &[]), json!({"limit": 2}));
        let after = script("after", "true", &["fails"]);
        let name = fire(test, "exhausted", &steps(&[fails, after])).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_eq!(failures(&plan, "fails"), [RetryOn::Failure; 3]);
        assert_eq!(step(&plan, "after").phase, StepPhase::Skipped);
        test.workplan_says(&name, &["fails: exit code 3", "attempt 3"])
            .await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn other_exit_code_is_final(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "exit-code", async |test| {
        let retry = json!({"limit": 2, "exitCodes": [75]});
        let fails = with_retry(script("fails", "exit 3", &[]), retry);
        let after = script("after", "true", &["fails"]);
        let name = fire(test, "exit-code", &steps(&[fails, after])).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_eq!(step(&plan, "fails").attempt(), 1);
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn step_out_of_memory_is_retried(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "oom-retried", async |test| {
        let grows = until(2) + " || { x=x; while true; do x=$x$x; done; }";
        let mut hungry = with_retry(
            script("hungry", &grows, &[]),
            json!({"limit": 1, "on": ["OOMKilled"]}),
        );
        hungry["resources"] = json!({"limits": {"memory": "32Mi"}});
        let after = script("after", "true", &["hungry"]);
        let beside = script("beside", "true", &[]);
        let name = fire(test, "oom-retried", &steps(&[hungry, after, beside])).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(failures(&plan, "hungry"), [RetryOn::OomKilled]);
        assert_eq!(step(&plan, "beside").attempt(), 1);
        let pod = step(&plan, "hungry").pod.unwrap_or_default();
        assert!(pod.ends_with("-a2"), "{pod}");
        test.cleaned(&name).await;
        test.assert_folder_gone("oom-retried", &name).await;
    })
    .await;
}

/// Its image is not there, so no step starts.
#[rstest]
#[tokio::test]
async fn pod_deleted_before_any_start_is_replaced(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "deleted-early", async |test| {
        let mut first = script("first", "true", &[]);
        first["image"] = json!("no-such-image:1");
        let last = script("last", "true", &["first"]);
        let name = fire(test, "deleted-early", &steps(&[first, last])).await;
        test.workplan_says(&name, &["no-such-image:1"]).await;
        let uid = test.pods_of(&name).await.remove(0).uid();
        delete_pod(test, &name).await;
        eventually("another pod", async || {
            let pods = test.pods_of(&name).await;
            let is_other = pods.iter().any(|pod| pod.uid() != uid);
            if is_other { Ok(()) } else { Err(pods.len()) }
        })
        .await;
        let plan = test.workplan_says(&name, &["no-such-image:1"]).await;
        let phase = plan.status.as_ref().and_then(|it| it.phase);
        assert_eq!(phase, Some(Phase::Pending));
        let lost = &step(&plan, "first").attempts[0];
        assert_eq!(lost.reason.as_deref(), Some("PodDeleted"));
        assert_eq!(
            (lost.failure, lost.started_at.as_ref()),
            (Some(RetryOn::Infrastructure), None)
        );
        test.delete_one::<Workplan>(&name).await;
        test.gone::<Workplan>(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn deleted_pod_is_replaced_as_its_step_says(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "deleted-retried", async |test| {
        let runs = with_retry(
            script("runs", ENDLESS_AT_FIRST, &["before"]),
            json!({"limit": 1, "on": ["Infrastructure"]}),
        );
        let before = script("before", "true", &[]);
        let after = script("after", "true", &["runs"]);
        let name = fire(test, "deleted-retried", &steps(&[before, runs, after])).await;
        test.runs(&name, "runs").await;
        let pod = delete_pod(test, &name).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(failures(&plan, "runs"), [RetryOn::Infrastructure]);
        assert_eq!(step(&plan, "before").attempt(), 1);
        let again = format!("{pod}-a2");
        assert_eq!(step(&plan, "runs").pod, Some(again));
        test.cleaned(&name).await;
        test.assert_folder_gone("deleted-retried", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn evicted_pod_is_replaced_as_its_step_says(#[values(Pods, Relay)] execution: Execution) {
    // To an operator that was away the pod is gone, and nobody says why.
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    run_as(execution, "evicted-retried", async |test| {
        let runs = with_retry(
            script("runs", ENDLESS_AT_FIRST, &[]),
            json!({"limit": 1, "on": ["Infrastructure"]}),
        );
        let after = script("after", "true", &["runs"]);
        let name = fire(test, "evicted-retried", &steps(&[runs, after])).await;
        test.runs(&name, "runs").await;
        let pod = test.pods_of(&name).await.remove(0).name_any();
        let evicted = test.api::<Pod>().evict(&pod, &EvictParams::default()).await;
        evicted.expect("the pod is evicted");
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(failures(&plan, "runs"), [RetryOn::Infrastructure]);
        test.cleaned(&name).await;
    })
    .await;
}
