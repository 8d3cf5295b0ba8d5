//! Writes the status of a Workflow, and records Kubernetes Events for its problems.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::Request,
    runtime::events::{Event, EventType, Recorder},
};
use kubeci_api::Workflow;
use kubeci_triggers::{Problem, StatusUpdate, WorkflowRef};
use serde_json::{Value, json};

use crate::{
    api_error::{is_namespace_terminating, message},
    metadata_response,
};

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
    pub recorder: Recorder,
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
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {
                WriteResult::NotFound
            }
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
        metadata_response::send(&self.client, request).await
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
        let event = Event {
            type_: EventType::Warning,
            reason: warning.reason.clone(),
            note: Some(truncate(&warning.message)),
            action: "Watch".to_owned(),
            secondary: None,
        };
        match self.recorder.publish(&event, &regarding).await {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => {}
            Err(error) => tracing::warn!("an Event is not recorded: {}", message(&error)),
        }
    }
}

/// The most bytes of an Event's note.
const NOTE_MAX: usize = 1000;

fn truncate(message: &str) -> String {
    match message.char_indices().find(|(at, _)| *at > NOTE_MAX) {
        Some((at, _)) => format!("{} ...", &message[..at]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_is_truncated_between_characters() {
        assert!(truncate(&"ä".repeat(2000)).len() < 1024);
    }
}
