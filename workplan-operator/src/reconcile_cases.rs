//! Reconciles of a Workplan with an API server that fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::store;
use kube::runtime::watcher::Event;
use kubeci_api::{Order, Workplan};
use kubeci_controller::EventRecorder;
use kubeci_controller::testing::{NO_ANSWER, client, rejected};
use serde_json::{Value, json};

use crate::admission::Caps;
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::pod_creator::PodCreator;
use crate::pod_events::PodEvents;
use crate::queue::Queue;
use crate::reconcile::Reconciler;
use crate::status_writer::StatusWriter;
use crate::sweeper::SweepRounds;
use crate::testing::workplan;
use crate::watched_workplan::WatchedWorkplan;
use crate::worker::reconcile_workplan;
use crate::workplan_admission::WorkplanAdmission;
use crate::workplan_cache::WorkplanCache;
use crate::workplan_index::WorkplanIndex;
use crate::workplan_key::WorkplanKey;
use crate::workplan_state::WorkplanStates;

/// An API server with one Workplan.
struct Server {
    stored: Value,
    /// The codes of the next status writes; all others succeed.
    status_writes: VecDeque<u16>,
    /// The requests about the Workplan.
    requests: Vec<String>,
    /// The patches of the status.
    written: Vec<Value>,
    /// The reasons of the recorded Events.
    events: Vec<String>,
    /// The codes of the next writes of the finalizers; all others succeed.
    finalizer_writes: VecDeque<u16>,
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let status = path.ends_with("/status");
        if path.contains("/workplans/") {
            let what = if status { "status" } else { "plan" };
            self.requests.push(format!("{method} {what}"));
        }
        match (method.as_str(), status) {
            ("POST", _) if path.ends_with("/events") => {
                self.events
                    .push(body["reason"].as_str().unwrap_or_default().to_owned());
                (201, body.clone())
            }
            ("GET", _) if path.contains("/workplans/") => (200, self.stored.clone()),
            ("PATCH", true) => {
                self.written.push(body.clone());
                match self.status_writes.pop_front() {
                    None => {
                        if let Some(status) = written(body).get("/status") {
                            self.stored["status"] = (*status).clone();
                        }
                        (200, json!({"metadata": self.stored["metadata"]}))
                    }
                    Some(413) => rejected(413, "RequestEntityTooLarge", "it is too large"),
                    Some(code) => (code, Value::Null),
                }
            }
            ("PATCH", false) if !self.finalizer_writes.is_empty() => (
                self.finalizer_writes.pop_front().unwrap_or_default(),
                Value::Null,
            ),
            ("PATCH", false) => {
                self.stored["metadata"]["finalizers"] = json!([]);
                (200, json!({"metadata": self.stored["metadata"]}))
            }
            ("GET", _) if path.ends_with("/pods") => (200, json!({"metadata": {}, "items": []})),
            _ => (404, Value::Null),
        }
    }
}

fn watched(workplan: &Value) -> WatchedWorkplan {
    serde_json::from_str(&workplan.to_string()).unwrap()
}

struct Case {
    server: Arc<Mutex<Server>>,
    reconciler: Reconciler,
    key: WorkplanKey,
}

impl Case {
    /// A Workplan of one step, whose pod has just completed.
    fn new(status_writes: &[u16]) -> Self {
        Self::with_pod(status_writes, &pod(0))
    }

    fn with_pod(status_writes: &[u16], pod: &Pod) -> Self {
        let mut plan: Workplan = workplan(Order::Linear, &["| a"]);
        plan.metadata.resource_version = Some("1".into());
        let server = Arc::new(Mutex::new(Server {
            stored: serde_json::to_value(&plan).unwrap(),
            status_writes: status_writes.iter().copied().collect(),
            requests: Vec::new(),
            written: Vec::new(),
            events: Vec::new(),
            finalizer_writes: VecDeque::new(),
        }));
        let answering = Arc::clone(&server);
        let client = client(move |request| {
            let mut server = answering.lock().unwrap();
            server.answer(&request.method, &request.path, &request.body)
        });
        let workplans = Arc::new(WorkplanIndex::default());
        workplans.apply(&Event::Apply(watched(
            &serde_json::to_value(&plan).unwrap(),
        )));
        let shared = kubeci_controller::Metrics::default();
        let nodes = Arc::new(Queue::new(shared.clone()));
        let sweeps = Arc::new(SweepRounds::new(nodes));
        let states: Arc<WorkplanStates> = Arc::default();
        let queue = Arc::new(Queue::new(shared.clone()));
        let admission = WorkplanAdmission::new(Caps::default(), Arc::clone(&workplans), queue);
        let recorder = EventRecorder::new(client.clone(), "workplan-operator", "test");
        let case = Self {
            server,
            key: WorkplanKey::of(&plan),
            reconciler: Reconciler {
                workplans: Arc::clone(&workplans),
                cache: Arc::new(WorkplanCache::new(client.clone())),
                states: Arc::clone(&states),
                observer: Observer {
                    client: client.clone(),
                    pods: Arc::default(),
                    nodes: store().0,
                    limit_ranges: store().0,
                    sweeps: Arc::clone(&sweeps),
                    pod_events: Arc::new(PodEvents::new(client.clone())),
                    states: Arc::clone(&states),
                    sidecar_grace: SignedDuration::from_secs(30),
                    admission: Arc::new(admission),
                    pending_timeout: SignedDuration::from_hours(1),
                },
                pod_creator: PodCreator {
                    metrics: Metrics::new(shared, workplans),
                    image: "operator".into(),
                },
                status_writer: StatusWriter::new(states, recorder),
                sweeps,
                client,
            },
        };
        case.reconciler
            .observer
            .pods
            .apply(&Event::Apply(pod.clone()));
        case
    }

    async fn reconcile(&self) -> Option<Duration> {
        let indexed = self.reconciler.workplans.get(&self.key)?;
        let due = self.reconciler.pod_creator.metrics.shared.due();
        let requeue_at = reconcile_workplan(&self.reconciler, &self.key, &indexed, due).await?;
        Some(requeue_at - tokio::time::Instant::now())
    }

    /// The watch returns the stored Workplan.
    fn observe_stored(&self) {
        let server = self.server.lock().unwrap();
        let event = Event::Apply(watched(&server.stored));
        self.reconciler.workplans.apply(&event);
    }

    fn status_writes(&self) -> usize {
        self.server.lock().unwrap().written.len()
    }
}

/// A pod whose step has ended with this code.
fn pod(code: i32) -> Pod {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let pod = json!({
        "metadata": {
            "name": "plan-0", "namespace": "ns", "uid": "pod", "labels": {"kube.ci/workplan": "plan"},
            "ownerReferences": [{"apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "name": "plan", "uid": "uid", "controller": true}],
        },
        "spec": {"nodeName": "node", "containers": [{"name": "a"}]},
        "status": {"phase": phase, "containerStatuses": [{
            "name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:00:00Z"}},
        }]},
    });
    serde_json::from_value(pod).unwrap()
}

#[tokio::test(start_paused = true)]
async fn new_workplan_is_reconciled_without_a_read() {
    let case = Case::new(&[]);
    let stored = case.server.lock().unwrap().stored.to_string();
    assert!(case.reconciler.workplans.is_unread(&case.key));
    case.reconciler.cache.put_new(&stored);
    case.reconcile().await;
    assert!(!case.reconciler.workplans.is_unread(&case.key));
    let server = case.server.lock().unwrap();
    assert_eq!(server.requests[0], "PATCH status");
    assert!(!server.requests.contains(&"GET plan".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn conflict_is_retried_at_once() {
    let case = Case::new(&[409]);
    case.reconcile().await;
    let server = case.server.lock().unwrap();
    let expected = ["GET plan", "PATCH status", "GET plan", "PATCH status"];
    assert_eq!(server.requests[..4], expected);
}

#[tokio::test(start_paused = true)]
async fn observation_outlasts_failed_writes() {
    let case = Case::new(&[500, 409, 409, 409, 409]);
    let wait = case.reconcile().await.unwrap();
    case.reconciler.observer.pods.apply(&Event::Delete(pod(0)));
    tokio::time::advance(wait).await;
    let wait = case.reconcile().await.unwrap();
    assert_eq!(case.status_writes(), 5);
    tokio::time::advance(wait).await;
    case.reconcile().await;
    let server = case.server.lock().unwrap();
    let written = server.written[5].to_string();
    assert!(written.contains(r#""phase":"completed""#), "{written}");
}

#[tokio::test(start_paused = true)]
async fn failing_status_writes_are_retried_with_backoff() {
    let case = Case::new(&[500; 100]);
    let start = tokio::time::Instant::now();
    // The pod changes constantly.
    while start.elapsed() < Duration::from_mins(2) {
        case.reconcile().await;
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    let writes = case.status_writes();
    assert!((6..=9).contains(&writes), "{writes} writes in two minutes");
}

#[tokio::test(start_paused = true)]
async fn cleaned_up_plan_is_not_read_again() {
    let case = Case::new(&[]);
    case.reconcile().await;
    // The watch returns the status before the removal of the finalizer.
    case.reconcile().await;
    case.observe_stored();
    case.reconcile().await;
    let server = case.server.lock().unwrap();
    assert!(server.requests.contains(&"PATCH plan".to_owned()));
    let reads = server.requests.iter().filter(|it| *it == "GET plan");
    assert_eq!(reads.count(), 1, "{:?}", server.requests);
}

/// The values that a patch writes, by path.
fn written(patch: &Value) -> BTreeMap<&str, &Value> {
    let operations = patch.as_array().unwrap().iter();
    let written = operations.map(|it| (it["path"].as_str().unwrap(), &it["value"]));
    written.collect()
}

fn steps_of(patch: &Value) -> usize {
    let written = written(patch);
    let status = written.get("/status").copied();
    let steps = status.map_or(&Value::Null, |status| &status["steps"]);
    steps.as_array().map_or(0, Vec::len)
}

#[tokio::test(start_paused = true)]
async fn status_without_an_answer_is_written_again() {
    let case = Case::new(&[NO_ANSWER]);
    let wait = case.reconcile().await.unwrap();
    tokio::time::advance(wait).await;
    case.reconcile().await;
    let server = case.server.lock().unwrap();
    let [first, second, ..] = &server.written[..] else {
        panic!("{:?}", server.requests);
    };
    assert_eq!(steps_of(first), 1);
    assert_eq!(first, second);
}

#[tokio::test(start_paused = true)]
async fn too_large_status_is_written_without_steps() {
    let case = Case::new(&[413]);
    case.reconcile().await;
    let server = case.server.lock().unwrap();
    assert_eq!(steps_of(&server.written[0]), 1);
    assert_eq!(steps_of(&server.written[1]), 0);
    let status = written(&server.written[1])["/status"];
    assert_eq!(status["phase"], "completed");
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("it is too large"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn unwritten_failed_plan_has_an_event() {
    let case = Case::with_pod(&[413, 413], &pod(1));
    case.reconcile().await;
    let server = case.server.lock().unwrap();
    assert_eq!(server.written.len(), 2);
    assert_eq!(server.events, ["StepFailed"]);
}

#[tokio::test(start_paused = true)]
async fn event_is_recorded_once_despite_failed_writes() {
    let case = Case::with_pod(&[500], &pod(1));
    let wait = case.reconcile().await.unwrap();
    assert_eq!(case.server.lock().unwrap().events, [""; 0]);
    tokio::time::advance(wait).await;
    case.reconcile().await;
    case.reconcile().await;
    assert_eq!(case.server.lock().unwrap().events, ["StepFailed"]);
}

#[tokio::test(start_paused = true)]
async fn finalizer_that_is_not_removed_is_removed_again() {
    let case = Case::new(&[]);
    case.server.lock().unwrap().finalizer_writes.push_back(500);
    let wait = case.reconcile().await.unwrap();
    assert_eq!(case.status_writes(), 1);
    tokio::time::advance(wait).await;
    case.reconcile().await;
    let server = case.server.lock().unwrap();
    let removals = server.requests.iter().filter(|it| *it == "PATCH plan");
    assert_eq!(removals.count(), 2);
    assert_eq!(server.written.len(), 1, "the status is written once");
}

#[tokio::test(start_paused = true)]
async fn deleted_workplan_is_not_retried() {
    let case = Case::new(&[404]);
    assert_eq!(case.reconcile().await, None);
}
