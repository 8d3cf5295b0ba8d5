//! Admits Workplans: passes what the watches return to the admission queue, and pushes the Workplans that may run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::time::{MissedTickBehavior, interval};

use crate::admission::{Admission, AdmissionQueue, Arrival, Candidate, Caps, Recorded, Usage};
use crate::pod_index::{PodIndex, workplan_of};
use crate::queue::Queue;
use crate::workplan_index::{IndexedWorkplan, WorkplanIndex};
use crate::workplan_key::WorkplanKey;

/// How often places in the queue are written, and to how many statuses each time.
const PLACES_INTERVAL: Duration = Duration::from_secs(1);
const PLACES_MAX: usize = 50;

/// Decides which Workplans run. Without caps all of them do.
pub struct WorkplanAdmission {
    caps: Caps,
    workplans: Arc<WorkplanIndex>,
    workplan_queue: Arc<Queue<WorkplanKey>>,
    state: Mutex<State>,
}

struct State {
    queue: AdmissionQueue,
    /// Whether all Workplans and pods are listed. Before, none is admitted.
    open: bool,
}

impl WorkplanAdmission {
    pub fn new(
        caps: Caps,
        workplans: Arc<WorkplanIndex>,
        workplan_queue: Arc<Queue<WorkplanKey>>,
    ) -> Self {
        Self {
            caps,
            workplans,
            workplan_queue,
            state: Mutex::new(State {
                queue: AdmissionQueue::new(caps),
                open: false,
            }),
        }
    }

    /// All Workplans and pods are listed: from now on Workplans are admitted.
    pub fn open(&self, pods: &PodIndex) {
        self.change(|state| {
            let waiting = state.queue.waiting_workplans();
            let admitted = waiting.filter(|(key, uid)| has_pod(pods, key, uid));
            let admitted: Vec<WorkplanKey> = admitted.map(|(key, _)| key.clone()).collect();
            for key in admitted {
                let indexed = self.workplans.get(&key);
                state.update(&key, indexed.map(with_pod));
            }
            state.open = true;
        });
    }

    /// A Workplan was created, changed or deleted.
    pub fn observe(&self, key: &WorkplanKey) {
        self.change(|state| state.update(key, self.workplans.get(key)));
    }

    /// A list has replaced all Workplans.
    pub fn observe_all(&self) {
        self.change(|state| {
            let unfinished = |_: &WorkplanKey, indexed: &IndexedWorkplan| !indexed.has_ended();
            let mut keys = self.workplans.filter(unfinished);
            keys.extend(state.queue.keys().cloned());
            for key in keys {
                state.update(&key, self.workplans.get(&key));
            }
        });
    }

    /// A pod was created. An earlier leader may have requested it after the list of the pods.
    pub fn observe_pod(&self, pod: &Pod) {
        if let Some(key) = workplan_of(pod) {
            self.change(|state| {
                let indexed = self.workplans.get(&key);
                let owned = indexed.filter(|indexed| is_owned(pod, &indexed.uid));
                if owned.is_some() {
                    state.update(&key, owned.map(with_pod));
                }
            });
        }
    }

    /// Whether a Workplan may run.
    pub fn admission(&self, key: &WorkplanKey, uid: &str) -> Admission {
        if self.caps.is_none() {
            return Admission::UNLIMITED;
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.queue.admission(key, uid)
    }

    /// What the running Workplans use, and how many Workplans wait.
    pub fn counts(&self) -> (Usage, usize) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.queue.running(), state.queue.waiting())
    }

    /// Pushes the Workplans whose status must state their place in the queue, without an end.
    pub async fn report_places(self: Arc<Self>) {
        let mut interval = interval(PLACES_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let changed = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.queue.assign_places(PLACES_MAX)
            };
            for key in changed {
                self.workplan_queue.push(key);
            }
        }
    }

    /// Changes the queue, and pushes the Workplans that it admits.
    fn change(&self, change: impl FnOnce(&mut State)) {
        if self.caps.is_none() {
            return;
        }
        let admitted = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state);
            if state.open {
                state.queue.admit()
            } else {
                Vec::new()
            }
        };
        for key in admitted {
            self.workplan_queue.push(key);
        }
    }
}

impl State {
    /// Updates the queue. A Workplan that waits leaves it when its deletion begins. A rerun enters it when its tasks are
    /// set, and creates no pods before.
    fn update(&mut self, key: &WorkplanKey, indexed: Option<IndexedWorkplan>) {
        let is_candidate = |indexed: &IndexedWorkplan| !indexed.has_ended() && indexed.pods > 0;
        let Some(indexed) = indexed.filter(is_candidate) else {
            return self.queue.remove(key);
        };
        let deleting = indexed.deleting;
        let candidate = Candidate {
            arrival: Arrival {
                created: indexed.created,
                sequence: indexed.sequence,
                uid: indexed.uid.into(),
            },
            pods: indexed.pods,
            recorded: indexed.admission,
        };
        self.queue.observe(key, candidate);
        if deleting && self.queue.waits(key) {
            self.queue.remove(key);
        }
    }
}

/// A Workplan with a pod was admitted, whatever its status states.
fn with_pod(indexed: IndexedWorkplan) -> IndexedWorkplan {
    IndexedWorkplan {
        admission: Recorded::Admitted,
        ..indexed
    }
}

fn has_pod(pods: &PodIndex, key: &WorkplanKey, uid: &str) -> bool {
    pods.of(key).values().any(|pod| is_owned(pod, uid))
}

fn is_owned(pod: &Pod, uid: &str) -> bool {
    pod.owner_references().iter().any(|owner| owner.uid == uid)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use kube::runtime::watcher::Event;
    use kubeci_api::{Task, Workplan, WorkplanSpec};
    use kubeci_controller::Metrics;
    use serde_json::{Value, json};

    use super::*;
    use crate::watched_workplan::WatchedWorkplan;

    /// An operator that runs one Workplan at a time.
    struct Case {
        admission: WorkplanAdmission,
        pods: PodIndex,
    }

    impl Case {
        /// It has listed these Workplans, with their statuses.
        fn listed(workplans: &[(&str, Value)]) -> Self {
            let caps = Caps {
                workplans: NonZeroUsize::new(1),
                pods: None,
            };
            let queue = Arc::new(Queue::new(Metrics::default()));
            let admission = WorkplanAdmission::new(caps, Arc::default(), queue);
            let case = Self {
                admission,
                pods: PodIndex::default(),
            };
            case.apply(&Event::Init);
            for (name, status) in workplans {
                case.apply(&Event::InitApply(watched(name, status, false)));
            }
            case.apply(&Event::InitDone);
            case.admission.observe_all();
            case
        }

        fn apply(&self, event: &Event<WatchedWorkplan>) {
            self.admission.workplans.apply(event);
        }

        fn change(&self, name: &str, status: &Value, deleting: bool) {
            self.apply(&Event::Apply(watched(name, status, deleting)));
            self.admission.observe(&WorkplanKey::new("ns", name));
        }

        fn running(&self, names: &[&str]) -> Vec<bool> {
            let names = names.iter();
            names
                .map(|name| {
                    let key = WorkplanKey::new("ns", name);
                    !matches!(self.admission.admission(&key, name), Admission::Queued(_))
                })
                .collect()
        }
    }

    fn watched(name: &str, status: &Value, deleting: bool) -> WatchedWorkplan {
        let deleted = deleting.then_some("2026-01-01T00:00:00Z");
        let workplan = json!({
            "metadata": {
                "name": name, "namespace": "ns", "uid": name, "resourceVersion": "1", "deletionTimestamp": deleted,
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"kube.ci/sequence": &name[1..]},
                "finalizers": ["kube.ci/workspace"],
            },
            "spec": {"tasks": [{}]},
            "status": status,
        });
        serde_json::from_str(&workplan.to_string()).unwrap()
    }

    /// The status of a Workplan that no operator has written.
    fn new() -> Value {
        json!({"phase": "pending"})
    }

    fn pod_of(workplan: &str) -> Pod {
        let pod = json!({"metadata": {
            "name": "pod", "namespace": "ns", "labels": {"kube.ci/workplan": workplan},
            "ownerReferences": [{"apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "name": workplan, "uid": workplan}],
        }});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn workplans_run_one_by_one() {
        let case = Case::listed(&[("p10", new()), ("p9", new())]);
        assert_eq!(case.running(&["p9", "p10"]), [false, false], "not open");
        case.admission.open(&case.pods);
        assert_eq!(case.running(&["p9", "p10"]), [true, false]);
        case.change("p9", &json!({"phase": "completed"}), false);
        assert_eq!(case.running(&["p10"]), [true]);
    }

    #[test]
    fn restart_counts_what_runs() {
        let queued = json!({"phase": "pending", "reason": "Queued"});
        let refused = json!({"phase": "pending", "reason": "QuotaExceeded"});
        for status in [json!({"phase": "running"}), refused] {
            let case = Case::listed(&[("p1", queued.clone()), ("p2", status)]);
            case.admission.open(&case.pods);
            assert_eq!(case.running(&["p1", "p2"]), [false, true]);
        }
    }

    #[test]
    fn pod_shows_that_its_workplan_runs() {
        let queued = json!({"phase": "pending", "reason": "Queued"});
        let case = Case::listed(&[("p1", queued.clone()), ("p2", queued)]);
        case.pods.apply(&Event::Apply(pod_of("p2")));
        case.admission.open(&case.pods);
        assert_eq!(case.running(&["p1", "p2"]), [false, true]);
        // The request of an earlier leader.
        case.admission.observe_pod(&pod_of("p1"));
        assert_eq!(case.running(&["p1", "p2"]), [true, true]);
    }

    #[test]
    fn deleted_workplan_leaves_the_queue() {
        let case = Case::listed(&[("p1", new()), ("p2", new())]);
        case.admission.open(&case.pods);
        case.change("p2", &new(), true);
        assert_eq!(case.admission.counts().1, 0);
        case.change("p1", &new(), true);
        assert_eq!(case.admission.counts().0.workplans, 1, "its pods still run");
    }

    #[test]
    fn read_without_status_admits_nothing() {
        let case = Case::listed(&[("p1", new()), ("p2", new())]);
        case.admission.open(&case.pods);
        let mut read = Workplan::new("p2", WorkplanSpec::default());
        read.metadata.uid = Some("p2".into());
        let key = WorkplanKey::new("ns", "p2");
        case.admission.workplans.update(&key, &read);
        case.admission.observe(&key);
        assert_eq!(case.running(&["p1", "p2"]), [true, false]);
    }
    #[test]
    fn rerun_is_queued_once_it_has_tasks() {
        let case = Case::listed(&[("p2", new())]);
        case.admission.open(&case.pods);
        let mut rerun = watched("p3", &new(), false);
        rerun.pods = 0;
        case.apply(&Event::Apply(rerun));
        let key = WorkplanKey::new("ns", "p3");
        case.admission.observe(&key);
        assert_eq!(case.admission.counts().1, 0);
        let spec = WorkplanSpec {
            tasks: vec![Task::default()],
            ..WorkplanSpec::default()
        };
        let mut read = Workplan::new("p3", spec);
        read.metadata.uid = Some("p3".into());
        case.admission.workplans.update(&key, &read);
        case.admission.observe(&key);
        assert_eq!(case.running(&["p2", "p3"]), [true, false]);
    }
}
