//! Turns of a Workplan before an API server that refuses.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::client::Body;
use kube::core::{ObjectMeta, PartialObjectMetaExt};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::store;
use kube::runtime::watcher::Event;
use kubeci_api::{Order, Workplan};
use serde_json::{Value, json};

use crate::metrics::Metrics;
use crate::operator::turn_of;
use crate::pod_events::PodEvents;
use crate::pod_index::Pods;
use crate::queue::Queue;
use crate::reconcile::Reconciler;
use crate::refused_pods::Refused;
use crate::retry::Retries;
use crate::status_debounce::Linger;
use crate::sweeper::Sweeps;
use crate::testing::workplan;
use crate::workplan_cache::Plans;
use crate::workplan_events::Announcer;
use crate::workplan_index::Workplans;
use crate::workplan_key::Key;

/// An API server with one Workplan.
struct Server {
    stored: Value,
    /// How the next status writes end; all after them succeed.
    status_writes: VecDeque<u16>,
    /// What was asked for about the Workplan, and the statuses that were to be written.
    requests: Vec<String>,
    written: Vec<Value>,
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let status = path.ends_with("/status");
        if path.contains("/workplans/") {
            let what = if status { "status" } else { "plan" };
            self.requests.push(format!("{method} {what}"));
        }
        match (method.as_str(), status) {
            ("GET", _) if path.contains("/workplans/") => (200, self.stored.clone()),
            ("PATCH", true) => {
                self.written.push(body.clone());
                let code = self.status_writes.pop_front().unwrap_or(200);
                (code, json!({"metadata": self.stored["metadata"]}))
            }
            ("PATCH", false) => {
                self.stored["metadata"]["finalizers"] = json!([]);
                (200, json!({"metadata": self.stored["metadata"]}))
            }
            ("GET", _) if path.ends_with("/pods") => (200, json!({"metadata": {}, "items": []})),
            _ => (404, Value::Null),
        }
    }
}

fn client(server: &Arc<Mutex<Server>>) -> Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap_or_default();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (code, mut answer) =
                server
                    .lock()
                    .unwrap()
                    .answer(&parts.method, parts.uri.path(), &body);
            if code >= 300 {
                let reason = StatusCode::from_u16(code).unwrap();
                let reason = reason.canonical_reason().unwrap().replace(' ', "");
                answer = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason});
            }
            let response = Response::builder().status(code);
            Ok::<_, Infallible>(
                response
                    .body(Body::from(answer.to_string().into_bytes()))
                    .unwrap(),
            )
        }
    });
    Client::new(service, "ns")
}

struct Case {
    server: Arc<Mutex<Server>>,
    reconciler: Reconciler,
    retries: Retries,
    key: Key,
}

impl Case {
    /// A Workplan of one step, whose pod has just completed.
    fn new(status_writes: &[u16]) -> Self {
        let mut plan: Workplan = workplan(Order::Linear, &["| a"]);
        plan.metadata.resource_version = Some("1".into());
        let server = Arc::new(Mutex::new(Server {
            stored: serde_json::to_value(&plan).unwrap(),
            status_writes: status_writes.iter().copied().collect(),
            requests: Vec::new(),
            written: Vec::new(),
        }));
        let client = client(&server);
        let workplans = Arc::new(Workplans::new());
        let seen: ObjectMeta = plan.metadata.clone();
        workplans.apply(&Event::Apply(seen.into_response_partial()));
        let shared = kubeci_controller::Metrics::default();
        let nodes = Arc::new(Queue::new(shared.clone()));
        let reporter = Reporter::from("test");
        let case = Self {
            server,
            key: Key::of(&plan),
            retries: Retries::default(),
            reconciler: Reconciler {
                workplans: Arc::clone(&workplans),
                plans: Plans::new(client.clone()),
                pods: Arc::new(Pods::new()),
                nodes: store().0,
                limit_ranges: store().0,
                sweeps: Arc::new(Sweeps::new(nodes)),
                linger: Linger::default(),
                refused: Refused::default(),
                announcer: Announcer::new(Recorder::new(client.clone(), reporter)),
                metrics: Metrics::new(shared, workplans),
                image: "operator".into(),
                pod_events: Arc::new(PodEvents::new(client.clone())),
                sidecar_grace: SignedDuration::from_secs(30),
                client,
            },
        };
        case.reconciler.pods.apply(&Event::Apply(pod()));
        case
    }

    async fn turn(&self) -> Option<Duration> {
        let known = self.reconciler.workplans.get(&self.key)?;
        let due = self.reconciler.metrics.shared.due();
        let again = turn_of(&self.reconciler, &self.retries, &self.key, &known, due).await?;
        Some(again - tokio::time::Instant::now())
    }

    /// The watch shows the Workplan as it is stored.
    fn show(&self) {
        let server = self.server.lock().unwrap();
        let stored: ObjectMeta = serde_json::from_value(server.stored["metadata"].clone()).unwrap();
        let shown = Event::Apply(stored.into_response_partial());
        self.reconciler.workplans.apply(&shown);
    }

    fn status_writes(&self) -> usize {
        self.server.lock().unwrap().written.len()
    }
}

fn pod() -> Pod {
    let pod = json!({
        "metadata": {
            "name": "plan-0", "namespace": "ns", "uid": "pod", "labels": {"kube.ci/workplan": "plan"},
            "ownerReferences": [{"apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "name": "plan", "uid": "uid", "controller": true}],
        },
        "spec": {"nodeName": "node", "containers": [{"name": "a"}]},
        "status": {"phase": "Succeeded", "containerStatuses": [{
            "name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T00:00:00Z"}},
        }]},
    });
    serde_json::from_value(pod).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_decided_upon_again_at_once() {
    let case = Case::new(&[409]);
    case.turn().await;
    let server = case.server.lock().unwrap();
    let expected = ["GET plan", "PATCH status", "GET plan", "PATCH status"];
    assert_eq!(server.requests[..4], expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_once_outlasts_failed_writes() {
    let case = Case::new(&[500, 409, 409, 409, 409]);
    let wait = case.turn().await.unwrap();
    case.reconciler.pods.apply(&Event::Delete(pod()));
    tokio::time::advance(wait).await;
    let wait = case.turn().await.unwrap();
    assert_eq!(case.status_writes(), 5);
    tokio::time::advance(wait).await;
    case.turn().await;
    let server = case.server.lock().unwrap();
    let written = server.written[5].to_string();
    assert!(written.contains(r#""phase":"completed""#), "{written}");
}

#[tokio::test(start_paused = true)]
async fn status_writes_that_fail_are_tried_ever_later() {
    let case = Case::new(&[500; 100]);
    let start = tokio::time::Instant::now();
    // The pod changes all the time.
    while start.elapsed() < Duration::from_mins(2) {
        case.turn().await;
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    let writes = case.status_writes();
    assert!((6..=9).contains(&writes), "{writes} writes in two minutes");
}

#[tokio::test(start_paused = true)]
async fn cleaned_up_plan_is_not_read_again() {
    let case = Case::new(&[]);
    case.turn().await;
    // The watch shows the status written before the finalizer was removed.
    case.turn().await;
    case.show();
    case.turn().await;
    let server = case.server.lock().unwrap();
    assert!(server.requests.contains(&"PATCH plan".to_owned()));
    let reads = server.requests.iter().filter(|it| *it == "GET plan");
    assert_eq!(reads.count(), 1, "{:?}", server.requests);
}
