//! What the watches show.

use super::{Engine, subscriptions::WatchError};
use crate::{
    filter::{selected_events, selects_deletion},
    object::{ObjectRef, ObservedObject, Uid, Uids},
    observation::Observation,
    watch_key::WatchKey,
};

impl Engine {
    /// An object exists, as new or changed or merely listed.
    pub fn object_applied(&mut self, key: &WatchKey, epoch: u64, observed: &ObservedObject) {
        for workflow in self.subscribers(key, epoch) {
            let Some(record) = self.records.get(&workflow) else {
                continue;
            };
            let selection = selected_events(&record.active_filters, &workflow, observed);
            self.tally.matched += u64::from(selection.is_some());
            if selection.is_none() && !record.queue.tracks(&observed.uid) {
                continue;
            }
            let (object, fingerprint) = (observed.object.clone(), observed.fingerprint.clone());
            let live = Observation::Live {
                object,
                fingerprint,
                selection,
            };
            self.observe(&workflow, [(observed.uid.clone(), live)]);
        }
    }

    /// An object was deleted.
    pub fn object_deleted(&mut self, key: &WatchKey, epoch: u64, uid: &Uid, object: &ObjectRef) {
        for workflow in self.subscribers(key, epoch) {
            let Some(record) = self.records.get(&workflow) else {
                continue;
            };
            if record.queue.tracks(uid) {
                let selected = selects_deletion(&record.active_filters, object);
                self.tally.matched += u64::from(selected);
                self.observe(
                    &workflow,
                    [(uid.clone(), Observation::Deleted { selected })],
                );
            }
        }
    }

    /// All objects that exist have just been shown: others do not.
    pub fn objects_listed(&mut self, key: &WatchKey, epoch: u64, exist: &Uids) {
        for workflow in self.subscribers(key, epoch) {
            let Some(record) = self.records.get(&workflow) else {
                continue;
            };
            let known = record.queue.tracked_objects();
            let gone = known.filter(|(uid, object)| key.covers(object) && !exist.contains(*uid));
            let gone = gone.map(|(uid, object)| {
                let selected = selects_deletion(&record.active_filters, object);
                (uid.clone(), Observation::Deleted { selected })
            });
            let gone: Vec<_> = gone.collect();
            self.observe(&workflow, gone);
        }
        if let Some(watch) = self
            .watches
            .get_mut(key)
            .filter(|watch| watch.epoch == epoch)
        {
            watch.listed = true;
            self.watch_error(key, epoch, None);
        }
    }

    /// A watch has begun to fail, or has recovered.
    pub fn watch_error(&mut self, key: &WatchKey, epoch: u64, error: Option<WatchError>) {
        if let Some(watch) = self
            .watches
            .get_mut(key)
            .filter(|watch| watch.epoch == epoch)
        {
            watch.error = error;
            self.untold.extend(watch.subscribers.iter().cloned());
        }
    }

    /// The API serves what is watched no more: it must be found anew.
    pub fn resource_not_served(&mut self, key: &WatchKey, epoch: u64) {
        let current = self
            .watches
            .get(key)
            .is_some_and(|watch| watch.epoch == epoch);
        if current && self.kinds.remove(&key.resource.kind).is_some() {
            self.reconcile_where(|record| record.subscriptions.contains_key(key));
        }
    }

    pub(super) fn observe(
        &mut self,
        workflow: &Uid,
        observations: impl IntoIterator<Item = (Uid, Observation)>,
    ) {
        for (uid, observation) in observations {
            let record = self.records.get_mut(workflow);
            let dispatch = record.and_then(|record| record.queue.observe(&uid, observation));
            self.dispatch(workflow, dispatch);
        }
        self.settle(workflow);
    }

    fn subscribers(&self, key: &WatchKey, epoch: u64) -> Vec<Uid> {
        let watch = self.watches.get(key).filter(|watch| watch.epoch == epoch);
        let subscribers = watch.into_iter().flat_map(|watch| &watch.subscribers);
        let since = |uid: &Uid| self.records.get(uid)?.subscriptions.get(key).copied();
        subscribers
            .filter(|uid| since(uid).is_some_and(|since| since <= epoch))
            .cloned()
            .collect()
    }
}
