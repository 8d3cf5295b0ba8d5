//! Nodes that are restarted, lost or deleted, and their kubelet and containerd. All of this happens to the last node of
//! the cluster.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, Workplan};
use kubeci_e2e::{
    Component, DISRUPTIVE, Inspector, NodeProcess, Outage, PodHistory, Test, assert_in_order,
    eventually, run_as, run_by_itself, status_text, step, workspace_path,
};
use rstest::rstest;
use serde_json::json;

use super::{ENDLESS_AT_FIRST, GATE, around, assert_lost, assert_repeated, with_retry};
use crate::workflow::{ONE_STEP, fire_with, script, steps};

async fn last_node(test: &Test) -> String {
    let nodes = Api::<Node>::all(test.client.clone());
    let all = nodes.list(&ListParams::default()).await;
    let last = all.expect("nodes").items.pop();
    last.expect("a node").name_any()
}

/// Fires a Workflow whose plans run on `node`, and says the name of its Workplan.
async fn fire_on(
    test: &Test,
    node: &str,
    execution: Execution,
    workflow: &str,
    steps: &str,
) -> String {
    let settings =
        format!("  execution: {execution:?}\n  nodeSelector: {{kubernetes.io/hostname: {node}}}\n");
    fire_with(test, workflow, steps, &settings).await
}

/// Fires a Workflow of these steps in both executions, waits until the step `runs` does, and returns the Workplans with
/// the names of their Workflows.
async fn run_on(test: &Test, node: &str, prefix: &str, steps: &str) -> Vec<(String, String)> {
    let mut plans = Vec::new();
    for execution in [Pods, Relay] {
        let workflow = format!("{prefix}-{execution:?}").to_lowercase();
        let plan = fire_on(test, node, execution, &workflow, steps).await;
        test.runs(&plan, "runs").await;
        plans.push((workflow, plan));
    }
    plans
}

/// The step `runs` ends while the process is away.
#[rstest]
#[tokio::test]
async fn restarted_node_process_changes_no_result(
    #[values(NodeProcess::Kubelet, NodeProcess::Containerd)] process: NodeProcess,
) {
    run_by_itself("restarted", async |test| {
        let history = PodHistory::begin(test);
        let mut last = script("last", "true", &["after"]);
        last["isolate"] = json!(true);
        let all = [
            script("before", "true", &[]),
            script("runs", GATE, &["before"]),
            script("after", "echo key=value >> $KUBECI_OUTPUT", &["runs"]),
            last,
        ];
        let node = last_node(test).await;
        let plans = run_on(test, &node, "restarted", &steps(&all)).await;
        let outage = Outage::begin(&node, process).await;
        for (workflow, name) in &plans {
            let folder = workspace_path(&test.namespace, workflow, name);
            outage.sh(&format!("touch {folder}/go")).await;
        }
        outage.end();
        for (workflow, name) in &plans {
            let plan = test.ends(name, Phase::Completed).await;
            assert_in_order(&plan);
            assert_eq!(step(&plan, "after").outputs["key"], "value");
            assert_eq!(plan.status.as_ref().and_then(|it| it.reason.clone()), None);
            test.cleaned(name).await;
            test.assert_folder_gone(workflow, name).await;
        }
        assert_eq!(history.assert_each_ran_once(), 4);
    })
    .await;
}

/// In a relay the steps go on; `outages` has that.
#[tokio::test]
async fn plan_waits_for_node_that_comes_back() {
    let _alone = DISRUPTIVE.lock().await;
    run_as(Pods, "node-back", async |test| {
        let history = PodHistory::begin(test);
        let node = last_node(test).await;
        let runs = around(script("runs", "sleep 3", &[]));
        let name = fire_on(test, &node, Pods, "node-back", &runs).await;
        test.runs(&name, "runs").await;
        let said = [
            "NodeNotReady",
            &node,
            "continues when the node is ready again",
        ];
        let is_reported = Box::pin(test.workplan_says(&name, &said));
        let away = Component::Kubelet(&node).away_for(Duration::from_secs(20));
        tokio::join!(away, is_reported);
        let plan = test.ends(&name, Phase::Completed).await;
        assert_in_order(&plan);
        test.cleaned(&name).await;
        history.assert_each_ran_once();
    })
    .await;
}

/// Ends the containers of pods while nothing on their node observes how, as a crash of the node does.
async fn crash(node: &str, pods: &[Pod]) {
    let kubelet = Outage::begin(node, NodeProcess::Kubelet).await;
    let containerd = Outage::begin(node, NodeProcess::Containerd).await;
    for pod in pods {
        let uid = pod.uid().expect("a uid");
        // First the shims of its containers, which would observe the ends of the containers.
        let kill = format!(
            "cd /run/containerd/io.containerd.runtime.v2.task/k8s.io; all=$(grep -l {uid} */config.json | cut -d/ -f1); \
             for c in $all; do for p in /proc/[0-9]*; do \
               tr '\\0' ' ' 2>/dev/null < $p/cmdline | grep -q -- \"-id $c\" && kill -9 ${{p#/proc/}}; done; done; \
             for c in $all; do for p in /proc/[0-9]*; do \
               grep -qs $c $p/cgroup && kill -9 ${{p#/proc/}}; done; done; true"
        );
        containerd.sh(&kill).await;
    }
    containerd.end();
    kubelet.end();
}

#[tokio::test]
async fn crashed_node_loses_running_steps() {
    run_by_itself("crashed", async |test| {
        let node = last_node(test).await;
        let runs = script("runs", ENDLESS_AT_FIRST, &[]);
        let repeated = with_retry(runs.clone());
        let repeated = run_on(test, &node, "repeated", &around(repeated)).await;
        let failed = run_on(test, &node, "failed", &around(runs)).await;
        let mut pods = Vec::new();
        for (_, name) in repeated.iter().chain(&failed) {
            pods.extend(test.pods_of(name).await);
        }
        crash(&node, &pods).await;
        let why = "ContainerStatusUnknown";
        for (workflow, name) in &repeated {
            let plan = test.ends(name, Phase::Completed).await;
            assert_repeated(&plan, "runs", why);
            test.cleaned(name).await;
            test.assert_folder_gone(workflow, name).await;
        }
        for (workflow, name) in &failed {
            let plan = test.ends(name, Phase::Failed).await;
            assert_lost(&plan, "runs", why);
            let said = ["runs", why, "does not know how the container ended"];
            test.workplan_says(name, &said).await;
            test.cleaned(name).await;
            test.assert_folder_gone(workflow, name).await;
        }
    })
    .await;
}

async fn assert_lost_with_node(test: &Test, plan: &str, node: &str) -> Workplan {
    test.ends(plan, Phase::Failed).await;
    let said = ["NodeGone", node, "was deleted", "create a new Workplan"];
    let ended = test.workplan_says(plan, &said).await;
    assert_lost(&ended, "runs", "NodeGone");
    let ended = test.cleaned(plan).await;
    let conditions = ended.status.iter().flat_map(|it| &it.conditions);
    let reasons: Vec<_> = conditions.map(|it| it.reason.as_str()).collect();
    assert!(reasons.contains(&"NodeGone"), "{reasons:?}");
    ended
}

async fn is_ready(nodes: &Api<Node>, name: &str) -> Result<(), String> {
    let node = nodes.get(name).await.map_err(|error| error.to_string())?;
    let status = node.status.unwrap_or_default();
    let mut conditions = status.conditions.iter().flatten();
    if conditions.any(|it| it.type_ == "Ready" && it.status == "True") {
        Ok(())
    } else {
        Err(format!("{:?}", status.conditions))
    }
}

/// The last node of the cluster is lost, deleted, and comes back.
#[tokio::test]
async fn deleted_node_fails_its_plans() {
    run_by_itself("node-gone", async |test| {
        let nodes = Api::<Node>::all(test.client.clone());
        let node = last_node(test).await;
        let runs = around(with_retry(script("runs", GATE, &[])));
        let plans = run_on(test, &node, "on", &runs).await;
        let outage = Outage::begin(&node, NodeProcess::Kubelet).await;
        for (_, plan) in &plans {
            test.workplan_says(plan, &["NodeNotReady", &node]).await;
        }
        let deleted = nodes.delete(&node, &DeleteParams::default()).await;
        deleted.expect("the node is deleted");
        let mut ended = Vec::new();
        for (_, plan) in &plans {
            ended.push(assert_lost_with_node(test, plan, &node).await);
        }
        outage.end();
        eventually("the node is back", async || is_ready(&nodes, &node).await).await;
        for (_, plan) in &plans {
            eventually("the pods of the plan are gone", async || {
                let pods = test.pods_of(plan).await;
                if pods.is_empty() {
                    Ok(())
                } else {
                    Err(pods.len())
                }
            })
            .await;
        }
        Inspector::renew(&test.client).await;
        let again = fire_on(test, &node, Pods, "again", ONE_STEP).await;
        test.ends(&again, Phase::Completed).await;
        test.cleaned(&again).await;
        for ended in &ended {
            let name = ended.name_any();
            let now = test.api::<Workplan>().get(&name).await.expect("a Workplan");
            assert_eq!(status_text(&now), status_text(ended));
        }
        let folders = format!("rm -rf {}", workspace_path(&test.namespace, "on-*", ""));
        Inspector::get(&test.client)
            .await
            .node(&node)
            .sh(&folders)
            .await;
    })
    .await;
}
