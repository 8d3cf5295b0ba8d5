use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource, ResourceExt};
use kubeci_api::{Phase, Workflow, Workplan, names};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{apply, eventually, workspace_path};

/// A client for the cluster under test.
///
/// # Panics
/// When `KUBECI_TEST_KUBECONFIG` names no usable kubeconfig.
pub async fn client() -> Client {
    let path = std::env::var("KUBECI_TEST_KUBECONFIG").expect(
        "KUBECI_TEST_KUBECONFIG names the kubeconfig of a cluster with kubeci; `make e2e` sets it",
    );
    let kubeconfig = Kubeconfig::read_from(path).expect("a kubeconfig");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a kubeconfig");
    config.read_timeout = Some(Duration::from_secs(60));
    Client::try_from(config).expect("a client")
}

/// One test: a namespace of its own in the cluster.
#[derive(Clone)]
pub struct Test {
    pub client: Client,
    pub namespace: String,
}

/// Runs `body` in a new namespace named for the test, and deletes the namespace after it. When the body
/// panics, it first prints what is in the namespace.
///
/// # Panics
/// When the body does.
pub async fn run(name: &str, body: impl AsyncFnOnce(&Test)) {
    let test = Test::new(name).await;
    let outcome = AssertUnwindSafe(body(&test)).catch_unwind().await;
    if outcome.is_err() {
        test.describe().await;
    }
    test.delete().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Test {
    async fn new(name: &str) -> Self {
        let client = client().await;
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("e2e-{name}-")),
                labels: Some([("kubeci-e2e".to_owned(), name.to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let created = Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .expect("a namespace");
        let test = Self {
            client,
            namespace: created.name_any(),
        };
        let accounts = test.api::<ServiceAccount>();
        eventually("the default ServiceAccount", async || {
            accounts.get("default").await
        })
        .await;
        test
    }

    /// The objects of one kind in the test's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// All objects of one kind in the test's namespace.
    pub async fn list<K>(&self) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let list = self.api::<K>().list(&ListParams::default()).await;
        list.expect("a list").items
    }

    /// Applies a manifest into the test's namespace.
    pub async fn apply(&self, yaml: &str) {
        if let Err(error) = apply(&self.client, &self.namespace, yaml).await {
            panic!("{error}\n{yaml}");
        }
    }

    /// Creates the ConfigMap, or gives it this content.
    pub async fn config_map(&self, name: &str, data: &str) -> ConfigMap {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"data": data},
        });
        self.api::<ConfigMap>()
            .patch(
                name,
                &PatchParams::apply("kubeci-e2e").force(),
                &Patch::Apply(object),
            )
            .await
            .expect("a ConfigMap")
    }

    /// Deletes a ConfigMap.
    pub async fn delete_config_map(&self, name: &str) {
        let config_maps = self.api::<ConfigMap>();
        let deleted = config_maps.delete(name, &DeleteParams::default()).await;
        deleted.expect("a deleted ConfigMap");
    }

    /// The Workplans of a Workflow, oldest first.
    pub async fn workplans(&self, workflow: &str) -> Vec<Workplan> {
        let of_workflow =
            ListParams::default().labels(&format!("{}={workflow}", names::WORKFLOW_LABEL));
        let list = self.api::<Workplan>().list(&of_workflow).await;
        let mut items = list.expect("a list of Workplans").items;
        items.sort_by_key(|plan| (plan.creation_timestamp(), plan.resource_version()));
        items
    }

    /// The one Workplan of a Workflow, once it is there.
    pub async fn workplan(&self, workflow: &str) -> Workplan {
        self.workplans_reach(workflow, 1).await.remove(0)
    }

    /// The Workplans of a Workflow, once there are `count` of them; more is a failure.
    pub async fn workplans_reach(&self, workflow: &str, count: usize) -> Vec<Workplan> {
        let plans = eventually(&format!("{count} Workplans of {workflow}"), async || {
            let plans = self.workplans(workflow).await;
            if plans.len() >= count {
                Ok(plans)
            } else {
                Err(plans.len())
            }
        })
        .await;
        assert_eq!(
            plans.len(),
            count,
            "one Workplan for each event of {workflow}"
        );
        plans
    }

    /// The Workflow, once it says that it is Ready as it now stands.
    pub async fn workflow_ready(&self, workflow: &str) -> Workflow {
        let api = self.api::<Workflow>();
        eventually(&format!("Workflow {workflow} is Ready"), async || {
            let object = api.get(workflow).await.map_err(|error| error.to_string())?;
            let current = object.metadata.generation;
            let status = object.status.clone().unwrap_or_default();
            let ready = status.conditions.iter().any(|it| {
                it.type_ == "Ready" && it.status == "True" && it.observed_generation == current
            });
            if ready {
                Ok(object)
            } else {
                Err(format!("{:?}", status.conditions))
            }
        })
        .await
    }

    /// The condition of a Workflow, once `status` is what it says.
    pub async fn workflow_condition(
        &self,
        workflow: &str,
        type_: &str,
        status: &str,
    ) -> (String, String) {
        let api = self.api::<Workflow>();
        eventually(
            &format!("{type_}={status} of Workflow {workflow}"),
            async || {
                let object = api.get(workflow).await.map_err(|error| error.to_string())?;
                let conditions = object.status.unwrap_or_default().conditions;
                let found = conditions
                    .iter()
                    .find(|it| it.type_ == type_ && it.status == status);
                found
                    .map(|it| (it.reason.clone(), it.message.clone()))
                    .ok_or_else(|| format!("{conditions:?}"))
            },
        )
        .await
    }

    /// A Workplan, once `is` holds of it.
    pub async fn workplan_when(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&Workplan) -> bool,
    ) -> Workplan {
        let api = self.api::<Workplan>();
        eventually(&format!("Workplan {name} {what}"), async || {
            let plan = api.get(name).await.map_err(|error| error.to_string())?;
            if is(&plan) {
                Ok(plan)
            } else {
                Err(format!("{:?}", plan.status))
            }
        })
        .await
    }

    /// A Workplan, once it has ended in `phase`; another end is a failure.
    pub async fn ends(&self, name: &str, phase: Phase) -> Workplan {
        let plan = self
            .workplan_when(name, "has ended", |plan| {
                plan.status
                    .as_ref()
                    .and_then(|it| it.phase)
                    .is_some_and(Phase::is_final)
            })
            .await;
        let status = plan.status.clone().unwrap_or_default();
        assert_eq!(status.phase, Some(phase), "{name}: {status:?}");
        plan
    }

    /// Waits until the operator has let go of a Workplan: its folder is said to be gone and its finalizer is.
    pub async fn cleaned(&self, name: &str) -> Workplan {
        self.workplan_when(name, "is cleaned up", |plan| {
            let conditions = plan.status.iter().flat_map(|it| &it.conditions);
            let cleaned = conditions
                .into_iter()
                .any(|it| it.type_ == "WorkspaceCleaned" && it.status == "True");
            cleaned && plan.finalizers().is_empty()
        })
        .await
    }

    /// Asserts that the folder of a Workplan of `workflow` is gone from every node.
    pub async fn assert_folder_gone(&self, workflow: &str, plan: &str) {
        let inspector = crate::Inspector::get(&self.client).await;
        for node in inspector.nodes() {
            let path = workspace_path(&self.namespace, workflow, plan);
            let listing = node.sh(&format!("ls -d {path} 2>&1 || true")).await;
            assert!(
                listing.contains("No such file"),
                "{path} is still on its node: {listing}"
            );
        }
    }

    async fn describe(&self) {
        for plan in self.list::<Workplan>().await {
            eprintln!("workplan {}: {:?}", plan.name_any(), plan.status);
        }
        for workflow in self.list::<Workflow>().await {
            let conditions = workflow.status.unwrap_or_default().conditions;
            eprintln!(
                "workflow {}: {conditions:?}",
                workflow.metadata.name.unwrap_or_default()
            );
        }
        for pod in self.list::<Pod>().await {
            eprintln!("pod {}: {:?}", pod.name_any(), pod.status);
        }
        for event in self.list::<Event>().await {
            let object = event.involved_object.name.unwrap_or_default();
            eprintln!("event {object}: {:?} {:?}", event.reason, event.message);
        }
    }

    async fn delete(&self) {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let deleted = namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await;
        if let Err(error) = deleted {
            eprintln!("namespace {} is left behind: {error}", self.namespace);
        }
    }
}
