//! What is known of each Workplan while it has no turn: a few words, however large it is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use kubeci_api::names::WORKSPACE_FINALIZER;
use kubeci_api::{Phase, Workplan};
use tokio::sync::watch;

use crate::workplan_key::Key;

/// A Workplan as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub uid: String,
    pub version: String,
    /// Whether it has the finalizer that is held until its folder is gone.
    pub held: bool,
    /// As far as it was read; none of one that was never read and has not ended.
    pub phase: Option<Phase>,
    pub node: Option<Box<str>>,
}

impl Known {
    /// Whether it has ended and been cleaned up after.
    pub fn is_over(&self) -> bool {
        !self.held && self.phase.is_some_and(Phase::is_final)
    }
}

/// All Workplans that there are.
pub struct Workplans {
    all: Mutex<All>,
    listed: watch::Sender<bool>,
}

#[derive(Default)]
struct All {
    known: HashMap<Key, Known>,
    /// The list that is being read.
    list: HashMap<Key, Known>,
    /// The uids of those that went.
    gone: HashMap<Key, Vec<String>>,
    /// Those that had ended before they were first seen.
    ended: HashMap<String, Phase>,
}

impl Workplans {
    pub fn new() -> Self {
        Self {
            all: Mutex::default(),
            listed: watch::Sender::new(false),
        }
    }

    /// Takes note of Workplans that have ended, by their uids, before they are listed.
    pub fn ended(&self, ended: impl IntoIterator<Item = (String, Phase)>) {
        self.lock().ended.extend(ended);
    }

    pub fn apply(&self, event: &Event<PartialObjectMeta<Workplan>>) {
        let mut all = self.lock();
        match event {
            Event::Apply(workplan) => {
                let (key, known) = all.seen(workplan);
                if let Some(before) = all.known.insert(key.clone(), known.clone())
                    && before.uid != known.uid
                {
                    all.gone.entry(key).or_default().push(before.uid);
                }
            }
            Event::Delete(workplan) => {
                let key = Key::of(workplan);
                if let Some(before) = all.known.remove(&key) {
                    all.gone.entry(key).or_default().push(before.uid);
                }
            }
            Event::Init => all.list = HashMap::new(),
            Event::InitApply(workplan) => {
                let (key, known) = all.seen(workplan);
                all.list.insert(key, known);
            }
            Event::InitDone => {
                let list = std::mem::take(&mut all.list);
                let before = std::mem::replace(&mut all.known, list);
                for (key, before) in before {
                    if all.known.get(&key).is_none_or(|now| now.uid != before.uid) {
                        all.gone.entry(key).or_default().push(before.uid);
                    }
                }
                all.ended = HashMap::new();
                drop(all);
                self.listed.send_replace(true);
            }
        }
    }

    pub async fn wait_until_listed(&self) {
        // It fails when nobody can send any more, and the sender is here.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    pub fn get(&self, key: &Key) -> Option<Known> {
        self.lock().known.get(key).cloned()
    }

    pub fn len(&self) -> usize {
        self.lock().known.len()
    }

    /// The uids of those that had this place and are no more, each told once.
    pub fn take_gone(&self, key: &Key) -> Vec<String> {
        self.lock().gone.remove(key).unwrap_or_default()
    }

    /// The places of those of which this holds, and of those that are no more.
    pub fn filter(&self, concerned: impl Fn(&Key, &Known) -> bool) -> Vec<Key> {
        let all = self.lock();
        let known = all.known.iter();
        let known = known.filter(|(key, known)| concerned(key, known));
        let known = known.map(|(key, _)| key);
        known.chain(all.gone.keys()).cloned().collect()
    }

    /// Takes note of what was read.
    pub fn read(&self, key: &Key, workplan: &Workplan) {
        let status = workplan.status.as_ref();
        let mut all = self.lock();
        if let Some(known) = all.known.get_mut(key)
            && workplan.meta().uid.as_ref() == Some(&known.uid)
        {
            known.phase = Some(status.and_then(|it| it.phase).unwrap_or_default());
            known.node = status.and_then(|it| it.node.as_deref()).map(Into::into);
        }
    }

    /// How many are in each phase.
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
    fn seen(&self, workplan: &PartialObjectMeta<Workplan>) -> (Key, Known) {
        let (key, uid) = (Key::of(workplan), workplan.uid().unwrap_or_default());
        let before = self.known.get(&key).filter(|before| before.uid == uid);
        let ended = self.ended.get(&uid).copied();
        let finalizers = workplan.finalizers().iter();
        let known = Known {
            version: workplan.resource_version().unwrap_or_default(),
            held: finalizers.into_iter().any(|it| it == WORKSPACE_FINALIZER),
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

    fn seen(name: &str, uid: &str, held: bool) -> PartialObjectMeta<Workplan> {
        let meta = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("ns".into()),
            uid: Some(uid.into()),
            resource_version: Some("1".into()),
            finalizers: held.then(|| vec![WORKSPACE_FINALIZER.into()]),
            ..ObjectMeta::default()
        };
        meta.into_response_partial()
    }

    fn listed(workplans: &Workplans, list: &[PartialObjectMeta<Workplan>]) {
        workplans.apply(&Event::Init);
        for workplan in list {
            workplans.apply(&Event::InitApply(workplan.clone()));
        }
        workplans.apply(&Event::InitDone);
    }

    #[test]
    fn old_workplans_are_over_without_being_read() {
        let workplans = Workplans::new();
        workplans.ended([("1".into(), Phase::Completed), ("2".into(), Phase::Failed)]);
        listed(
            &workplans,
            &[
                seen("a", "1", false),
                seen("b", "2", true),
                seen("c", "3", false),
            ],
        );
        let over = |name| workplans.get(&Key::new("ns", name)).unwrap().is_over();
        assert_eq!(["a", "b", "c"].map(over), [true, false, false]);
        let counts = workplans.by_phase().map(|(_, count)| count);
        assert_eq!(counts, [1, 0, 1, 1]);
    }

    #[test]
    fn what_was_read_stays_known_until_another_has_the_name() {
        let workplans = Workplans::new();
        listed(&workplans, &[seen("a", "1", true)]);
        let key = Key::new("ns", "a");
        let mut read = Workplan::new("a", kubeci_api::WorkplanSpec::default());
        read.metadata.uid = Some("1".into());
        read.status = Some(WorkplanStatus {
            phase: Some(Phase::Completed),
            ..WorkplanStatus::default()
        });
        workplans.read(&key, &read);
        workplans.apply(&Event::Apply(seen("a", "1", false)));
        assert!(workplans.get(&key).unwrap().is_over());
        workplans.apply(&Event::Apply(seen("a", "2", false)));
        assert!(!workplans.get(&key).unwrap().is_over());
        assert_eq!(workplans.take_gone(&key), ["1"]);
        assert_eq!(workplans.take_gone(&key), [""; 0]);
    }

    #[test]
    fn what_a_list_no_longer_has_is_gone() {
        let workplans = Workplans::new();
        listed(&workplans, &[seen("a", "1", true), seen("b", "2", true)]);
        listed(&workplans, &[seen("b", "2", true)]);
        assert_eq!(workplans.len(), 1);
        assert_eq!(workplans.filter(|_, _| false), [Key::new("ns", "a")]);
        assert_eq!(workplans.take_gone(&Key::new("ns", "a")), ["1"]);
    }
}
