use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Mutex;

use crate::{Inspector, eventually};

/// Held by a test while it kills operators, so that those tests do not disturb each other's counts.
/// Other tests go on meanwhile: nothing that they prove may depend on an operator living long.
pub static DISRUPTIVE: Mutex<()> = Mutex::const_new(());

const NAMESPACE: &str = "kubeci-system";

/// One of kubeci's operators, as it is installed.
#[derive(Clone, Copy)]
pub enum Operator {
    Workflow,
    Workplan,
}

impl Operator {
    /// The name of its Deployment and its Lease.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workflow => "workflow-operator",
            Self::Workplan => "workplan-operator",
        }
    }

    /// The name of the pod that leads.
    pub async fn leader(self, client: &Client) -> String {
        let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
        eventually(&format!("{} has a leader", self.name()), async || {
            let lease = leases
                .get(self.name())
                .await
                .map_err(|error| error.to_string())?;
            let holder = lease.spec.and_then(|spec| spec.holder_identity);
            holder
                .filter(|it| !it.is_empty())
                .ok_or_else(|| "no holder".to_owned())
        })
        .await
    }

    /// All its pods.
    pub async fn pods(self, client: &Client) -> Vec<Pod> {
        let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
        let label = format!("app.kubernetes.io/name={}", self.name());
        let list = pods.list(&ListParams::default().labels(&label)).await;
        list.expect("the operator's pods").items
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
        if let Some(pod) = self
            .pods(client)
            .await
            .iter()
            .find(|pod| pod.name_any() == leader)
        {
            self.kill_pod(client, pod).await;
        }
        leader
    }

    async fn kill_pod(self, client: &Client, pod: &Pod) {
        let (Some(uid), Some(node)) = (
            pod.uid(),
            pod.spec.as_ref().and_then(|it| it.node_name.as_ref()),
        ) else {
            return;
        };
        let process = &self.name()[..15]; // as much as the kernel keeps of it
        let cgroup = uid.replace('-', "[-_]");
        let kill = format!(
            "for p in /proc/[0-9]*; do grep -qx {process} $p/comm && grep -q {cgroup} $p/cgroup && kill -9 ${{p#/proc/}}; done; true"
        );
        Inspector::get(client).await.node(node).sh(&kill).await;
    }
}
