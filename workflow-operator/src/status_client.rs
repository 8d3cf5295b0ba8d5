//! Writes the status of a Workflow, and records Kubernetes Events for its problems.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::Request,
};
use kubeci_api::Workflow;
use kubeci_controller::{
    EventRecorder, Warning,
    api_error::{is_gone, message},
    request_metadata,
};
use kubeci_triggers::{Problem, StatusUpdate, WorkflowRef};
use serde_json::{Value, json};

/// The result of a status write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// The status is stored.
    Flushed,
    /// The status may not be stored. The write is retried.
    Unknown,
    /// The Workflow does not exist any more.
    NotFound,
}

#[derive(Clone)]
pub struct StatusClient {
    pub client: Client,
    pub recorder: EventRecorder,
}

impl StatusClient {
    pub async fn write(&self, update: StatusUpdate) -> WriteResult {
        let StatusUpdate {
            reference,
            patch,
            warning,
        } = update;
        if let Some(warning) = &warning {
            self.record_warning(&reference, warning).await;
        }
        let Some(patch) = patch else {
            return WriteResult::Flushed;
        };
        match self.patch(&reference, patch).await {
            Ok(()) => WriteResult::Flushed,
            Err(error) if is_gone(&error) => WriteResult::NotFound,
            Err(error) => {
                tracing::warn!(
                    namespace = reference.namespace,
                    workflow = reference.name,
                    "the status is not written; the write is retried: {}",
                    message(&error)
                );
                WriteResult::Unknown
            }
        }
    }

    async fn patch(&self, workflow: &WorkflowRef, patch: Value) -> kube::Result<()> {
        let api: Api<Workflow> = Api::namespaced(self.client.clone(), &workflow.namespace);
        // With the uid the API server rejects the patch if another Workflow has the name by now.
        let patch = json!({"metadata": {"uid": &*workflow.uid}, "status": patch});
        let request = Request::new(api.resource_url()).patch_subresource(
            "status",
            &workflow.name,
            &PatchParams::default(),
            &Patch::Merge(patch),
        );
        let request = request.map_err(kube::Error::BuildRequest)?;
        request_metadata(&self.client, request).await?;
        Ok(())
    }

    async fn record_warning(&self, workflow: &WorkflowRef, warning: &Problem) {
        let regarding = ObjectReference {
            api_version: Some(Workflow::api_version(&()).into_owned()),
            kind: Some(Workflow::kind(&()).into_owned()),
            namespace: Some(workflow.namespace.clone()),
            name: Some(workflow.name.clone()),
            uid: Some(workflow.uid.to_string()),
            ..ObjectReference::default()
        };
        let warning = Warning {
            reason: &warning.reason,
            action: "Watch",
            note: &warning.message,
        };
        self.recorder.warn(&regarding, warning).await;
    }
}
