//! Replay: Workplans that were created after the last status write update the ledger after a restart.

use std::sync::Arc;

use kubeci_api::{TriggerEvent, TriggeredBy};

use super::{
    Ledger,
    entry::Entry,
    link::{Chain, Link, chains},
};
use crate::{
    fingerprint::StoredFingerprint,
    object::ObjectRef,
    resource::{Kind, Resource},
};

impl Ledger {
    /// Follows each object's chain from the head in its entry, link by link. `on_delete` says whether the triggers
    /// select the deletion of an object.
    pub fn replay(&mut self, links: Vec<Link>, on_delete: impl Fn(&ObjectRef) -> bool) {
        for (uid, mut chain) in chains(links) {
            while let Some(link) = self.next_link(&uid, &mut chain) {
                if link.trigger.event == TriggerEvent::Delete {
                    self.set(&uid, None);
                    break;
                }
                let entry = self.entry_after(&uid, link, &on_delete);
                if !self.fits(&uid, &entry) {
                    break;
                }
                self.set(&uid, Some(entry));
            }
        }
    }

    fn next_link(&self, uid: &str, chain: &mut Chain) -> Option<Link> {
        let head = self.get(uid).and_then(|entry| entry.head.clone());
        chain.get_mut(&head)?.pop()
    }

    /// Whether the ledger has room for the entry. Only Workplans that users wrote can exceed it.
    fn fits(&self, uid: &str, entry: &Entry) -> bool {
        let before = self.get(uid);
        let bytes = self.bytes - before.map_or(0, Entry::bytes) + entry.bytes();
        (before.is_some() || self.capacity().entries > 0) && bytes <= self.max_bytes()
    }

    fn entry_after(&self, uid: &str, link: Link, on_delete: impl Fn(&ObjectRef) -> bool) -> Entry {
        let (object, on_delete) = match self.get(uid) {
            Some(entry) if entry.fingerprint.is_some() => (entry.object.clone(), entry.on_delete),
            Some(entry) => (entry.object.clone(), on_delete(&entry.object)),
            None => {
                let object = object_of(&link.trigger);
                let on_delete = on_delete(&object);
                (object, on_delete)
            }
        };
        Entry {
            object,
            head: Some(link.head),
            fingerprint: Some(StoredFingerprint::new(
                &link.trigger.token,
                link.trigger.generation,
            )),
            on_delete,
        }
    }
}

/// The object of a trigger. A Workplan does not name the plural: the default one is used until a watch observes the
/// object.
fn object_of(trigger: &TriggeredBy) -> ObjectRef {
    let kind = Kind::new(&trigger.api_version, &trigger.kind);
    ObjectRef {
        resource: Arc::new(Resource::with_default_plural(kind)),
        namespace: trigger.namespace.clone(),
        name: trigger.name.clone(),
    }
}
