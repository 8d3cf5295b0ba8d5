//! Containers that lack memory, and step runners that are killed. `midway`, `retries` and `relay_attempts` have steps
//! that use too much memory.

use k8s_openapi::api::core::v1::Pod;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, StepPhase};
use kubeci_e2e::{Inspector, Test, run_as, step};
use rstest::rstest;
use serde_json::json;

use super::{ENDLESS_AT_FIRST, around, assert_lost, assert_repeated, node_of, outcome, with_retry};
use crate::workflow::{fire, script, steps};

/// Kills the step runner of a step, as the kernel does when the node has no memory left.
async fn kill_runner(test: &Test, plan: &str, name: &str) {
    let node = node_of(test, plan, name).await;
    let pods = test.pods_of(plan).await;
    let container = container_id(&pods[0], name);
    let kill = format!(
        "for p in /proc/[0-9]*; do grep -q {container} $p/cgroup && grep -q step-runner $p/cmdline && kill -9 ${{p#/proc/}}; done; true"
    );
    Inspector::get(&test.client)
        .await
        .node(&node)
        .sh(&kill)
        .await;
}

fn container_id(pod: &Pod, name: &str) -> String {
    let statuses = pod.status.iter().flat_map(|it| &it.container_statuses);
    let mut of_step = statuses.flatten().filter(|it| it.name == name);
    let id = of_step.next().and_then(|it| it.container_id.clone());
    let id = id.expect("its id");
    let (_, id) = id.split_once("://").expect("the id of a container");
    id.to_owned()
}

#[tokio::test]
async fn killed_runner_fails_its_step() {
    run_as(Relay, "runner", async |test| {
        let mut on_failure = script("on-failure", "true", &[]);
        on_failure["onFailure"] = json!(["runs"]);
        let runs = script("runs", ENDLESS_AT_FIRST, &[]);
        let all = [runs, script("after", "true", &["runs"]), on_failure];
        let name = fire(test, "runner", &steps(&all)).await;
        kill_runner(test, &name, "runs").await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_lost(&plan, "runs", "RunnerKilled");
        assert_eq!(step(&plan, "runs").exit_code, Some(137));
        assert_eq!(step(&plan, "on-failure").phase, StepPhase::Completed);
        let said = ["runs: RunnerKilled", "SIGKILL", "out of memory"];
        test.workplan_says(&name, &said).await;
        assert_eq!(test.pods_of(&name).await.len(), 1);
        test.cleaned(&name).await;
    })
    .await;
}

#[tokio::test]
async fn killed_runner_is_replaced_as_its_step_says() {
    run_as(Relay, "runner-again", async |test| {
        let runs = with_retry(script("runs", ENDLESS_AT_FIRST, &[]));
        let name = fire(test, "runner", &around(runs)).await;
        kill_runner(test, &name, "runs").await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_repeated(&plan, "runs", "RunnerKilled");
        assert_eq!(step(&plan, "before").attempts, []);
        let pod = step(&plan, "after").pod.unwrap_or_default();
        assert!(pod.ends_with("-a2"), "{pod}");
        test.cleaned(&name).await;
        test.assert_folder_gone("runner", &name).await;
    })
    .await;
}

/// Not even the first process of the container has room, in a relay the step runner.
#[rstest]
#[tokio::test]
async fn too_low_memory_limit_is_explained(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "no-memory", async |test| {
        let mut runs = script("runs", "true", &[]);
        runs["resources"] = json!({"limits": {"memory": "1Mi"}});
        let name = fire(test, "no-memory", &around(runs)).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let (phase, reason, _) = outcome(&plan, "runs");
        assert_eq!(
            (phase, reason.as_deref()),
            (StepPhase::Failed, Some("StartError"))
        );
        assert_eq!(step(&plan, "before").phase, StepPhase::Completed);
        assert_eq!(step(&plan, "after").phase, StepPhase::Skipped);
        let said = ["runs: StartError", "raise resources.limits.memory"];
        test.workplan_says(&name, &said).await;
        test.cleaned(&name).await;
    })
    .await;
}
