use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rand::RngExt;
use serde_json::json;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::sleep;

use crate::{Inspector, eventually};

/// The tests that disturb others. Most tests run at the same time: nothing that they prove may depend on an operator
/// or the API server living long.
pub static DISRUPTIVE: Disruption = Disruption(RwLock::const_new(()));

/// Parts the tests that disturb from each other, and from those that must not be disturbed.
pub struct Disruption(RwLock<()>);

impl Disruption {
    /// Held by a test while it kills operators, or takes a part of the cluster away.
    pub async fn lock(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().await
    }

    /// Held by a test while nobody else may.
    pub async fn undisturbed(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().await
    }
}

const NAMESPACE: &str = "kubeci-system";
const REPLICAS: usize = 2;

/// One of kubeci's operators, as it is installed.
#[derive(Clone, Copy)]
pub enum Operator {
    Workflow,
    Workplan,
}

impl Operator {
    /// The name of its Deployment.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workflow => "workflow-operator",
            Self::Workplan => "workplan-operator",
        }
    }

    /// The name of the pod that leads.
    pub async fn leader(self, client: &Client) -> String {
        self.lease_when(client, "has a holder", |lease| {
            lease.holder_identity.clone().filter(|it| !it.is_empty())
        })
        .await
    }

    /// The name of the pod that leads, once it is another than `previous`.
    pub async fn leader_after(self, client: &Client, previous: &str) -> String {
        self.lease_when(client, "has another holder", |lease| {
            let holder = lease.holder_identity.clone();
            holder.filter(|it| !it.is_empty() && it != previous)
        })
        .await
    }

    async fn lease_when<T>(
        self,
        client: &Client,
        what: &str,
        is: impl Fn(&LeaseSpec) -> Option<T>,
    ) -> T {
        let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
        let name = format!("kubeci-{}", self.name());
        eventually(&format!("the lease {name} {what}"), async || {
            let lease = leases.get(&name).await.map_err(|error| error.to_string())?;
            let spec = lease.spec.unwrap_or_default();
            is(&spec).ok_or_else(|| format!("{spec:?}"))
        })
        .await
    }

    /// All its pods.
    pub async fn pods(self, client: &Client) -> Vec<Pod> {
        let label = format!("app.kubernetes.io/name={}", self.name());
        let list = pods(client)
            .list(&ListParams::default().labels(&label))
            .await;
        list.expect("the operator's pods").items
    }

    /// How often each replica was restarted, by the names of their pods.
    pub async fn restarts(self, client: &Client) -> BTreeMap<String, i32> {
        let of_pod = |pod: &Pod| {
            let statuses = pod.status.iter().flat_map(|it| &it.container_statuses);
            statuses.flatten().map(|it| it.restart_count).sum()
        };
        let pods = self.pods(client).await;
        pods.iter().map(|it| (it.name_any(), of_pod(it))).collect()
    }

    /// Ends every replica's process with SIGKILL.
    pub async fn kill(self, client: &Client) {
        for pod in self.pods(client).await {
            self.kill_pod(client, &pod).await;
        }
    }

    /// Ends the leader's process with SIGKILL, and says in which pod it was.
    pub async fn kill_leader(self, client: &Client) -> String {
        let leader = self.leader(client).await;
        if let Ok(Some(pod)) = pods(client).get_opt(&leader).await {
            self.kill_pod(client, &pod).await;
        }
        leader
    }

    /// Ends the leader's process with SIGKILL and deletes its pod, so that only the other replica can go on.
    pub async fn lose_leader(self, client: &Client) -> String {
        let leader = self.kill_leader(client).await;
        delete_pod(client, &leader).await;
        leader
    }

    /// Kills the leader at a random moment within `span`, and waits until the operator is at work again.
    pub async fn kill_leader_within(self, client: &Client, span: Duration) {
        let moment = rand::rng().random_range(Duration::ZERO..span);
        sleep(moment).await;
        self.kill_leader(client).await;
        self.works(client).await;
    }

    /// Waits until the operator renews its lease.
    pub async fn works(self, client: &Client) {
        let renewed = async |what: &str, after| {
            self.lease_when(client, what, |lease| {
                let renewed = lease.renew_time.as_ref().map(|it| it.0);
                renewed.filter(|_| renewed > after)
            })
            .await
        };
        let now = renewed("was renewed", None).await;
        renewed("is renewed", Some(now)).await;
    }

    /// Kills all replicas and keeps them away until [`Operator::come_back`].
    pub async fn go_away(self, client: &Client) {
        self.kill(client).await;
        self.scale(client, 0).await;
        for pod in self.pods(client).await {
            self.kill_pod(client, &pod).await;
            delete_pod(client, &pod.name_any()).await;
        }
        self.gone(client).await;
    }

    /// Asks all replicas to stop, and keeps them away until [`Operator::come_back`].
    pub async fn stop(self, client: &Client) {
        self.scale(client, 0).await;
        self.gone(client).await;
    }

    async fn gone(self, client: &Client) {
        eventually(&format!("{} is away", self.name()), async || {
            let names = self
                .pods(client)
                .await
                .iter()
                .map(ResourceExt::name_any)
                .collect::<Vec<_>>();
            if names.is_empty() { Ok(()) } else { Err(names) }
        })
        .await;
    }

    /// Undoes [`Operator::go_away`].
    pub async fn come_back(self, client: &Client) {
        self.scale(client, REPLICAS).await;
    }

    /// Sets an environment variable of all replicas or removes it, and waits until all of them have it and one leads.
    pub async fn set_variable(self, client: &Client, name: &str, value: Option<&str>) {
        let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
        let variable = match value {
            Some(value) => json!({"name": name, "value": value}),
            None => json!({"name": name, "$patch": "delete"}),
        };
        let container = json!({"name": "operator", "env": [variable]});
        let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let params = PatchParams::default();
        let patched = deployments
            .patch(self.name(), &params, &Patch::Strategic(patch))
            .await;
        let generation = patched.expect("a Deployment").metadata.generation;
        eventually(
            &format!("{} has {name}={value:?}", self.name()),
            async || {
                let deployment = deployments.get(self.name()).await;
                let deployment = deployment.map_err(|error| error.to_string())?;
                let status = deployment.status.unwrap_or_default();
                let replicas = i32::try_from(REPLICAS).ok();
                let rolled_out = status.observed_generation >= generation
                    && status.updated_replicas == replicas
                    && status.available_replicas == replicas
                    && self.pods(client).await.len() == REPLICAS;
                if rolled_out {
                    Ok(())
                } else {
                    Err(format!("{status:?}"))
                }
            },
        )
        .await;
        let pods = self.pods(client).await;
        self.lease_when(client, "has a current holder", |lease| {
            let holder = lease.holder_identity.as_ref()?;
            pods.iter().find(|pod| pod.name_any() == *holder).map(drop)
        })
        .await;
    }

    async fn scale(self, client: &Client, replicas: usize) {
        let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let params = PatchParams::default();
        let patched = deployments.patch_scale(self.name(), &params, &patch).await;
        patched.expect("a scaled Deployment");
    }

    /// The most memory that the leader's process has held so far, in bytes; none while there is no such process.
    pub async fn peak_memory(self, client: &Client) -> Option<u64> {
        let leader = self.leader(client).await;
        let pod = pods(client).get_opt(&leader).await.ok()??;
        let printed = self
            .on_process(client, &pod, "grep VmHWM $p/status")
            .await?;
        let kibibytes = printed.split_whitespace().nth(1)?.parse::<u64>().ok()?;
        Some(kibibytes * 1024)
    }

    async fn kill_pod(self, client: &Client, pod: &Pod) {
        self.on_process(client, pod, "kill -9 ${p#/proc/}").await;
    }

    /// What a command prints on the node of a pod, with `$p` for the folder in `/proc` of the pod's process.
    async fn on_process(self, client: &Client, pod: &Pod, command: &str) -> Option<String> {
        let node = pod.spec.as_ref().and_then(|it| it.node_name.as_ref());
        let (uid, node) = (pod.uid()?, node?);
        let process = &self.name()[..15]; // as much as the kernel keeps of it
        let cgroup = uid.replace('-', "[-_]");
        let each = format!(
            "for p in /proc/[0-9]*; do grep -qx {process} $p/comm && grep -q {cgroup} $p/cgroup && {command}; done; true"
        );
        Some(Inspector::get(client).await.node(node).sh(&each).await)
    }
}

fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn delete_pod(client: &Client, name: &str) {
    let now = DeleteParams::default().grace_period(0);
    match pods(client).delete(name, &now).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        deleted => drop(deleted.expect("the pod is deleted")),
    }
}
