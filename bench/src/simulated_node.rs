//! A node without a kubelet: pods that are placed on it end at once, and the API server hears of them what a
//! kubelet sends. So nothing but the control plane and the operators is measured.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use kubeci_api::names;
use kubeci_e2e::Test;
use serde_json::{Value, json};
use step_runner::record::{End, Record, Stage};
use tokio::task::JoinSet;

/// A node without a heartbeat for 40 s becomes not ready.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// The most pods whose statuses are written at the same time.
const AT_ONCE: usize = 32;

pub struct SimulatedNode {
    client: Client,
    name: String,
    running: JoinSet<()>,
}

impl SimulatedNode {
    pub async fn start(test: &Test) -> Self {
        let (client, name) = (test.client.clone(), test.namespace.clone());
        let nodes = Api::<Node>::all(client.clone());
        let created = nodes.create(&PostParams::default(), &node(&name)).await;
        created.expect("a node");
        write_status(&nodes, &name).await;
        let mut running = JoinSet::new();
        running.spawn(stay_alive(nodes, name.clone()));
        running.spawn(end_pods(client.clone(), name.clone()));
        Self {
            client,
            name,
            running,
        }
    }

    /// What a pod says to be placed on this node and on no other.
    pub fn placement(&self) -> Value {
        json!({
            "nodeSelector": {"kubernetes.io/hostname": self.name},
            "tolerations": [{"key": "kube.ci/simulated", "operator": "Exists"}],
        })
    }

    pub async fn stop(mut self) {
        self.running.shutdown().await;
        let nodes = Api::<Node>::all(self.client);
        let deleted = nodes.delete(&self.name, &DeleteParams::default()).await;
        deleted.expect("a node");
    }
}

fn node(name: &str) -> Node {
    let node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": [{"key": "kube.ci/simulated", "effect": "NoSchedule"}]},
    });
    serde_json::from_value(node).expect("a node")
}

async fn stay_alive(nodes: Api<Node>, name: String) {
    loop {
        tokio::time::sleep(SIGN_OF_LIFE).await;
        write_status(&nodes, &name).await;
    }
}

async fn write_status(nodes: &Api<Node>, name: &str) {
    let (now, room) = (
        Timestamp::now(),
        json!({"cpu": "10k", "memory": "64Ti", "pods": "100k"}),
    );
    let status = json!({"status": {
        "capacity": room, "allocatable": room,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Simulated",
            "lastHeartbeatTime": now, "lastTransitionTime": now}],
    }});
    let (params, patch) = (PatchParams::default(), Patch::Merge(status));
    let written = nodes.patch_status(name, &params, &patch).await;
    written.expect("the node's status");
}

async fn end_pods(client: Client, node: String) {
    let placed = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let pods = watcher(Api::<Pod>::all(client.clone()), placed).applied_objects();
    let started = Mutex::new(HashSet::new());
    pods.for_each_concurrent(AT_ONCE, async |pod| {
        let pod = pod.expect("a watch of pods");
        let start = || started.lock().expect("a lock").insert(pod.uid());
        let answer = if pod.metadata.deletion_timestamp.is_some() {
            remove(&client, &pod).await
        } else if start() {
            write_statuses(&client, &pod).await
        } else {
            Ok(())
        };
        match answer {
            Err(kube::Error::Api(status)) if [404, 409, 422].contains(&status.code) => {}
            answer => answer.expect("a pod that ends"),
        }
    })
    .await;
}

async fn remove(client: &Client, pod: &Pod) -> Result<(), kube::Error> {
    let now = DeleteParams::default().grace_period(0);
    let pods = of_namespace(client, pod);
    pods.delete(&pod.name_any(), &now).await.map(drop)
}

fn of_namespace(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default())
}

/// A kubelet reads a pod before each write of its status. It writes that the containers wait, that they have
/// ended, and the phase.
async fn write_statuses(client: &Client, pod: &Pod) -> Result<(), kube::Error> {
    let (pods, name) = (of_namespace(client, pod), pod.name_any());
    let waiting = |_: &Container, _| json!({"waiting": {"reason": "ContainerCreating"}});
    let ended = |it: &Container, relay| {
        let now = Timestamp::now();
        json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now,
            "finishedAt": now, "message": message(pod, relay && !is_runner(it))}})
    };
    for status in [
        status(pod, "Pending", waiting),
        status(pod, "Pending", ended),
        status(pod, "Succeeded", ended),
    ] {
        pods.get(&name).await?;
        // Another pod may have the name by now.
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid()}, "status": status}));
        let params = PatchParams::default();
        pods.patch_status(&name, &params, &patch).await?;
    }
    Ok(())
}

fn is_runner(container: &Container) -> bool {
    container.name == names::RUNNER_CONTAINER
}

/// The status of a pod all of whose containers are in this state.
fn status(pod: &Pod, phase: &str, state: impl Fn(&Container, bool) -> Value) -> Value {
    let spec = pod.spec.clone().unwrap_or_default();
    let relay = spec.containers.iter().any(is_runner);
    let all = |containers: Vec<Container>| {
        let all = containers.iter().map(|it| {
            json!({"name": it.name, "image": it.image, "imageID": "simulated", "ready": false, "restartCount": 0,
                "state": state(it, relay)})
        });
        all.collect::<Vec<_>>()
    };
    json!({
        "phase": phase, "startTime": Timestamp::now(),
        "initContainerStatuses": all(spec.init_containers.unwrap_or_default()),
        "containerStatuses": all(spec.containers),
    })
}

/// The last words of a container: a sweep's report, a relay step's record, or none.
fn message(pod: &Pod, of_relay_step: bool) -> String {
    if pod.labels().contains_key(names::SWEEP_LABEL) {
        return json!({"failed": [], "error": ""}).to_string();
    }
    if !of_relay_step {
        return String::new();
    }
    let started = Duration::ZERO;
    let record = Record {
        up: SystemTime::now(),
        stage: Stage::Ended {
            ended: started,
            end: End::Completed { started },
            message: String::new(),
            outputs: Some(step_runner::outputs::Outputs::default()),
        },
        earlier: Vec::new(),
    };
    record.to_string()
}
