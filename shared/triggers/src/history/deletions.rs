use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use kubeci_api::HistoryStatus;

use super::limits::HistoryLimits;
use crate::{observed_workplan::WorkplanOutcome, workplan_index::WorkplanIndex};

/// The most Workplans of one Workflow that are deleted between two writes of its status.
const BATCH_MAX: usize = 100;

/// The deleted Workplans of one Workflow, and the batch that is being deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletions {
    succeeded: i64,
    failed: i64,
    /// The Workplans that are being deleted, until they are gone. They are counted already.
    pub(super) batch: BTreeMap<Arc<str>, WorkplanOutcome>,
    /// Whether the deletion of the batch was requested.
    requested: bool,
}

impl Deletions {
    /// Reads the status, given the Workplans that exist.
    #[must_use]
    pub fn from_status(status: Option<&HistoryStatus>, workplans: Option<&WorkplanIndex>) -> Self {
        let Some(status) = status else {
            return Self::default();
        };
        let existing = |name: &String| {
            let outcome = workplans?.get(name)?.outcome()?;
            Some((name.as_str().into(), outcome))
        };
        Self {
            succeeded: status.succeeded,
            failed: status.failed,
            batch: status.deleting.iter().filter_map(existing).collect(),
            requested: false,
        }
    }

    /// The status; `None` before the first deletion.
    #[must_use]
    pub fn to_status(&self) -> Option<HistoryStatus> {
        let names = self.batch.keys().map(ToString::to_string);
        let status = HistoryStatus {
            succeeded: self.succeeded,
            failed: self.failed,
            deleting: names.collect(),
        };
        (status != HistoryStatus::default()).then_some(status)
    }

    /// The number of Workplans with this outcome, deleted ones included.
    #[must_use]
    pub fn count(&self, outcome: WorkplanOutcome, workplans: Option<&WorkplanIndex>) -> i64 {
        let deleted = match outcome {
            WorkplanOutcome::Succeeded => self.succeeded,
            WorkplanOutcome::Failed => self.failed,
        };
        let counted_twice = self.batch.values().filter(|of| **of == outcome).count();
        let existing = workplans.map_or(0, |workplans| workplans.finished(outcome).len());
        let existing = i64::try_from(existing.saturating_sub(counted_twice)).unwrap_or(i64::MAX);
        deleted.saturating_add(existing)
    }

    /// Whether a new batch can be chosen.
    #[must_use]
    pub fn is_due(
        &self,
        limits: &HistoryLimits,
        workplans: &WorkplanIndex,
        recorded_sequence: i64,
        now: Timestamp,
    ) -> bool {
        let mut excess = limits.excess(workplans, recorded_sequence, now);
        self.batch.is_empty() && excess.next().is_some()
    }

    /// Removes deleted Workplans from the batch. Chooses and counts the next batch once the batch is empty.
    pub fn advance(
        &mut self,
        limits: Option<&HistoryLimits>,
        workplans: &WorkplanIndex,
        recorded_sequence: i64,
        now: Timestamp,
    ) {
        self.remove_deleted(workplans);
        let Some(limits) = limits.filter(|_| self.batch.is_empty()) else {
            return;
        };
        let excess = limits.excess(workplans, recorded_sequence, now);
        let batch = excess.take(BATCH_MAX);
        self.batch = batch
            .map(|(name, outcome)| (name.clone(), outcome))
            .collect();
        for outcome in self.batch.values() {
            *counter(&mut self.succeeded, &mut self.failed, *outcome) += 1;
        }
        self.requested = false;
    }

    fn remove_deleted(&mut self, workplans: &WorkplanIndex) {
        self.batch.retain(|name, outcome| {
            let state = workplans.get(name);
            let recreated =
                state.is_some_and(|state| !state.deleting && state.outcome() != Some(*outcome));
            if recreated {
                // Another Workplan has the name by now. It is neither deleted nor counted here.
                *counter(&mut self.succeeded, &mut self.failed, *outcome) -= 1;
            }
            state.is_some_and(|state| state.outcome() == Some(*outcome))
        });
    }

    /// The Workplans to delete, once per batch. The status must name them before.
    pub fn request(&mut self) -> impl Iterator<Item = &Arc<str>> {
        let first = !std::mem::replace(&mut self.requested, true);
        self.batch.keys().filter(move |_| first)
    }
}

fn counter<'a>(
    succeeded: &'a mut i64,
    failed: &'a mut i64,
    outcome: WorkplanOutcome,
) -> &'a mut i64 {
    match outcome {
        WorkplanOutcome::Succeeded => succeeded,
        WorkplanOutcome::Failed => failed,
    }
}
