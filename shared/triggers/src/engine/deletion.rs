//! Which ended Workplans are deleted, and when.

use k8s_openapi::jiff::Timestamp;

use super::{Engine, named};
use crate::object::Uid;

/// A Workplan to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
}

impl Engine {
    /// Time has passed: what has expired by now is to be told, and then deleted.
    pub fn expire(&mut self, now: Timestamp) {
        for (owner, runs) in &self.runs {
            let Some(record) = named(&self.records, owner) else {
                continue;
            };
            let told = record.queue.recorded_sequence();
            let limits = record.limits.as_ref();
            if limits.is_some_and(|limits| record.deleted.is_due(limits, runs, told, now)) {
                self.untold.insert(owner.uid.clone());
            }
        }
    }

    /// What was reported of a Workflow is in its status, or may not be.
    pub fn written(&mut self, workflow: &str, written: bool) {
        let Some(record) = self.records.get_mut(workflow) else {
            return;
        };
        if !written {
            record.written.fields = None;
            return;
        }
        record.written.behind.clear();
        let Some(runs) = self.runs.get(&record.reference.owner()) else {
            return;
        };
        let namespace = &record.reference.namespace;
        let deletion = |name: &std::sync::Arc<str>| {
            Some(Deletion {
                namespace: namespace.clone(),
                name: name.to_string(),
                uid: runs.get(name)?.uid.clone(),
            })
        };
        let deletions = record.deleted.order().filter_map(deletion);
        self.deletions.extend(deletions);
    }

    /// As if the stored status were empty, so that the next report says all.
    #[cfg(test)]
    pub fn forget_written(&mut self, workflow: &str) {
        let record = self.records.get_mut(workflow).unwrap();
        let known = record.queue.ledger().iter().map(|(uid, _)| uid.clone());
        record.written.behind = known.collect();
        record.written.fields = None;
    }

    /// The Workplans to delete since this was last asked.
    pub fn take_deletions(&mut self) -> Vec<Deletion> {
        std::mem::take(&mut self.deletions)
    }
}
