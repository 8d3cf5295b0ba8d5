//! The requests about one Workplan.

use std::collections::BTreeMap;

use http::HeaderValue;
use http::header::ACCEPT;
use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ObjectMeta, PartialObjectMeta, Request, Status};
use kube::{Api, Client, Resource, ResourceExt};
use kubeci_api::names::{TASK_LABEL, WORKPLAN_LABEL, WORKSPACE_FINALIZER};
use kubeci_api::{Workplan, WorkplanStatus};
use kubeci_compiler::Limits;
use kubeci_runtime::is_too_large;
use serde_json::{Value, json};

use super::change::Change;
use crate::observed::ObservedPod;
use crate::pod_builder;
use crate::refusal::{Refusal, blames_pod_level, exceeds_quota};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}: {}", said(source))]
    Request {
        doing: &'static str,
        source: Box<kube::Error>,
    },
    #[error("the status cannot be written as JSON: {0}")]
    Status(#[from] serde_json::Error),
    #[error("the operator stops")]
    Closed,
}

impl Error {
    /// Whether somebody else was faster; the watch shows in a moment what they wrote.
    pub fn is_conflict(&self) -> bool {
        let Self::Request { source, .. } = self else {
            return false;
        };
        matches!(&**source, kube::Error::Api(status) if status.is_conflict())
    }

    /// Whether what was to be written is larger than what can be stored; trying again is in vain.
    pub fn is_too_large(&self) -> bool {
        let Self::Request { source, .. } = self else {
            return false;
        };
        matches!(&**source, kube::Error::Api(status) if is_too_large(status))
    }

    pub fn is_not_found(&self) -> bool {
        let Self::Request { source, .. } = self else {
            return false;
        };
        matches!(&**source, kube::Error::Api(status) if status.is_not_found())
    }
}

/// What the API server says of a request that failed, without its bookkeeping.
pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

pub fn failed(doing: &'static str) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Request {
        doing,
        source: Box::new(source),
    }
}

/// What became of a pod's creation.
pub enum Created {
    Yes,
    /// There is one of its name.
    Exists(Box<ObservedPod>),
    Refused(Refusal),
}

/// The API server sends nothing else back then: a Workplan may be large, and what was written is known.
const ONLY_METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Talks to the API server about one Workplan.
pub struct Requests {
    client: Client,
    workplans: Api<PartialObjectMeta<Workplan>>,
    pods: Api<Pod>,
    quotas: Api<ResourceQuota>,
}

impl Requests {
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
    ) -> Result<Created, Error> {
        let mut created = self.pods.create(&PostParams::default(), pod).await;
        if let Err(kube::Error::Api(status)) = &created
            && let Some(pod) = self.with_less_room(pod, status).await?
        {
            created = self.pods.create(&PostParams::default(), &pod).await;
        }
        match created {
            Ok(_) => Ok(Created::Yes),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = self.pods.get_opt(&pod.name_any()).await;
                let there = there.map_err(failed("getting a pod"))?;
                let facts = there.map(|there| Box::new(ObservedPod::of(&there, workplan)));
                Ok(facts.map_or(Created::Yes, Created::Exists))
            }
            Err(kube::Error::Api(status)) => {
                match Refusal::of(&status, || pod_builder::is_admitted(pod, limits)) {
                    Some(refusal) => Ok(Created::Refused(refusal)),
                    None => Err(failed("creating a pod")(kube::Error::Api(status))),
                }
            }
            Err(error) => Err(failed("creating a pod")(error)),
        }
    }

    /// A pod that was refused for the room that it holds for others, with as much as it may hold.
    async fn with_less_room(&self, pod: &Pod, status: &Status) -> Result<Option<Pod>, Error> {
        if !pod_builder::holds_room(pod) {
            Ok(None)
        } else if blames_pod_level(status) {
            Ok(Some(pod_builder::without_room(pod)))
        } else if exceeds_quota(status) {
            let quotas = self.quotas.list(&ListParams::default()).await;
            let quotas = quotas.map_err(failed("listing quotas"))?;
            Ok(pod_builder::with_room_within(pod, &quotas.items))
        } else {
            Ok(None)
        }
    }

    /// All pods of the Workplan that there are, by their tasks.
    pub async fn list_pods(
        &self,
        workplan: &Workplan,
    ) -> Result<BTreeMap<usize, ObservedPod>, Error> {
        let of_workplan = format!("{WORKPLAN_LABEL}={}", workplan.name_any());
        let pods = self
            .pods
            .list(&ListParams::default().labels(&of_workplan))
            .await;
        let pods = pods.map_err(failed("listing pods"))?.items;
        let facts = pods.iter().filter_map(|pod| {
            let task = pod.labels().get(TASK_LABEL)?.parse().ok()?;
            Some((task, ObservedPod::of(pod, workplan)))
        });
        Ok(facts.collect())
    }

    /// Deletes a pod. One that was not placed when it was seen is deleted only if it still is not.
    pub async fn delete_pod(&self, pod: &ObservedPod) -> Result<(), Error> {
        let unplaced = pod.node.is_none().then(|| pod.version.clone()).flatten();
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: pod.uid.clone(),
                resource_version: unplaced,
            }),
            ..DeleteParams::default()
        };
        match self.pods.delete(&pod.name, &params).await {
            Err(kube::Error::Api(status)) if !status.is_not_found() && !status.is_conflict() => {
                Err(failed("deleting a pod")(kube::Error::Api(status)))
            }
            _ => Ok(()),
        }
    }

    /// Writes what changes of the status, if the Workplan is still as it was seen.
    pub async fn write_status(
        &self,
        workplan: &Workplan,
        before: &WorkplanStatus,
        change: &Change,
    ) -> Result<ObjectMeta, Error> {
        const DOING: &str = "writing the status";
        let unchanged = if_unchanged(workplan, change.operations(before)?)?;
        let path = Workplan::url_path(&(), workplan.metadata.namespace.as_deref());
        let (name, params) = (workplan.name_any(), PatchParams::default());
        let request = Request::new(path).patch_subresource("status", &name, &params, &unchanged);
        let mut request =
            request.map_err(|error| failed(DOING)(kube::Error::BuildRequest(error)))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(ONLY_METADATA));
        let written = self
            .client
            .request::<PartialObjectMeta<Workplan>>(request)
            .await;
        written.map(|it| it.metadata).map_err(failed(DOING))
    }

    pub async fn add_finalizer(&self, workplan: &Workplan) -> Result<ObjectMeta, Error> {
        let mut finalizers = workplan.finalizers().to_vec();
        finalizers.push(WORKSPACE_FINALIZER.into());
        self.write_finalizers(workplan, &finalizers).await
    }

    pub async fn remove_finalizer(&self, workplan: &Workplan) -> Result<ObjectMeta, Error> {
        let mut finalizers = workplan.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != WORKSPACE_FINALIZER);
        self.write_finalizers(workplan, &finalizers).await
    }

    async fn write_finalizers(
        &self,
        workplan: &Workplan,
        finalizers: &[String],
    ) -> Result<ObjectMeta, Error> {
        let set = json!({"op": "add", "path": "/metadata/finalizers", "value": finalizers});
        let patch = if_unchanged(workplan, vec![set])?;
        let (name, params) = (workplan.name_any(), PatchParams::default());
        let written = self.workplans.patch(&name, &params, &patch).await;
        written
            .map(|it| it.metadata)
            .map_err(failed("writing the finalizers"))
    }
}

/// Whether there is a node of this name, and what it says of itself.
pub async fn node(client: &Client, name: &str) -> Result<Option<Node>, Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.get_opt(name).await.map_err(failed("getting a node"))
}

/// A patch that is refused with a conflict if the object was changed meanwhile.
fn if_unchanged(workplan: &Workplan, mut operations: Vec<Value>) -> Result<Patch<Workplan>, Error> {
    let version = workplan.resource_version();
    operations.insert(
        0,
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}),
    );
    Ok(Patch::Json(serde_json::from_value(operations.into())?))
}
