use kubeci_api::LedgerEntry;

use crate::{fingerprint::StoredFingerprint, object::ObjectRef};

/// The bytes of an entry beside its strings: the names of its fields, and the uid a second time.
pub(super) const FIXED_BYTES: usize = 180;

/// The recorded state of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub object: ObjectRef,
    /// The head of the object's chain of events; `None` before its first Workplan.
    pub head: Option<String>,
    /// The last state that matched; `None` while the object does not match.
    pub fingerprint: Option<StoredFingerprint>,
    /// Whether the triggers select the deletion of the object.
    pub on_delete: bool,
}

impl Entry {
    /// The entry of an object that does not match now, but has a chain of events.
    #[must_use]
    pub fn unmatched(object: ObjectRef, head: String) -> Self {
        Self {
            object,
            head: Some(head),
            fingerprint: None,
            on_delete: false,
        }
    }

    /// The approximate size of the entry in a status.
    pub(super) fn bytes(&self) -> usize {
        let fingerprint = self.fingerprint.as_ref().map(StoredFingerprint::as_str);
        let strings = [
            self.object.namespace.as_deref(),
            self.head.as_deref(),
            fingerprint,
        ];
        let strings: usize = strings.into_iter().flatten().map(str::len).sum();
        let kind = &self.object.resource.kind;
        let resource = kind.group.len() + kind.name.len() + self.object.resource.plural.len();
        FIXED_BYTES + self.object.name.len() + resource + strings
    }

    /// Whether both lead to the same transitions after a restart. A changed generation alone is not worth a status
    /// write: the generation of some kinds changes with each write of their status.
    pub(super) fn is_equivalent(&self, other: &Self) -> bool {
        let [hash, other_hash] = [self, other].map(|entry| {
            let fingerprint = entry.fingerprint.as_ref();
            fingerprint.map(StoredFingerprint::hash)
        });
        hash == other_hash
            && (&self.object, &self.head, self.on_delete)
                == (&other.object, &other.head, other.on_delete)
    }

    /// The entry in `status.ledger`. The fingerprint is stored in `status.lastObservedResourceGeneration`.
    pub(super) fn to_status(&self) -> LedgerEntry {
        let ObjectRef {
            resource,
            namespace,
            name,
        } = &self.object;
        LedgerEntry {
            resource: resource.to_string(),
            kind: resource.kind.name.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            head: self.head.clone(),
            on_delete: self.on_delete,
        }
    }
}
