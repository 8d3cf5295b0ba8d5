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
                    "cannot write the status; retrying: {}",
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kubeci_controller::testing::{NO_ANSWER, client};
    use rstest::rstest;

    use super::*;

    /// Writes a status with a warning; the API server answers with these codes. Returns the requested paths.
    async fn write(
        patch: Option<Value>,
        status_code: u16,
        event_code: u16,
    ) -> (WriteResult, Vec<String>) {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let received = Arc::clone(&log);
        let client = client(move |request| {
            received.lock().unwrap().push(request.path.clone());
            let is_event = request.path.ends_with("/events");
            let code = if is_event { event_code } else { status_code };
            let stored = if is_event {
                request.body.clone()
            } else {
                json!({"metadata": {}})
            };
            (code, if code < 300 { stored } else { Value::Null })
        });
        let recorder = EventRecorder::new(client.clone(), "workflow-operator", "test");
        let update = StatusUpdate {
            reference: WorkflowRef {
                uid: "uid".into(),
                namespace: "ns".into(),
                name: "w".into(),
                generation: 1,
            },
            patch,
            warning: Some(Problem::new("Forbidden", "no")),
        };
        let result = StatusClient { client, recorder }.write(update).await;
        let log = log.lock().unwrap().clone();
        (result, log)
    }

    #[rstest]
    #[case::written(200, WriteResult::Flushed)]
    #[case::deleted(404, WriteResult::NotFound)]
    #[case::replaced(409, WriteResult::NotFound)]
    #[case::server_error(500, WriteResult::Unknown)]
    #[case::timeout(504, WriteResult::Unknown)]
    #[case::no_answer(NO_ANSWER, WriteResult::Unknown)]
    #[tokio::test]
    async fn answer_decides_whether_the_write_is_retried(
        #[case] code: u16,
        #[case] expected: WriteResult,
    ) {
        let (result, log) = write(Some(json!({"active": 1})), code, 201).await;
        assert_eq!(result, expected);
        assert!(log[0].ends_with("/events"), "{log:?}");
        assert!(log[1].ends_with("/workflows/w/status"), "{log:?}");
    }

    #[rstest]
    #[case::forbidden(403)]
    #[case::no_answer(NO_ANSWER)]
    #[tokio::test]
    async fn failed_event_does_not_fail_the_write(#[case] code: u16) {
        let (result, _) = write(Some(json!({"active": 1})), 200, code).await;
        assert_eq!(result, WriteResult::Flushed);
    }

    #[tokio::test]
    async fn stored_status_is_not_written_again() {
        let (result, log) = write(None, 500, 201).await;
        assert_eq!(result, WriteResult::Flushed);
        assert_eq!(log.len(), 1, "only the Event: {log:?}");
    }
}
