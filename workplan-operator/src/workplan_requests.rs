//! The requests about one Workplan and its pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ObjectMeta, PartialObjectMeta, Request, Status};
use kube::{Api, Client, Resource, ResourceExt};
use kubeci_api::names::{WORKFLOW_LABEL, WORKPLAN_LABEL, WORKSPACE_FINALIZER};
use kubeci_api::{Workflow, Workplan, WorkplanSpec, WorkplanStatus};
use kubeci_compiler::Limits;
use kubeci_controller::api_error::{self, message};
use kubeci_controller::request_metadata;
use serde_json::{Value, json};

use crate::observed::{ObservedPod, STOPPED_SECONDS, by_task};
use crate::pod_builder;
use crate::refusal::{Refusal, blames_pod_level, exceeds_quota};
use crate::status_change::StatusChange;
use crate::workspace::workflow;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{action}: {}", message(source))]
    Request {
        action: &'static str,
        source: Box<kube::Error>,
    },
    #[error("the status cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the operator stops")]
    Stopping,
}

impl RequestError {
    /// An error of a request; `action` is what failed, as in `creating a pod`.
    pub fn of(action: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Request {
            action,
            source: Box::new(source),
        }
    }

    /// Whether the object was changed by another client. The watch returns the change soon.
    pub fn is_conflict(&self) -> bool {
        self.source().is_some_and(api_error::is_conflict)
    }

    pub fn is_not_found(&self) -> bool {
        self.source().is_some_and(api_error::is_not_found)
    }

    /// Whether an object is larger than can be stored. A retry does not help.
    pub fn is_too_large(&self) -> bool {
        let status = self.source().and_then(api_error::status);
        status.is_some_and(api_error::is_too_large)
    }

    fn source(&self) -> Option<&kube::Error> {
        match self {
            Self::Request { source, .. } => Some(source),
            Self::Json(_) | Self::Stopping => None,
        }
    }
}

/// The result of the creation of a pod.
pub enum Created {
    Yes,
    /// A pod of this name exists.
    Exists(Box<ObservedPod>),
    Refused(Refusal),
}

/// Sends requests about one Workplan.
pub struct WorkplanRequests {
    client: Client,
    workplans: Api<PartialObjectMeta<Workplan>>,
    pods: Api<Pod>,
    quotas: Api<ResourceQuota>,
}

impl WorkplanRequests {
    pub fn new(client: &Client, workplan: &Workplan) -> Self {
        let namespace = workplan.namespace().unwrap_or_default();
        Self {
            client: client.clone(),
            workplans: Api::namespaced(client.clone(), &namespace),
            pods: Api::namespaced(client.clone(), &namespace),
            quotas: Api::namespaced(client.clone(), &namespace),
        }
    }

    pub async fn create_pod(
        &self,
        workplan: &Workplan,
        pod: &Pod,
        limits: &Limits,
    ) -> Result<Created, RequestError> {
        let mut created = self.pods.create(&PostParams::default(), pod).await;
        if let Err(kube::Error::Api(status)) = &created
            && let Some(pod) = self.with_less_room(pod, status).await?
        {
            created = self.pods.create(&PostParams::default(), &pod).await;
        }
        match created {
            Ok(_) => Ok(Created::Yes),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let existing = self.pods.get_opt(&pod.name_any()).await;
                let existing = existing.map_err(RequestError::of("getting a pod"))?;
                let observed =
                    existing.map(|existing| Box::new(ObservedPod::of(&existing, workplan)));
                Ok(observed.map_or(Created::Yes, Created::Exists))
            }
            Err(kube::Error::Api(status)) => {
                match Refusal::of(&status, || pod_builder::is_admitted(pod, limits)) {
                    Some(refusal) => Ok(Created::Refused(refusal)),
                    None => Err(RequestError::of("creating a pod")(kube::Error::Api(status))),
                }
            }
            Err(error) => Err(RequestError::of("creating a pod")(error)),
        }
    }

    /// A pod that was refused for the room that it reserves, with as much room as is allowed.
    async fn with_less_room(
        &self,
        pod: &Pod,
        status: &Status,
    ) -> Result<Option<Pod>, RequestError> {
        if !pod_builder::holds_room(pod) {
            Ok(None)
        } else if blames_pod_level(status) {
            Ok(Some(pod_builder::without_room(pod)))
        } else if exceeds_quota(status) {
            let quotas = self.quotas.list(&ListParams::default()).await;
            let quotas = quotas.map_err(RequestError::of("listing quotas"))?;
            Ok(pod_builder::with_room_within(pod, &quotas.items))
        } else {
            Ok(None)
        }
    }

    /// All pods of the Workplan, by the index of their task.
    pub async fn list_pods(
        &self,
        workplan: &Workplan,
    ) -> Result<BTreeMap<usize, ObservedPod>, RequestError> {
        let of_workplan = format!("{WORKPLAN_LABEL}={}", workplan.name_any());
        let pods = self
            .pods
            .list(&ListParams::default().labels(&of_workplan))
            .await;
        let pods = pods.map_err(RequestError::of("listing pods"))?.items;
        let observed = pods.iter().map(|pod| ObservedPod::of(pod, workplan));
        Ok(by_task(workplan, observed))
    }

    /// Deletes a pod. A pod that was observed without a node is deleted only if it still has none.
    pub async fn delete_pod(&self, pod: &ObservedPod) -> Result<(), RequestError> {
        let unplaced = pod.node.is_none().then(|| pod.version.clone()).flatten();
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: pod.uid.clone(),
                resource_version: unplaced,
            }),
            ..DeleteParams::default()
        };
        match self.pods.delete(&pod.name, &params).await {
            Err(error) if !api_error::is_gone(&error) => {
                Err(RequestError::of("deleting a pod")(error))
            }
            _ => Ok(()),
        }
    }

    /// Stops the containers of a pod. The kubelet sends SIGTERM and, after the grace period, SIGKILL.
    pub async fn stop_pod(&self, pod: &ObservedPod) -> Result<(), RequestError> {
        let patch = json!({
            "metadata": {"uid": pod.uid},
            "spec": {"activeDeadlineSeconds": STOPPED_SECONDS},
        });
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        match self.pods.patch_metadata(&pod.name, &params, &patch).await {
            Err(error) if !api_error::is_gone(&error) => {
                Err(RequestError::of("stopping a pod")(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes a change of the status, if the Workplan is unchanged.
    pub async fn write_status(
        &self,
        workplan: &Workplan,
        before: &WorkplanStatus,
        change: &StatusChange,
    ) -> Result<ObjectMeta, RequestError> {
        const ACTION: &str = "writing the status";
        let unchanged = if_unchanged(workplan, change.operations(before)?)?;
        let path = Workplan::url_path(&(), workplan.metadata.namespace.as_deref());
        let (name, params) = (workplan.name_any(), PatchParams::default());
        let request = Request::new(path).patch_subresource("status", &name, &params, &unchanged);
        let request =
            request.map_err(|error| RequestError::of(ACTION)(kube::Error::BuildRequest(error)))?;
        let written = request_metadata(&self.client, request).await;
        written.map_err(RequestError::of(ACTION))
    }

    pub async fn add_finalizer(&self, workplan: &Workplan) -> Result<ObjectMeta, RequestError> {
        let mut finalizers = workplan.finalizers().to_vec();
        finalizers.push(WORKSPACE_FINALIZER.into());
        self.write_finalizers(workplan, &finalizers).await
    }

    pub async fn remove_finalizer(&self, workplan: &Workplan) -> Result<ObjectMeta, RequestError> {
        let mut finalizers = workplan.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != WORKSPACE_FINALIZER);
        self.write_finalizers(workplan, &finalizers).await
    }

    /// Sets the spec of a rerun. The Workflow of the other Workplan becomes its owner.
    pub async fn set_spec(
        &self,
        workplan: &Workplan,
        spec: &WorkplanSpec,
        origin: &Workplan,
    ) -> Result<ObjectMeta, RequestError> {
        let mut labels = workplan.labels().clone();
        labels.extend(workflow(origin).map(|name| (WORKFLOW_LABEL.to_owned(), name.to_owned())));
        let operations = vec![
            json!({"op": "add", "path": "/metadata/labels", "value": labels}),
            json!({"op": "add", "path": "/metadata/ownerReferences", "value": owners(workplan, origin)}),
            json!({"op": "replace", "path": "/spec", "value": spec}),
        ];
        let patch = if_unchanged(workplan, operations)?;
        let (name, params) = (workplan.name_any(), PatchParams::default());
        let written = self.workplans.patch(&name, &params, &patch).await;
        written
            .map(|it| it.metadata)
            .map_err(RequestError::of("setting the tasks of a rerun"))
    }

    async fn write_finalizers(
        &self,
        workplan: &Workplan,
        finalizers: &[String],
    ) -> Result<ObjectMeta, RequestError> {
        let set = json!({"op": "add", "path": "/metadata/finalizers", "value": finalizers});
        let patch = if_unchanged(workplan, vec![set])?;
        let (name, params) = (workplan.name_any(), PatchParams::default());
        let written = self.workplans.patch(&name, &params, &patch).await;
        written
            .map(|it| it.metadata)
            .map_err(RequestError::of("writing the finalizers"))
    }
}

/// The Workplan of this name, if it exists.
pub async fn workplan(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Box<Workplan>>, RequestError> {
    let workplans: Api<Workplan> = Api::namespaced(client.clone(), namespace);
    let found = workplans.get_opt(name).await;
    let found = found.map_err(RequestError::of("getting the Workplan to run again"))?;
    Ok(found.map(Box::new))
}

/// The node of this name, if it exists.
pub async fn node(client: &Client, name: &str) -> Result<Option<Node>, RequestError> {
    let nodes: Api<Node> = Api::all(client.clone());
    nodes
        .get_opt(name)
        .await
        .map_err(RequestError::of("getting a node"))
}

/// The owners of a Workplan, and the Workflow that owns the other one.
fn owners(workplan: &Workplan, origin: &Workplan) -> Vec<OwnerReference> {
    let mut owners = workplan.owner_references().to_vec();
    let is_workflow = |owner: &&OwnerReference| owner.kind == Workflow::kind(&());
    let workflows = origin.owner_references().iter().filter(is_workflow);
    for workflow in workflows {
        let is_controlled = owners.iter().any(|owner| owner.controller == Some(true));
        if owners.iter().all(|owner| owner.uid != workflow.uid) {
            owners.push(OwnerReference {
                controller: workflow.controller.filter(|_| !is_controlled),
                // It needs no right on the finalizers of Workflows.
                block_owner_deletion: None,
                ..workflow.clone()
            });
        }
    }
    owners
}

/// A patch that is rejected with a conflict if the object has changed.
fn if_unchanged(
    workplan: &Workplan,
    mut operations: Vec<Value>,
) -> Result<Patch<Workplan>, RequestError> {
    let version = workplan.resource_version();
    operations.insert(
        0,
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}),
    );
    Ok(Patch::Json(serde_json::from_value(operations.into())?))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kubeci_controller::testing::{Answer, NO_ANSWER, client, rejected};
    use rstest::rstest;

    use super::*;
    use crate::testing::workplan;

    /// Requests to an API server with these answers, and what it received.
    fn requests(answers: Vec<Answer>) -> (WorkplanRequests, Workplan, Arc<Mutex<Vec<String>>>) {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (received, mut answers) = (Arc::clone(&log), answers.into_iter());
        let client = client(move |request| {
            let resource = request.path.rsplit('/').next().unwrap_or_default();
            let line = format!("{} {resource}", request.method);
            received.lock().unwrap().push(line);
            answers.next().unwrap_or((404, Value::Null))
        });
        let mut plan = workplan(kubeci_api::Order::Linear, &["| a"]);
        plan.metadata.resource_version = Some("7".into());
        (WorkplanRequests::new(&client, &plan), plan, log)
    }

    fn stored_pod() -> Value {
        json!({"metadata": {"name": "plan-0", "namespace": "ns", "uid": "pod"}, "spec": {"containers": []}})
    }

    fn new_pod(workplan: &Workplan) -> Pod {
        let first = crate::testing::pod::FIRST;
        pod_builder::build(workplan, 0, |_| true, first)
    }

    async fn create(answers: Vec<Answer>) -> (Result<Created, RequestError>, Vec<String>) {
        let (requests, workplan, log) = requests(answers);
        let pod = new_pod(&workplan);
        let created = requests.create_pod(&workplan, &pod, &Limits::NONE).await;
        let log = log.lock().unwrap().clone();
        (created, log)
    }

    #[tokio::test]
    async fn existing_pod_is_read() {
        let exists = rejected(409, "AlreadyExists", "it exists");
        let (created, log) = create(vec![exists, (200, stored_pod())]).await;
        let Ok(Created::Exists(pod)) = created else {
            panic!("{log:?}");
        };
        assert_eq!(pod.uid.as_deref(), Some("pod"));
        assert_eq!(log, ["POST pods", "GET plan-0"]);
    }

    #[tokio::test]
    async fn pod_deleted_after_the_conflict_counts_as_created() {
        let exists = rejected(409, "AlreadyExists", "it exists");
        let (created, _) = create(vec![exists, (404, Value::Null)]).await;
        assert!(matches!(created, Ok(Created::Yes)));
    }

    #[rstest]
    #[case::server_error(500)]
    #[case::timeout(504)]
    #[case::no_answer(NO_ANSWER)]
    #[tokio::test]
    async fn failed_creation_is_no_refusal(#[case] code: u16) {
        let (created, log) = create(vec![(code, Value::Null)]).await;
        let error = created.err().unwrap().to_string();
        assert!(error.starts_with("creating a pod: "), "{error}");
        assert_eq!(log.len(), 1, "{log:?}");
    }

    #[tokio::test]
    async fn exceeded_quota_is_a_refusal() {
        let quota = rejected(403, "Forbidden", "pods is forbidden: exceeded quota: q");
        let (created, _) = create(vec![quota]).await;
        let Ok(Created::Refused(refusal)) = created else {
            panic!("not refused");
        };
        assert_eq!(refusal.reason, "QuotaExceeded");
    }

    #[tokio::test]
    async fn pod_with_room_is_created_within_the_quota() {
        let quota = rejected(403, "Forbidden", "pods is forbidden: exceeded quota: q");
        let quotas = json!({"metadata": {}, "items": [{"spec": {"hard": {"requests.cpu": "1"}}}]});
        let (requests, workplan, log) = requests(vec![quota, (200, quotas), (201, stored_pod())]);
        let mut pod = new_pod(&workplan);
        let room = json!({"requests": {"cpu": "4"}});
        pod.spec.as_mut().unwrap().resources = serde_json::from_value(room).unwrap();
        let created = requests.create_pod(&workplan, &pod, &Limits::NONE).await;
        assert!(matches!(created, Ok(Created::Yes)));
        let log = log.lock().unwrap();
        assert_eq!(*log, ["POST pods", "GET resourcequotas", "POST pods"]);
    }

    #[rstest]
    #[case::deleted(200, true)]
    #[case::gone(404, true)]
    #[case::replaced(409, true)]
    #[case::server_error(500, false)]
    #[case::no_answer(NO_ANSWER, false)]
    #[tokio::test]
    async fn failed_deletion_is_an_error(#[case] code: u16, #[case] deleted: bool) {
        let value = if code == 200 {
            stored_pod()
        } else {
            Value::Null
        };
        let (requests, workplan, _) = requests(vec![(code, value)]);
        let pod: Pod = serde_json::from_value(stored_pod()).unwrap();
        let result = requests.delete_pod(&ObservedPod::of(&pod, &workplan)).await;
        assert_eq!(result.is_ok(), deleted);
    }

    #[rstest]
    #[case::stopped(200, true)]
    #[case::gone(404, true)]
    #[case::replaced(409, true)]
    #[case::server_error(500, false)]
    #[tokio::test]
    async fn pod_is_stopped_by_its_deadline(#[case] code: u16, #[case] succeeds: bool) {
        let patch = Arc::new(Mutex::new(Value::Null));
        let received = Arc::clone(&patch);
        let client = client(move |request| {
            *received.lock().unwrap() = request.body.clone();
            (
                code,
                if code == 200 {
                    stored_pod()
                } else {
                    Value::Null
                },
            )
        });
        let plan = workplan(kubeci_api::Order::Linear, &["| a"]);
        let pod: Pod = serde_json::from_value(stored_pod()).unwrap();
        let pod = ObservedPod::of(&pod, &plan);
        let result = WorkplanRequests::new(&client, &plan).stop_pod(&pod).await;
        assert_eq!(result.is_ok(), succeeds);
        let expected = json!({"metadata": {"uid": "pod"}, "spec": {"activeDeadlineSeconds": 1}});
        assert_eq!(*patch.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn patch_is_bound_to_the_resource_version() {
        let patch = Arc::new(Mutex::new(Value::Null));
        let received = Arc::clone(&patch);
        let client = client(move |request| {
            *received.lock().unwrap() = request.body.clone();
            (409, Value::Null)
        });
        let mut plan = workplan(kubeci_api::Order::Linear, &["| a"]);
        plan.metadata.resource_version = Some("7".into());
        let requests = WorkplanRequests::new(&client, &plan);
        let error = requests.remove_finalizer(&plan).await.err().unwrap();
        assert!(error.is_conflict() && !error.is_not_found() && !error.is_too_large());
        let patch = patch.lock().unwrap();
        assert_eq!(patch[0]["path"], "/metadata/resourceVersion");
        assert_eq!(patch[0]["value"], "7");
        assert_eq!(patch[1]["value"], json!([]));
    }
}
