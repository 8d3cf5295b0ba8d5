//! Observations of the watches.

use super::{Engine, shared_watch::WatchError};
use crate::{
    filter::{selected_events, selects_deletion},
    object::{ObjectRef, ObservedObject},
    observation::Observation,
    uid::{Uid, Uids},
    watch_key::WatchKey,
};

impl Engine {
    /// An object was added, modified or listed.
    pub fn object_applied(&mut self, key: &WatchKey, epoch: u64, observed: &ObservedObject) {
        for uid in self.subscribers(key, epoch) {
            let Some(workflow) = self.workflows.get(&uid) else {
                continue;
            };
            let selection = selected_events(&workflow.active_filters, &uid, observed);
            self.counters.matched += u64::from(selection.is_some());
            if selection.is_none() && !workflow.queue.tracks(&observed.uid) {
                continue;
            }
            let live = Observation::Live {
                object: observed.object.clone(),
                fingerprint: observed.fingerprint.clone(),
                selection,
            };
            self.observe(&uid, [(observed.uid.clone(), live)]);
        }
    }

    /// An object was deleted.
    pub fn object_deleted(
        &mut self,
        key: &WatchKey,
        epoch: u64,
        object_uid: &Uid,
        object: &ObjectRef,
    ) {
        for uid in self.subscribers(key, epoch) {
            let Some(workflow) = self.workflows.get(&uid) else {
                continue;
            };
            if workflow.queue.tracks(object_uid) {
                let selected = selects_deletion(&workflow.active_filters, object);
                self.counters.matched += u64::from(selected);
                let deleted = Observation::Deleted { selected };
                self.observe(&uid, [(object_uid.clone(), deleted)]);
            }
        }
    }

    /// The list of the epoch is complete: tracked objects that it does not have are deleted.
    pub fn objects_listed(&mut self, key: &WatchKey, epoch: u64, existing: &Uids) {
        for uid in self.subscribers(key, epoch) {
            let Some(workflow) = self.workflows.get(&uid) else {
                continue;
            };
            let tracked = workflow.queue.tracked_objects();
            let missing =
                tracked.filter(|(uid, object)| key.covers(object) && !existing.contains(*uid));
            let deleted = missing.map(|(uid, object)| {
                let selected = selects_deletion(&workflow.active_filters, object);
                (uid.clone(), Observation::Deleted { selected })
            });
            let deleted: Vec<_> = deleted.collect();
            self.observe(&uid, deleted);
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

    /// A watch has begun to fail, or works again.
    pub fn watch_error(&mut self, key: &WatchKey, epoch: u64, error: Option<WatchError>) {
        if let Some(watch) = self
            .watches
            .get_mut(key)
            .filter(|watch| watch.epoch == epoch)
        {
            watch.error = error;
            self.dirty.extend(watch.subscribers.iter().cloned());
        }
    }

    /// The API does not serve the resource any more: its kind must be discovered again.
    pub fn resource_not_served(&mut self, key: &WatchKey, epoch: u64) {
        let watch = self.watches.get(key);
        let is_current = watch.is_some_and(|watch| watch.epoch == epoch);
        if is_current && self.kinds.remove(&key.resource.kind).is_some() {
            self.reconcile_where(|workflow| workflow.subscriptions.contains_key(key));
        }
    }

    pub(super) fn observe(
        &mut self,
        workflow: &Uid,
        observations: impl IntoIterator<Item = (Uid, Observation)>,
    ) {
        for (uid, observation) in observations {
            let state = self.workflows.get_mut(workflow);
            let event = self.creation_queue.next_event();
            let fires = state.is_some_and(|state| state.queue.observe(&uid, observation, event));
            self.fired(workflow, fires);
        }
        self.queue_changed(workflow);
    }

    /// The Workflows that observations of this epoch concern.
    fn subscribers(&self, key: &WatchKey, epoch: u64) -> Vec<Uid> {
        let watch = self.watches.get(key).filter(|watch| watch.epoch == epoch);
        let subscribers = watch.into_iter().flat_map(|watch| &watch.subscribers);
        let since = |uid: &Uid| self.workflows.get(uid)?.subscriptions.get(key).copied();
        subscribers
            .filter(|uid| since(uid).is_some_and(|since| since <= epoch))
            .cloned()
            .collect()
    }
}
