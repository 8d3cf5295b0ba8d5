//! Kubernetes Events about the objects that the controllers run.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::api_error::{is_namespace_terminating, message, status};

/// The longest note in bytes. The API server accepts 1024; a note that is cut ends with dots.
const NOTE_MAX: usize = 1000;

/// A Warning about an object.
#[derive(Clone, Copy, Debug)]
pub struct Warning<'a> {
    /// The reason, in `CamelCase`.
    pub reason: &'a str,
    /// What the controller was doing, as in `Run`.
    pub action: &'a str,
    /// What is wrong, and what to do. A long note is cut.
    pub note: &'a str,
}

/// Something that a user is to notice about an object, and is no problem.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The reason, in `CamelCase`.
    pub reason: &'a str,
    /// What the controller was doing, as in `Run`.
    pub action: &'a str,
    /// What is to be noticed. A long note is cut.
    pub note: &'a str,
}

/// Records Events. Their reporting controller is `kube.ci/<operator>`.
#[derive(Clone)]
pub struct EventRecorder(Recorder);

impl EventRecorder {
    /// A recorder of this operator; `instance` is the identity of the process.
    #[must_use]
    pub fn new(client: Client, operator: &str, instance: &str) -> Self {
        let reporter = Reporter {
            controller: format!("kube.ci/{operator}"),
            instance: Some(instance.to_owned()),
        };
        Self(Recorder::new(client, reporter))
    }

    /// Records a Warning.
    pub async fn warn(&self, regarding: &ObjectReference, warning: Warning<'_>) {
        let Warning {
            reason,
            action,
            note,
        } = warning;
        let event = event(EventType::Warning, reason, action, note);
        self.record(regarding, event).await;
    }

    /// Records a Normal Event.
    pub async fn notify(&self, regarding: &ObjectReference, notice: Notice<'_>) {
        let Notice {
            reason,
            action,
            note,
        } = notice;
        let event = event(EventType::Normal, reason, action, note);
        self.record(regarding, event).await;
    }

    /// A failure is logged and not retried, because the status of the object has the same message.
    async fn record(&self, regarding: &ObjectReference, event: Event) {
        let Err(error) = self.0.publish(&event, regarding).await else {
            return;
        };
        if status(&error).is_some_and(is_namespace_terminating) {
            return;
        }
        tracing::warn!(
            reason = event.reason,
            namespace = regarding.namespace,
            name = regarding.name,
            "cannot write an Event: {}",
            message(&error)
        );
    }
}

fn event(type_: EventType, reason: &str, action: &str, note: &str) -> Event {
    Event {
        type_,
        reason: reason.to_owned(),
        action: action.to_owned(),
        note: Some(truncated(note)),
        secondary: None,
    }
}

fn truncated(note: &str) -> String {
    match note.char_indices().find(|(at, _)| *at > NOTE_MAX) {
        Some((at, _)) => format!("{} ...", &note[..at]),
        None => note.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::testing::client;

    #[test]
    fn note_is_cut_between_characters() {
        assert!(truncated(&"ä".repeat(2000)).len() < 1024);
        assert_eq!(truncated("short"), "short");
    }

    #[tokio::test]
    async fn warning_names_its_controller_and_object() {
        let written = Arc::new(Mutex::new(Value::Null));
        let received = Arc::clone(&written);
        let client = client(move |request| {
            *received.lock().unwrap() = request.body.clone();
            (201, request.body.clone())
        });
        let recorder = EventRecorder::new(client, "workplan-operator", "pod-1");
        let regarding = ObjectReference {
            name: Some("plan".into()),
            namespace: Some("ns".into()),
            ..ObjectReference::default()
        };
        let warning = Warning {
            reason: "StepFailed",
            action: "Run",
            note: &"x".repeat(5000),
        };
        recorder.warn(&regarding, warning).await;
        let event = written.lock().unwrap();
        assert_eq!(event["reportingController"], "kube.ci/workplan-operator");
        assert_eq!(event["reportingInstance"], "pod-1");
        assert_eq!(event["regarding"]["name"], "plan");
        assert_eq!(event["reason"], "StepFailed");
        assert_eq!(event["type"], "Warning");
        assert!(event["note"].as_str().unwrap().len() <= 1024);
    }
}
