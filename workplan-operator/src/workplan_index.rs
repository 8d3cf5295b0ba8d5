//! The index of all Workplans: a few fields of each.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use kubeci_api::names::WORKSPACE_FINALIZER;
use kubeci_api::{Phase, Workplan};

use crate::workplan_key::WorkplanKey;

/// A Workplan as it was last observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedWorkplan {
    pub uid: String,
    pub version: String,
    /// Whether it has the finalizer that stays until its folder is removed.
    pub has_finalizer: bool,
    /// As it was last read; none before the first read, unless it had ended by then.
    pub phase: Option<Phase>,
    pub node: Option<Box<str>>,
}

impl IndexedWorkplan {
    /// Whether it has ended and is cleaned up.
    pub fn is_done(&self) -> bool {
        !self.has_finalizer && self.phase.is_some_and(Phase::is_final)
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
    /// The phases of Workplans that had ended before they were listed, by uid.
    ended: HashMap<String, Phase>,
}

impl WorkplanIndex {
    /// Adds Workplans that have ended, by uid, before they are listed.
    pub fn ended(&self, ended: impl IntoIterator<Item = (String, Phase)>) {
        self.lock().ended.extend(ended);
    }

    pub fn apply(&self, event: &Event<PartialObjectMeta<Workplan>>) {
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
                all.ended = HashMap::new();
            }
        }
    }

    pub fn get(&self, key: &WorkplanKey) -> Option<IndexedWorkplan> {
        self.lock().known.get(key).cloned()
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

    /// Updates the fields that are only in the complete Workplan.
    pub fn update(&self, key: &WorkplanKey, workplan: &Workplan) {
        let status = workplan.status.as_ref();
        let mut all = self.lock();
        if let Some(known) = all.known.get_mut(key)
            && workplan.meta().uid.as_ref() == Some(&known.uid)
        {
            known.phase = Some(status.and_then(|it| it.phase).unwrap_or_default());
            known.node = status.and_then(|it| it.node.as_deref()).map(Into::into);
        }
    }

    /// The number of Workplans in each phase.
    pub fn by_phase(&self) -> [(Phase, i64); 4] {
        let mut counts = [
            Phase::Pending,
            Phase::Running,
            Phase::Completed,
            Phase::Failed,
        ]
        .map(|phase| (phase, 0));
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
    fn indexed(&self, workplan: &PartialObjectMeta<Workplan>) -> (WorkplanKey, IndexedWorkplan) {
        let (key, uid) = (
            WorkplanKey::of(workplan),
            workplan.uid().unwrap_or_default(),
        );
        let before = self.known.get(&key).filter(|before| before.uid == uid);
        let ended = self.ended.get(&uid).copied();
        let finalizers = workplan.finalizers().iter();
        let known = IndexedWorkplan {
            version: workplan.resource_version().unwrap_or_default(),
            has_finalizer: finalizers.into_iter().any(|it| it == WORKSPACE_FINALIZER),
            phase: before.and_then(|before| before.phase).or(ended),
            node: before.and_then(|before| before.node.clone()),
            uid,
        };
        (key, known)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{ObjectMeta, PartialObjectMetaExt};
    use kubeci_api::WorkplanStatus;

    use super::*;

    fn observed(name: &str, uid: &str, has_finalizer: bool) -> PartialObjectMeta<Workplan> {
        let meta = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("ns".into()),
            uid: Some(uid.into()),
            resource_version: Some("1".into()),
            finalizers: has_finalizer.then(|| vec![WORKSPACE_FINALIZER.into()]),
            ..ObjectMeta::default()
        };
        meta.into_response_partial()
    }

    fn listed(workplans: &WorkplanIndex, list: &[PartialObjectMeta<Workplan>]) {
        workplans.apply(&Event::Init);
        for workplan in list {
            workplans.apply(&Event::InitApply(workplan.clone()));
        }
        workplans.apply(&Event::InitDone);
    }

    #[test]
    fn ended_workplans_are_done_without_a_read() {
        let workplans = WorkplanIndex::default();
        workplans.ended([("1".into(), Phase::Completed), ("2".into(), Phase::Failed)]);
        listed(
            &workplans,
            &[
                observed("a", "1", false),
                observed("b", "2", true),
                observed("c", "3", false),
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
        assert_eq!(counts, [1, 0, 1, 1]);
    }

    #[test]
    fn read_fields_stay_until_the_uid_changes() {
        let workplans = WorkplanIndex::default();
        listed(&workplans, &[observed("a", "1", true)]);
        let key = WorkplanKey::new("ns", "a");
        let mut read = Workplan::new("a", kubeci_api::WorkplanSpec::default());
        read.metadata.uid = Some("1".into());
        read.status = Some(WorkplanStatus {
            phase: Some(Phase::Completed),
            ..WorkplanStatus::default()
        });
        workplans.update(&key, &read);
        workplans.apply(&Event::Apply(observed("a", "1", false)));
        assert!(workplans.get(&key).unwrap().is_done());
        workplans.apply(&Event::Apply(observed("a", "2", false)));
        assert!(!workplans.get(&key).unwrap().is_done());
        assert_eq!(workplans.take_deleted(&key), ["1"]);
        assert_eq!(workplans.take_deleted(&key), [""; 0]);
    }

    #[test]
    fn unlisted_workplan_is_deleted() {
        let workplans = WorkplanIndex::default();
        listed(
            &workplans,
            &[observed("a", "1", true), observed("b", "2", true)],
        );
        listed(&workplans, &[observed("b", "2", true)]);
        assert_eq!(workplans.len(), 1);
        assert_eq!(
            workplans.filter(|_, _| false),
            [WorkplanKey::new("ns", "a")]
        );
        assert_eq!(workplans.take_deleted(&WorkplanKey::new("ns", "a")), ["1"]);
    }
}
