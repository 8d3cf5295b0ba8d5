//! The deletion of finished Workplans.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::{Engine, controlling};
use crate::uid::Uid;

/// A Workplan to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid, so that a Workplan of the same name created later is kept.
    pub uid: Uid,
}

impl Engine {
    /// Marks the Workflows as dirty whose Workplans have expired by now. The next status writes delete these.
    pub fn expire(&mut self, now: Timestamp) {
        self.forget_expected(now);
        for (key, workplans) in &self.workplans {
            let Some(workflow) = controlling(&self.workflows, key) else {
                continue;
            };
            let recorded = workflow.queue.recorded_sequence();
            let is_due = workflow.limits.as_ref().is_some_and(|limits| {
                let deletions = &workflow.deletions;
                deletions.is_due(limits, workplans, recorded, now)
            });
            if is_due {
                self.dirty.insert(key.uid.clone());
            }
        }
    }

    /// The last status update of a Workflow was written, or may not have been.
    pub fn status_written(&mut self, uid: &str, written: bool) {
        let Some(workflow) = self.workflows.get_mut(uid) else {
            return;
        };
        if !written {
            workflow.stored_status.fields = None;
            return;
        }
        workflow.stored_status.unflushed.clear();
        let Some(workplans) = self.workplans.get(&workflow.reference.key()) else {
            return;
        };
        let namespace = &workflow.reference.namespace;
        let deletion = |name: &Arc<str>| {
            Some(Deletion {
                namespace: namespace.clone(),
                name: name.to_string(),
                uid: workplans.get(name)?.uid.clone(),
            })
        };
        let requested = workflow.deletions.request();
        self.deletions.extend(requested.filter_map(deletion));
    }

    /// Forgets the stored status, so that the next update has all fields.
    #[cfg(test)]
    pub(crate) fn forget_stored_status(&mut self, uid: &str) {
        let workflow = self.workflows.get_mut(uid).unwrap();
        let recorded = workflow.queue.ledger().iter();
        workflow.stored_status.unflushed = recorded.map(|(uid, _)| uid.clone()).collect();
        workflow.stored_status.fields = None;
    }

    /// The Workplans to delete since the last call.
    pub fn take_deletions(&mut self) -> Vec<Deletion> {
        std::mem::take(&mut self.deletions)
    }
}
