use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, LogParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource, ResourceExt};
use kubeci_api::{Execution, Workflow, Workplan};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::RwLock;

use crate::{Operator, apply, create, eventually, manifests, outside, step};

/// The kubeconfig of the cluster under test.
///
/// # Panics
/// When `KUBECI_TEST_KUBECONFIG` is not set.
pub fn kubeconfig() -> String {
    std::env::var("KUBECI_TEST_KUBECONFIG").expect(
        "KUBECI_TEST_KUBECONFIG names the kubeconfig of a cluster with kubeci; `make e2e` sets it",
    )
}

/// A client for the cluster under test.
///
/// # Panics
/// When `KUBECI_TEST_KUBECONFIG` names no usable kubeconfig.
pub async fn client() -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig()).expect("a kubeconfig");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a kubeconfig");
    config.read_timeout = Some(Duration::from_mins(1));
    Client::try_from(config).expect("a client")
}

/// Held by each test while it runs, and by one that runs alone.
static RUNNING: RwLock<()> = RwLock::const_new(());

/// One test: a namespace of its own in the cluster.
#[derive(Clone)]
pub struct Test {
    pub client: Client,
    pub namespace: String,
    /// How the Workflows that the test applies are executed, where they do not say.
    pub execution: Option<Execution>,
}

/// Runs `body` in a new namespace named for the test, and deletes the namespace after it. When the body
/// panics, it first prints what is in the namespace.
///
/// # Panics
/// When the body does.
pub async fn run(name: &str, body: impl AsyncFnOnce(&Test)) {
    let _running = RUNNING.read().await;
    run_in(Test::new(name, None).await, body).await;
}

/// As [`run`], with the Workflows that the body applies executed so, where they do not say.
///
/// # Panics
/// When the body does.
pub async fn run_as(execution: Execution, name: &str, body: impl AsyncFnOnce(&Test)) {
    let _running = RUNNING.read().await;
    run_in(Test::new(name, Some(execution)).await, body).await;
}

/// As [`run_as`], while no other test runs and an operator has this environment variable.
///
/// # Panics
/// When the body does.
pub async fn run_alone(
    execution: Execution,
    name: &str,
    (operator, variable, value): (Operator, &str, &str),
    body: impl AsyncFnOnce(&Test),
) {
    let _alone = RUNNING.write().await;
    let test = Test::new(name, Some(execution)).await;
    let client = test.client.clone();
    operator.set_variable(&client, variable, Some(value)).await;
    let outcome = AssertUnwindSafe(run_in(test, body)).catch_unwind().await;
    operator.set_variable(&client, variable, None).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// As [`run`], while no other test runs.
///
/// # Panics
/// When the body does.
pub async fn run_by_itself(name: &str, body: impl AsyncFnOnce(&Test)) {
    let _alone = RUNNING.write().await;
    run_in(Test::new(name, None).await, body).await;
}

async fn run_in(test: Test, body: impl AsyncFnOnce(&Test)) {
    let outcome = AssertUnwindSafe(body(&test)).catch_unwind().await;
    if outcome.is_err() {
        test.describe().await;
    }
    test.delete().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `body` in the namespace `default`, which stays. When the body panics, it first prints what is there.
///
/// # Panics
/// When the body does.
pub async fn run_in_default(body: impl AsyncFnOnce(&Test)) {
    let _running = RUNNING.read().await;
    let test = Test {
        client: client().await,
        namespace: "default".to_owned(),
        execution: None,
    };
    if let Err(panic) = AssertUnwindSafe(body(&test)).catch_unwind().await {
        test.describe().await;
        std::panic::resume_unwind(panic);
    }
}

impl Test {
    async fn new(name: &str, execution: Option<Execution>) -> Self {
        let client = client().await;
        let suffix = match execution {
            None => "",
            Some(Execution::Pods) => "-pods",
            Some(Execution::Relay) => "-relay",
        };
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("e2e-{name}{suffix}-")),
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
            execution,
        };
        test.account_exists().await;
        test
    }

    pub(crate) async fn account_exists(&self) {
        let accounts = self.api::<ServiceAccount>();
        eventually("the default ServiceAccount", async || {
            accounts.get("default").await
        })
        .await;
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
        if let Err(error) = apply(&self.client, &self.namespace, &self.executed(yaml)).await {
            panic!("{error}\n{yaml}");
        }
    }

    /// Creates the objects of a manifest in the test's namespace, and says their names.
    pub async fn create(&self, yaml: &str) -> Vec<String> {
        match create(&self.client, &self.namespace, &self.executed(yaml)).await {
            Ok(created) => created.iter().map(ResourceExt::name_any).collect(),
            Err(error) => panic!("{error}\n{yaml}"),
        }
    }

    /// A manifest whose Workflows say how they are executed.
    fn executed(&self, yaml: &str) -> String {
        let objects = manifests(yaml).into_iter().map(|mut object| {
            let silent = object["kind"] == "Workflow" && object["spec"]["execution"].is_null();
            if let Some(execution) = self.execution.filter(|_| silent) {
                object["spec"]["execution"] = json!(execution);
            }
            object.to_string()
        });
        objects.collect::<Vec<_>>().join("\n---\n")
    }

    /// Deletes an object of the test's namespace.
    pub async fn delete_one<K>(&self, name: &str)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let deleted = self.api::<K>().delete(name, &DeleteParams::default()).await;
        deleted.unwrap_or_else(|error| panic!("{name} is not deleted: {error}"));
    }

    /// Waits until an object of the test's namespace is gone.
    pub async fn gone<K>(&self, name: &str)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let api = self.api::<K>();
        eventually(&format!("{name} is gone"), async || {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(object)) => Err(format!("{object:?}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// What a container printed.
    pub async fn log(&self, pod: &str, container: &str) -> String {
        let params = LogParams {
            container: Some(container.to_owned()),
            ..LogParams::default()
        };
        let log = self.api::<Pod>().logs(pod, &params).await;
        log.unwrap_or_else(|error| panic!("no log of {container} in {pod}: {error}"))
    }

    /// What a step of a Workplan has printed.
    pub async fn log_of(&self, plan: &Workplan, name: &str) -> String {
        let step = step(plan, name);
        let (pod, container) = (step.pod.expect("a pod"), step.container.expect("its name"));
        self.log(&pod, &container).await
    }

    async fn describe(&self) {
        eprintln!("namespace {}", self.namespace);
        for plan in self.list::<Workplan>().await {
            let labels = plan.labels();
            eprintln!("workplan {} {labels:?}: {:?}", plan.name_any(), plan.status);
        }
        for workflow in self.list::<Workflow>().await {
            eprintln!("workflow {}: {:?}", workflow.name_any(), workflow.status);
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
        outside::delete(self).await;
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let deleted = namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await;
        match deleted {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => eprintln!("namespace {} is left behind: {error}", self.namespace),
            Ok(_) => {}
        }
    }
}
