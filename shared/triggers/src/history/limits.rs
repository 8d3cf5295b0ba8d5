use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kubeci_api::History;

use crate::{
    observed_workplan::{WorkplanOutcome, WorkplanState},
    workplan_index::WorkplanIndex,
};

/// How many finished Workplans are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// The number of succeeded Workplans.
    pub succeeded: usize,
    /// The number of failed Workplans.
    pub failed: usize,
    /// The time after a Workplan finished.
    pub ttl: Duration,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            succeeded: 100,
            failed: 100,
            ttl: Duration::from_hours(7 * 24),
        }
    }
}

impl HistoryLimits {
    /// The limits of a Workflow, with these defaults.
    #[must_use]
    pub fn with(self, history: Option<&History>) -> Self {
        let Some(history) = history else {
            return self;
        };
        let count = |given: Option<i32>| given.and_then(|count| usize::try_from(count).ok());
        Self {
            succeeded: count(history.succeeded).unwrap_or(self.succeeded),
            failed: count(history.failed).unwrap_or(self.failed),
            ttl: history.ttl.map_or(self.ttl, Duration::from),
        }
    }

    /// The Workplans beyond the limits that may be deleted, by outcome and the earliest first.
    pub(super) fn excess<'a>(
        &self,
        workplans: &'a WorkplanIndex,
        recorded_sequence: i64,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a Arc<str>, WorkplanOutcome)> {
        // A ttl that is longer than all of time expires nothing.
        let expiry = now.checked_sub(self.ttl).unwrap_or(Timestamp::MIN);
        let kept = [
            (WorkplanOutcome::Succeeded, self.succeeded),
            (WorkplanOutcome::Failed, self.failed),
        ];
        kept.into_iter().flat_map(move |(outcome, kept)| {
            let finished = workplans.finished(outcome);
            let excess = finished.len().saturating_sub(kept);
            let beyond = finished.iter().enumerate();
            let beyond = beyond
                .take_while(move |(at, (finished, _))| *at < excess || *finished <= expiry)
                .map(move |(_, (_, name))| (name, outcome));
            beyond.filter(move |(name, _)| {
                let state = workplans.get(name);
                state.is_some_and(|state| may_delete(state, recorded_sequence))
            })
        })
    }
}

/// A Workplan may be deleted once its workspace is removed and the ledger has recorded its event.
fn may_delete(state: &WorkplanState, recorded_sequence: i64) -> bool {
    let recorded = state
        .sequence
        .is_some_and(|sequence| sequence <= recorded_sequence);
    recorded && !state.has_workspace
}
