//! Writes what is to be told of a Workflow into its status: only what is new, and Events where something
//! is wrong.

use http::header::ACCEPT;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::{PartialObjectMeta, Request},
    runtime::events::{Event, EventType, Recorder},
};
use kubeci_api::Workflow;
use serde_json::{Value, json};

use crate::{
    api_error::{namespace_ends, said},
    input::METADATA,
};
use kubeci_triggers::{Problem, StatusUpdate, WorkflowRef};

/// How telling went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The status says it now.
    Written,
    /// Perhaps the status does not: it is told again.
    Unclear,
    /// The Workflow exists no more.
    Gone,
}

#[derive(Clone)]
pub struct Teller {
    pub client: Client,
    pub recorder: Recorder,
}

impl Teller {
    pub async fn tell(&self, report: StatusUpdate) -> Told {
        let StatusUpdate {
            reference,
            patch,
            warning,
        } = report;
        if let Some(warning) = &warning {
            self.warn(&reference, warning).await;
        }
        let Some(patch) = patch else {
            return Told::Written;
        };
        match self.write(&reference, patch).await {
            Ok(()) => Told::Written,
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Told::Gone,
            Err(error) => {
                let WorkflowRef {
                    namespace, name, ..
                } = &reference;
                tracing::warn!(
                    namespace,
                    workflow = name,
                    "status not written, tried again: {}",
                    said(&error)
                );
                Told::Unclear
            }
        }
    }

    async fn write(&self, workflow: &WorkflowRef, patch: Value) -> kube::Result<()> {
        let WorkflowRef {
            uid,
            namespace,
            name,
            ..
        } = workflow;
        let api: Api<Workflow> = Api::namespaced(self.client.clone(), namespace);
        // With the uid the API server refuses the patch if another Workflow has the name by now.
        let patch = json!({"metadata": {"uid": &**uid}, "status": patch});
        let mut request = Request::new(api.resource_url())
            .patch_subresource(
                "status",
                name,
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .map_err(kube::Error::BuildRequest)?;
        request.headers_mut().insert(ACCEPT, METADATA);
        let _: PartialObjectMeta<Workflow> = self.client.request(request).await?;
        Ok(())
    }

    async fn warn(&self, workflow: &WorkflowRef, warning: &Problem) {
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
            note: Some(cut(&warning.message)),
            action: "Watch".to_owned(),
            secondary: None,
        };
        match self.recorder.publish(&event, &regarding).await {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if namespace_ends(&status) => {}
            Err(error) => tracing::warn!("an Event was not recorded: {}", said(&error)),
        }
    }
}

/// The most bytes of an Event's note.
const NOTE_MAX: usize = 1000;

fn cut(message: &str) -> String {
    match message.char_indices().find(|(at, _)| *at > NOTE_MAX) {
        Some((at, _)) => format!("{} ...", &message[..at]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert!(cut(&"ä".repeat(2000)).len() < 1024);
    }
}
