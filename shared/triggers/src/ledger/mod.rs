//! The ledger: the recorded state of each object that one Workflow watches. The Workflow's status stores it.

mod entry;
mod link;
mod replay;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kubeci_api::{LedgerEntry, WorkflowStatus};
use kubeci_compiler::STORED_MAX;
use serde_json::{Map, Value, json};

use crate::{object::ObjectRef, resource::Resource, uid::Uid};
use entry::FIXED_BYTES;

pub use entry::Entry;
pub use link::Link;

/// The most objects that a Workflow can track.
pub const ENTRIES_MAX: usize = 3000;
/// The most bytes of a ledger in the status.
const BYTES_MAX: usize = 1_000_000;
/// The bytes reserved for the rest of the status and for `metadata.managedFields`.
const RESERVED: usize = 64 << 10;

/// The recorded state of the objects of one Workflow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    entries: HashMap<Uid, Entry>,
    bytes: usize,
    /// The objects whose entries changed since [`Ledger::take_dirty`].
    dirty: HashSet<Uid>,
    /// The bytes of the Workflow, which is stored in the same object.
    workflow_bytes: usize,
}

/// The remaining capacity of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub entries: usize,
    pub bytes: usize,
}

impl Capacity {
    /// Whether this many more entries fit, however long their names are.
    #[must_use]
    pub fn fits(self, entries: usize) -> bool {
        const LONGEST: usize = FIXED_BYTES + 2 * 253;
        self.entries >= entries && self.bytes >= entries * LONGEST
    }
}

impl Ledger {
    /// Reads the ledger from a Workflow's status.
    #[must_use]
    pub fn from_status(status: &WorkflowStatus) -> Self {
        let fingerprints = status.last_observed_resource_generation.as_ref();
        let mut resources: HashSet<Arc<Resource>> = HashSet::new();
        let entries = status.ledger.iter().map(|(uid, stored)| {
            let resource = Resource::parse(&stored.resource, &stored.kind);
            let fingerprint = fingerprints.and_then(|fingerprints| fingerprints.get(uid));
            let entry = Entry {
                object: ObjectRef {
                    resource: interned(&mut resources, resource),
                    namespace: stored.namespace.clone(),
                    name: stored.name.clone(),
                },
                head: stored.head.clone(),
                fingerprint: fingerprint.cloned().map(Into::into),
                on_delete: stored.on_delete,
            };
            (uid.as_str().into(), entry)
        });
        let entries: HashMap<Uid, Entry> = entries.collect();
        let bytes = entries.values().map(Entry::bytes).sum();
        Self {
            entries,
            bytes,
            dirty: HashSet::new(),
            workflow_bytes: 0,
        }
    }

    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&Entry> {
        self.entries.get(uid)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Uid, &Entry)> {
        self.entries.iter()
    }

    #[must_use]
    pub fn capacity(&self) -> Capacity {
        Capacity {
            entries: ENTRIES_MAX.saturating_sub(self.entries.len()),
            bytes: self.max_bytes().saturating_sub(self.bytes),
        }
    }

    /// Reserves the bytes of the Workflow, which is stored in the same object.
    pub fn reserve(&mut self, workflow_bytes: usize) {
        self.workflow_bytes = workflow_bytes;
    }

    fn max_bytes(&self) -> usize {
        let available = STORED_MAX.saturating_sub(self.workflow_bytes + RESERVED);
        BYTES_MAX.min(available)
    }

    /// Replaces or removes an entry. Returns whether the change is worth a status write.
    pub fn set(&mut self, uid: &Uid, entry: Option<Entry>) -> bool {
        let before = self.entries.get(uid);
        if before == entry.as_ref() {
            return false;
        }
        let equivalent = before
            .zip(entry.as_ref())
            .is_some_and(|(before, entry)| before.is_equivalent(entry));
        self.bytes += entry.as_ref().map_or(0, Entry::bytes);
        let before = match entry {
            Some(entry) => self.entries.insert(uid.clone(), entry),
            None => self.entries.remove(uid),
        };
        self.bytes -= before.as_ref().map_or(0, Entry::bytes);
        self.dirty.insert(uid.clone());
        !equivalent
    }

    /// The objects whose entries changed since the last call.
    pub fn take_dirty(&mut self) -> HashSet<Uid> {
        std::mem::take(&mut self.dirty)
    }

    /// The merge patch that writes the entries of these objects into a Workflow's status.
    ///
    /// # Errors
    /// An entry cannot be serialized, which its types exclude.
    pub fn patch(
        &self,
        uids: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> serde_json::Result<Map<String, Value>> {
        let (mut fingerprints, mut entries) = (Map::new(), Map::new());
        for uid in uids {
            let uid = uid.as_ref();
            let entry = self.entries.get(uid);
            let fingerprint = entry.and_then(|entry| entry.fingerprint.as_ref());
            let fingerprint = fingerprint.map_or(Value::Null, |it| it.as_str().into());
            fingerprints.insert(uid.to_owned(), fingerprint);
            let entry = entry.map(|entry| entry_patch(&entry.to_status()));
            entries.insert(uid.to_owned(), entry.transpose()?.unwrap_or_default());
        }
        let fields = [
            ("lastObservedResourceGeneration", fingerprints),
            ("ledger", entries),
        ];
        let changed = fields.into_iter().filter(|(_, patch)| !patch.is_empty());
        Ok(changed
            .map(|(field, patch)| (field.to_owned(), Value::from(patch)))
            .collect())
    }
}

/// The merge patch of an entry. It removes optional fields that an earlier entry may have had.
fn entry_patch(entry: &LedgerEntry) -> serde_json::Result<Value> {
    let mut patch = json!({"namespace": null, "head": null, "onDelete": null});
    if let (Value::Object(patch), Value::Object(entry)) = (&mut patch, serde_json::to_value(entry)?)
    {
        patch.extend(entry);
    }
    Ok(patch)
}

fn interned(resources: &mut HashSet<Arc<Resource>>, resource: Resource) -> Arc<Resource> {
    let resource = Arc::new(resource);
    if let Some(existing) = resources.get(&resource) {
        return existing.clone();
    }
    resources.insert(resource.clone());
    resource
}
