//! Containers that others put into the pods of a plan: meshes, agents, debuggers.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, Workplan};
use kubeci_e2e::{Inspector, Test, eventually, run_as, workspace_path};
use rstest::rstest;
use serde_json::json;

use crate::workflow::{fire, script, steps};

const MESH: &str = "name: 'mesh', image: 'alpine', command: ['sh', '-c', 'sleep 2147483647']";

fn two_steps() -> String {
    let mut second = script("second", "cat /kubeci/file", &["first"]);
    second["isolate"] = json!(true);
    steps(&[script("first", "touch /kubeci/file", &[]), second])
}

fn says(plan: &Workplan, status: &str, reason: &str, word: &str) -> bool {
    let mut conditions = plan.status.iter().flat_map(|it| &it.conditions);
    conditions.any(|it| {
        it.type_ == "PodsEnded"
            && it.status == status
            && it.reason == reason
            && it.message.contains(word)
    })
}

/// The names of the pods of a Workplan that do not go yet.
async fn pods(test: &Test, name: &str) -> Vec<String> {
    let pods = test.pods_of(name).await;
    let stay = pods
        .iter()
        .filter(|it| it.metadata.deletion_timestamp.is_none());
    stay.map(ResourceExt::name_any).collect()
}

#[rstest]
#[tokio::test]
async fn law_5_endless_sidecar_keeps_nothing(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "sidecar", async |test| {
        test.inject(MESH).await;
        let name = fire(test, "sidecar", &two_steps()).await;
        test.ends(&name, Phase::Completed).await;
        test.workplan_when(&name, "says what keeps its pods", |plan| {
            says(plan, "False", "SidecarRuns", "mesh")
        })
        .await;
        assert!(!pods(test, &name).await.is_empty(), "logs can be had");
        let plan = test.cleaned(&name).await;
        assert!(
            says(&plan, "True", "PodDeleted", "mesh"),
            "{:?}",
            plan.status
        );
        test.assert_folder_gone("sidecar", &name).await;
        eventually("no pod is left", async || {
            let pods = test.pods_of(&name).await;
            if pods.is_empty() {
                Ok(())
            } else {
                Err(pods.len())
            }
        })
        .await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn native_sidecar_ends_and_its_pods_stay(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "native-sidecar", async |test| {
        test.inject_init(&format!("{MESH}, restartPolicy: 'Always'"))
            .await;
        let name = fire(test, "native", &two_steps()).await;
        test.ends(&name, Phase::Completed).await;
        let plan = test.cleaned(&name).await;
        test.assert_folder_gone("native", &name).await;
        let conditions = plan.status.iter().flat_map(|it| &it.conditions);
        assert_eq!(conditions.filter(|it| it.type_ == "PodsEnded").count(), 0);
        assert_eq!(pods(test, &name).await.len(), 2, "for their logs");
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn ephemeral_container_keeps_nothing(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "ephemeral", async |test| {
        let waits = "until test -e /kubeci/go; do sleep 0.1; done";
        let name = fire(test, "ephemeral", &steps(&[script("only", waits, &[])])).await;
        let plan = test.runs(&name, "only").await;
        let debug = json!({"spec": {"ephemeralContainers": [
            {"name": "debug", "image": "alpine", "command": ["sh", "-c", "sleep 2147483647"]},
        ]}});
        let pod = format!("{name}-0");
        let patch = Patch::Strategic(debug);
        let params = PatchParams::default();
        let api = test.api::<Pod>();
        let patched = api.patch_subresource("ephemeralcontainers", &pod, &params, &patch);
        patched.await.expect("an ephemeral container");
        eventually("it runs", async || {
            let pod = test
                .api::<Pod>()
                .get(&pod)
                .await
                .map_err(|it| it.to_string())?;
            let status = pod.status.unwrap_or_default();
            let mut all = status.ephemeral_container_statuses.iter().flatten();
            let runs = all.any(|it| it.state.as_ref().is_some_and(|it| it.running.is_some()));
            if runs {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
        let node = plan.status.and_then(|it| it.node).expect("a node");
        let folder = workspace_path(&test.namespace, "ephemeral", &name);
        let inspector = Inspector::get(&test.client).await;
        inspector
            .node(&node)
            .sh(&format!("touch {folder}/go"))
            .await;
        test.ends(&name, Phase::Completed).await;
        test.cleaned(&name).await;
        test.assert_folder_gone("ephemeral", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn failed_foreign_init_container_is_named(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "bad-init", async |test| {
        test.inject_init(
            "name: 'mesh-init', image: 'alpine', command: ['sh', '-c', 'echo no iptables; exit 4'], \
             terminationMessagePolicy: 'FallbackToLogsOnError'",
        )
        .await;
        let name = fire(test, "bad-init", &two_steps()).await;
        test.ends(&name, Phase::Failed).await;
        test.workplan_says(
            &name,
            &["InitContainerFailed", "mesh-init, which is not a step", "exit code 4", "no iptables"],
        )
        .await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn endless_foreign_init_container_is_named(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "slow-init", async |test| {
        test.inject_init(MESH).await;
        let name = fire(test, "slow-init", &steps(&[script("only", "true", &[])])).await;
        test.workplan_says(
            &name,
            &[
                "InitContainerRuns",
                "mesh, which is not a step",
                "5 minutes",
            ],
        )
        .await;
        test.delete_one::<Workplan>(&name).await;
        test.gone::<Workplan>(&name).await;
        test.assert_folder_gone("slow-init", &name).await;
    })
    .await;
}
