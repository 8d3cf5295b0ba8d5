//! Pods that are deleted, evicted or preempted. `outcomes`, `midway` and `retries` have more of them.

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::Phase;
use kubeci_e2e::{DISRUPTIVE, Test, eventually, run_as, step};
use rstest::rstest;
use serde_json::{Value, json};

use super::{ENDLESS_AT_FIRST, GATE, assert_lost, assert_repeated, open_gate, with_retry};
use crate::workflow::{ENDLESS, fire, script, steps};

async fn delete_now(test: &Test, pod: &str) {
    let now = DeleteParams::default().grace_period(0);
    let deleted = test.api::<Pod>().delete(pod, &now).await;
    deleted.expect("the pod is deleted");
    test.gone::<Pod>(pod).await;
}

#[rstest]
#[tokio::test]
async fn pod_deleted_after_its_steps_changes_nothing(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "deleted-late", async |test| {
        let mut first = script("first", "echo key=value >> $KUBECI_OUTPUT", &[]);
        first["isolate"] = json!(true);
        let gate = script("gate", GATE, &["first"]);
        let all = [first, gate, script("last", "true", &["gate"])];
        let name = fire(test, "deleted-late", &steps(&all)).await;
        let plan = test.runs(&name, "gate").await;
        let before = step(&plan, "first");
        delete_now(test, &before.pod.clone().expect("a pod")).await;
        open_gate(test, &name).await;
        test.ends(&name, Phase::Completed).await;
        let ended = test.cleaned(&name).await;
        assert_eq!(step(&ended, "first"), before);
        for pod in test.pods_of(&name).await {
            delete_now(test, &pod.name_any()).await;
        }
        // The operator has observed the deletions when it has run another plan.
        let marker = fire(test, "marker", ENDLESS).await;
        test.runs(&marker, "endless").await;
        let plan = test.api::<kubeci_api::Workplan>().get(&name).await;
        assert_eq!(plan.expect("a Workplan").status, ended.status);
    })
    .await;
}

/// As `kubectl delete pod` does.
#[rstest]
#[tokio::test]
async fn step_may_complete_while_its_pod_is_deleted(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "deleted-slowly", async |test| {
        let completes = "trap 'exit 0' TERM; while true; do sleep 0.1; done";
        let runs = script("runs", completes, &[]);
        let after = with_retry(script("after", "true", &["runs"]));
        let name = fire(test, "deleted-slowly", &steps(&[runs, after])).await;
        let plan = test.runs(&name, "runs").await;
        let pod = step(&plan, "runs").pod.expect("a pod");
        let deleted = test
            .api::<Pod>()
            .delete(&pod, &DeleteParams::default())
            .await;
        deleted.expect("the pod is deleted");
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(step(&plan, "runs").exit_code, Some(0));
        assert_eq!(step(&plan, "runs").attempts, []);
        assert_ne!(step(&plan, "after").pod, Some(pod));
        test.cleaned(&name).await;
        test.assert_folder_gone("deleted-slowly", &name).await;
    })
    .await;
}

/// A resource of which one node has one unit, so that two pods that request it do not run at the same time.
struct Seat {
    nodes: Api<Node>,
    node: String,
    name: String,
}

impl Seat {
    async fn create(test: &Test) -> Self {
        let nodes = Api::<Node>::all(test.client.clone());
        let list = nodes.list(&kube::api::ListParams::default()).await;
        let node = list.expect("nodes").items.remove(0).name_any();
        let name = format!("kubeci.example/{}", test.namespace);
        let seat = Self { nodes, node, name };
        seat.patch(json!({"capacity": {&seat.name: "1"}, "allocatable": {&seat.name: "1"}}))
            .await;
        seat
    }

    async fn patch(&self, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        let params = PatchParams::default();
        let patched = self.nodes.patch_status(&self.node, &params, &patch).await;
        patched.expect("a patched node");
    }

    fn requested(&self) -> Value {
        json!({"requests": {&self.name: "1"}, "limits": {&self.name: "1"}})
    }

    async fn remove(self) {
        self.patch(json!({"capacity": {&self.name: null}, "allocatable": {&self.name: null}}))
            .await;
    }
}

async fn create_urgent_pod(test: &Test, seat: &Seat) {
    let name = &test.namespace;
    test.apply_outside::<PriorityClass>(json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": name}, "value": 1_000_000,
    }))
    .await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "urgent"},
        "spec": {
            "priorityClassName": name, "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "only", "image": "alpine", "command": ["sleep", "3600"], "resources": seat.requested(),
            }],
        },
    });
    eventually("the pod is created", async || {
        kubeci_e2e::create(&test.client, &test.namespace, &pod.to_string()).await
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn preempted_pod_is_replaced_when_there_is_room(#[values(Pods, Relay)] execution: Execution) {
    // To an operator that was away the pod is gone, and nobody says why.
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    run_as(execution, "preempted", async |test| {
        let seat = Seat::create(test).await;
        let mut runs = with_retry(script("runs", ENDLESS_AT_FIRST, &[]));
        runs["resources"] = seat.requested();
        let all = [runs, script("after", "true", &["runs"])];
        let name = fire(test, "preempted", &steps(&all)).await;
        test.runs(&name, "runs").await;
        create_urgent_pod(test, &seat).await;
        test.workplan_says(&name, &["Unschedulable", &seat.name])
            .await;
        delete_now(test, "urgent").await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_repeated(&plan, "runs", "PreemptionByScheduler");
        test.cleaned(&name).await;
        test.assert_folder_gone("preempted", &name).await;
        seat.remove().await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn preempted_step_without_retry_fails(#[values(Pods, Relay)] execution: Execution) {
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    run_as(execution, "preempted-once", async |test| {
        let seat = Seat::create(test).await;
        let mut runs = script("runs", ENDLESS_AT_FIRST, &[]);
        runs["resources"] = seat.requested();
        let all = [runs, script("after", "true", &["runs"])];
        let name = fire(test, "preempted", &steps(&all)).await;
        test.runs(&name, "runs").await;
        create_urgent_pod(test, &seat).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_lost(&plan, "runs", "PreemptionByScheduler");
        let pod = step(&plan, "runs").pod.expect("a pod");
        test.workplan_says(&name, &["PreemptionByScheduler", &pod, "removed"])
            .await;
        test.cleaned(&name).await;
        seat.remove().await;
    })
    .await;
}
