use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{AttachParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::eventually;

const NAMESPACE: &str = "kubeci-e2e";

/// No command on a node takes as long.
const COMMAND_MAX: Duration = Duration::from_secs(40);

/// The folder of a Workplan on its node.
pub fn workspace_path(namespace: &str, workflow: &str, plan: &str) -> String {
    format!("/kubeci/{namespace}/{workflow}/{plan}")
}

/// One pod on each node that sees the node's processes and its `/kubeci`.
pub struct Inspector {
    shells: BTreeMap<String, Shell>,
}

/// A shell on one node.
pub struct Shell {
    pods: Api<Pod>,
    pod: String,
}

impl Inspector {
    /// The inspector of the cluster; the first caller of the process creates its pods.
    pub async fn get(client: &Client) -> Self {
        static CREATED: OnceCell<()> = OnceCell::const_new();
        let nodes = Api::<Node>::all(client.clone())
            .list(&ListParams::default())
            .await;
        let names: Vec<_> = nodes
            .expect("nodes")
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        CREATED.get_or_init(|| create(client, &names)).await;
        let shells = names.into_iter().map(|node| {
            let shell = Shell {
                pods: Api::namespaced(client.clone(), NAMESPACE),
                pod: pod_name(&node),
            };
            (node, shell)
        });
        Self {
            shells: shells.collect(),
        }
    }

    /// Creates the pods again that went with their node.
    pub async fn renew(client: &Client) {
        let inspector = Self::get(client).await;
        let names: Vec<_> = inspector.shells.into_keys().collect();
        create(client, &names).await;
    }

    /// A shell on every node.
    pub fn nodes(&self) -> impl Iterator<Item = &Shell> {
        self.shells.values()
    }

    /// Asserts that a path is gone from every node.
    pub async fn assert_gone(&self, path: &str) {
        for node in self.nodes() {
            assert!(!node.has(path).await, "{path} is still on its node");
        }
    }

    /// The shell on `node`.
    pub fn node(&self, node: &str) -> &Shell {
        self.shells
            .get(node)
            .unwrap_or_else(|| panic!("no node {node}"))
    }
}

fn pod_name(node: &str) -> String {
    format!("inspector-{node}")
}

async fn create(client: &Client, nodes: &[String]) {
    let server_side = PatchParams::apply("kubeci-e2e").force();
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let namespaces = Api::<Namespace>::all(client.clone());
    let applied = namespaces
        .patch(NAMESPACE, &server_side, &Patch::Apply(namespace))
        .await;
    applied.expect("a namespace for the inspector");
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    for node in nodes {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod_name(node)},
            "spec": {
                "nodeName": node, "hostPID": true, "terminationGracePeriodSeconds": 0,
                "tolerations": [{"operator": "Exists"}],
                "containers": [{
                    "name": "shell", "image": "busybox", "command": ["sleep", "2147483647"],
                    "securityContext": {"privileged": true},
                    "volumeMounts": [{"name": "kubeci", "mountPath": "/kubeci"}],
                }],
                "volumes": [{"name": "kubeci", "hostPath": {"path": "/kubeci", "type": "DirectoryOrCreate"}}],
            },
        });
        eventually("the inspector is created", async || {
            pods.patch(&pod_name(node), &server_side, &Patch::Apply(&pod))
                .await
        })
        .await;
    }
    for node in nodes {
        eventually("the inspector runs", async || {
            let pod = pods
                .get(&pod_name(node))
                .await
                .map_err(|error| error.to_string())?;
            let status = pod.status.unwrap_or_default();
            let ready = status
                .container_statuses
                .iter()
                .flatten()
                .all(|it| it.ready);
            if ready && status.phase.as_deref() == Some("Running") {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
    }
}

impl Shell {
    /// What a command prints, run by `sh` as root with the files of the node.
    pub async fn on_node(&self, command: &str) -> String {
        self.sh(&format!("nsenter -t 1 -m sh -c '{command}'")).await
    }

    /// Whether there is a file or folder of this path.
    pub async fn has(&self, path: &str) -> bool {
        let command = format!("ls -d {path} >/dev/null 2>&1 && echo yes || echo no");
        match self.sh(&command).await.trim() {
            "yes" => true,
            "no" => false,
            other => panic!("whether {path} exists: {other:?}"),
        }
    }

    /// What a command prints, run by `sh` as root among the node's processes.
    pub async fn sh(&self, command: &str) -> String {
        eventually("a command on the node", async || {
            // A command that is begun while the kubelet is restarted may never end.
            let attempt = timeout(COMMAND_MAX, self.try_sh(command)).await;
            let ended = attempt.map_err(|error| error.to_string())?;
            ended.map_err(|error| error.to_string())
        })
        .await
    }

    async fn try_sh(&self, command: &str) -> Result<String, kube::Error> {
        let params = AttachParams::default().stdout(true).stderr(false);
        let mut process = self
            .pods
            .exec(&self.pod, ["sh", "-c", command], &params)
            .await?;
        let mut output = String::new();
        if let Some(mut stdout) = process.stdout() {
            stdout
                .read_to_string(&mut output)
                .await
                .map_err(|error| kube::Error::Service(error.into()))?;
        }
        Ok(output)
    }
}
