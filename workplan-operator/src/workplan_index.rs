//! The index of all Workplans: a few fields of each.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use kubeci_api::names::{SEQUENCE_LABEL, WORKSPACE_FINALIZER};
use kubeci_api::{Order, Phase, Workplan, WorkplanSpec};

use crate::admission::Recorded;
use crate::watched_workplan::WatchedWorkplan;
use crate::workplan_key::WorkplanKey;

/// A Workplan as it was last observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedWorkplan {
    pub uid: String,
    pub version: String,
    /// Whether it has the finalizer that stays until its folder is removed.
    pub has_finalizer: bool,
    pub phase: Option<Phase>,
    pub node: Option<Box<str>>,
    pub created: Timestamp,
    /// The number among the Workplans of its Workflow.
    pub sequence: i64,
    pub deleting: bool,
    /// What its status states about its admission.
    pub admission: Recorded,
    /// The most pods that its tasks may need at a time; 0 for a rerun whose tasks are not set.
    pub pods: usize,
    /// Whether a reconcile has read it. This operator may have written it since.
    pub was_read: bool,
}

impl IndexedWorkplan {
    /// Whether it has ended and is cleaned up.
    pub fn is_done(&self) -> bool {
        !self.has_finalizer && self.has_ended()
    }

    pub fn has_ended(&self) -> bool {
        self.phase.is_some_and(Phase::is_final)
    }
}

/// All Workplans, as the watch returned them.
#[derive(Default)]
pub struct WorkplanIndex {
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    known: HashMap<WorkplanKey, IndexedWorkplan>,
    /// The list that is incomplete.
    list: HashMap<WorkplanKey, IndexedWorkplan>,
    /// The uids of deleted Workplans.
    deleted: HashMap<WorkplanKey, Vec<String>>,
}

impl WorkplanIndex {
    pub fn apply(&self, event: &Event<WatchedWorkplan>) {
        let mut all = self.lock();
        match event {
            Event::Apply(workplan) => {
                let (key, known) = all.indexed(workplan);
                if let Some(before) = all.known.insert(key.clone(), known.clone())
                    && before.uid != known.uid
                {
                    all.deleted.entry(key).or_default().push(before.uid);
                }
            }
            Event::Delete(workplan) => {
                let key = WorkplanKey::of(workplan);
                if let Some(before) = all.known.remove(&key) {
                    all.deleted.entry(key).or_default().push(before.uid);
                }
            }
            Event::Init => all.list = HashMap::new(),
            Event::InitApply(workplan) => {
                let (key, known) = all.indexed(workplan);
                all.list.insert(key, known);
            }
            Event::InitDone => {
                let list = std::mem::take(&mut all.list);
                let before = std::mem::replace(&mut all.known, list);
                for (key, before) in before {
                    if all.known.get(&key).is_none_or(|now| now.uid != before.uid) {
                        all.deleted.entry(key).or_default().push(before.uid);
                    }
                }
            }
        }
    }

    pub fn get(&self, key: &WorkplanKey) -> Option<IndexedWorkplan> {
        self.lock().known.get(key).cloned()
    }

    /// Whether the Workplan exists and no reconcile has read it.
    pub fn is_unread(&self, key: &WorkplanKey) -> bool {
        self.lock()
            .known
            .get(key)
            .is_some_and(|known| !known.was_read)
    }

    pub fn len(&self) -> usize {
        self.lock().known.len()
    }

    /// The uids of deleted Workplans that had this key, each returned once.
    pub fn take_deleted(&self, key: &WorkplanKey) -> Vec<String> {
        self.lock().deleted.remove(key).unwrap_or_default()
    }

    /// The keys of the Workplans for which this is true, and of deleted ones.
    pub fn filter(
        &self,
        condition: impl Fn(&WorkplanKey, &IndexedWorkplan) -> bool,
    ) -> Vec<WorkplanKey> {
        let all = self.lock();
        let known = all.known.iter();
        let known = known.filter(|(key, known)| condition(key, known));
        let known = known.map(|(key, _)| key);
        known.chain(all.deleted.keys()).cloned().collect()
    }

    /// Updates the fields that a reconcile has read or written.
    pub fn update(&self, key: &WorkplanKey, workplan: &Workplan) {
        let status = workplan.status.as_ref();
        let mut all = self.lock();
        if let Some(known) = all.known.get_mut(key)
            && workplan.meta().uid.as_ref() == Some(&known.uid)
        {
            known.phase = Some(status.and_then(|it| it.phase).unwrap_or_default());
            let reason = status.and_then(|it| it.reason.as_deref());
            known.admission = Recorded::of(status.and_then(|it| it.phase), reason);
            known.node = status.and_then(|it| it.node.as_deref()).map(Into::into);
            known.pods = known.pods.max(most_pods(&workplan.spec));
            known.was_read = true;
        }
    }

    /// The number of Workplans in each phase.
    pub fn by_phase(&self) -> [(Phase, i64); Phase::ALL.len()] {
        let mut counts = Phase::ALL.map(|phase| (phase, 0));
        for known in self.lock().known.values() {
            let phase = known.phase.unwrap_or_default();
            if let Some((_, count)) = counts.iter_mut().find(|(it, _)| *it == phase) {
                *count += 1;
            }
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn indexed(&self, workplan: &WatchedWorkplan) -> (WorkplanKey, IndexedWorkplan) {
        let (key, uid) = (
            WorkplanKey::of(workplan),
            workplan.uid().unwrap_or_default(),
        );
        let finalizers = workplan.finalizers().iter();
        let created = workplan.meta().creation_timestamp.as_ref();
        let sequence = workplan.labels().get(SEQUENCE_LABEL);
        let mut known = IndexedWorkplan {
            version: workplan.resource_version().unwrap_or_default(),
            has_finalizer: finalizers.into_iter().any(|it| it == WORKSPACE_FINALIZER),
            phase: workplan.phase,
            node: workplan.node.clone(),
            created: created.map_or(Timestamp::MAX, |created| created.0),
            sequence: sequence.and_then(|it| it.parse().ok()).unwrap_or_default(),
            deleting: workplan.meta().deletion_timestamp.is_some(),
            admission: workplan.admission,
            pods: workplan.pods,
            was_read: false,
            uid,
        };
        if let Some(before) = self.known.get(&key).filter(|it| it.uid == known.uid) {
            known.was_read = before.was_read;
            // The event may be older than the last write.
            known.phase = before.phase.filter(|it| it.is_final()).or(known.phase);
            known.node = known.node.or_else(|| before.node.clone());
            known.pods = known.pods.max(before.pods);
        }
        (key, known)
    }
}

fn most_pods(spec: &WorkplanSpec) -> usize {
    match spec.order {
        Order::Linear => spec.tasks.len().min(1),
        Order::Graph | Order::Relay => spec.tasks.len(),
    }
}

#[cfg(test)]
mod tests {
    use kubeci_api::WorkplanStatus;
    use serde_json::json;

    use super::*;

    fn observed(name: &str, uid: &str, has_finalizer: bool, phase: &str) -> WatchedWorkplan {
        let finalizers: &[&str] = if has_finalizer {
            &[WORKSPACE_FINALIZER]
        } else {
            &[]
        };
        let workplan = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": "1", "finalizers": finalizers},
            "status": {"phase": phase},
        });
        serde_json::from_str(&workplan.to_string()).unwrap()
    }

    fn listed(workplans: &WorkplanIndex, list: &[WatchedWorkplan]) {
        workplans.apply(&Event::Init);
        for workplan in list {
            workplans.apply(&Event::InitApply(workplan.clone()));
        }
        workplans.apply(&Event::InitDone);
    }

    #[test]
    fn ended_workplans_are_done_without_a_read() {
        let workplans = WorkplanIndex::default();
        listed(
            &workplans,
            &[
                observed("a", "1", false, "completed"),
                observed("b", "2", true, "failed"),
                observed("c", "3", false, "pending"),
            ],
        );
        let done = |name| {
            workplans
                .get(&WorkplanKey::new("ns", name))
                .unwrap()
                .is_done()
        };
        assert_eq!(["a", "b", "c"].map(done), [true, false, false]);
        let counts = workplans.by_phase().map(|(_, count)| count);
        assert_eq!(counts, [1, 0, 1, 1, 0]);
    }

    #[test]
    fn read_fields_stay_until_the_uid_changes() {
        let workplans = WorkplanIndex::default();
        listed(&workplans, &[observed("a", "1", true, "pending")]);
        let key = WorkplanKey::new("ns", "a");
        let mut read = Workplan::new("a", kubeci_api::WorkplanSpec::default());
        read.metadata.uid = Some("1".into());
        read.status = Some(WorkplanStatus {
            phase: Some(Phase::Completed),
            ..WorkplanStatus::default()
        });
        workplans.update(&key, &read);
        workplans.apply(&Event::Apply(observed("a", "1", false, "running")));
        assert!(workplans.get(&key).unwrap().is_done());
        workplans.apply(&Event::Apply(observed("a", "2", false, "pending")));
        assert!(!workplans.get(&key).unwrap().is_done());
        assert_eq!(workplans.take_deleted(&key), ["1"]);
        assert_eq!(workplans.take_deleted(&key), [""; 0]);
    }

    #[test]
    fn unlisted_workplan_is_deleted() {
        let workplans = WorkplanIndex::default();
        listed(
            &workplans,
            &[
                observed("a", "1", true, "pending"),
                observed("b", "2", true, "pending"),
            ],
        );
        listed(&workplans, &[observed("b", "2", true, "pending")]);
        assert_eq!(workplans.len(), 1);
        assert_eq!(
            workplans.filter(|_, _| false),
            [WorkplanKey::new("ns", "a")]
        );
        assert_eq!(workplans.take_deleted(&WorkplanKey::new("ns", "a")), ["1"]);
    }
}
