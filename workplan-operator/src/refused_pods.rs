//! Pods that the API server refuses for now. They are requested again after a backoff, not at each change.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::queue::REQUEUE_BACKOFF;
use crate::refusal::{Refusal, Verdict};

/// The refused pods of one Workplan.
#[derive(Default)]
pub struct RefusedPods(Option<Refused>);

struct Refused {
    /// By the index of the task.
    refusals: BTreeMap<usize, Refusal>,
    since: Timestamp,
    attempts: u32,
    retry_at: Timestamp,
}

impl RefusedPods {
    /// The refusals of pods that are not requested yet, by the index of the task.
    pub fn pending(&self, now: Timestamp) -> BTreeMap<usize, Refusal> {
        let pending = self.0.as_ref().filter(|refused| now < refused.retry_at);
        pending
            .map(|refused| refused.refusals.clone())
            .unwrap_or_default()
    }

    /// Since when pods have been refused without one being created.
    pub fn since(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|refused| refused.since)
    }

    /// Records the refusals of a reconcile; returns the time of the next attempt, if there is one.
    pub fn record(
        &mut self,
        refusals: &BTreeMap<usize, Refusal>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let is_retried =
            |refusal: &Refusal| matches!(refusal.verdict, Verdict::Later | Verdict::Perhaps);
        if !refusals.values().any(is_retried) {
            self.0 = None;
            return None;
        }
        if let Some(refused) = &self.0
            && now < refused.retry_at
            && refused.refusals == *refusals
        {
            return Some(refused.retry_at);
        }
        let before = self.0.take();
        let (attempts, since) = before.map_or((0, now), |before| (before.attempts, before.since));
        let attempts = attempts + 1;
        let delay = SignedDuration::try_from(REQUEUE_BACKOFF.delay(attempts));
        let retry_at = now + delay.unwrap_or(SignedDuration::ZERO);
        self.0 = Some(Refused {
            refusals: refusals.clone(),
            since,
            attempts,
            retry_at,
        });
        Some(retry_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_pod_is_requested_after_a_backoff() {
        let mut refused = RefusedPods::default();
        let message = "full".to_owned();
        let refusal = Refusal {
            verdict: Verdict::Later,
            reason: "QuotaExceeded",
            message,
        };
        let refusals = BTreeMap::from([(0, refusal)]);
        let now = Timestamp::UNIX_EPOCH;
        let retry_at = refused.record(&refusals, now).unwrap();
        assert!(retry_at > now);
        assert_eq!(refused.pending(now), refusals);
        assert_eq!(
            refused.record(&refusals, now),
            Some(retry_at),
            "there was no attempt since"
        );
        assert_eq!(refused.pending(retry_at), BTreeMap::new());
        assert!(refused.record(&refusals, retry_at).unwrap() > retry_at);
        assert_eq!(refused.since(), Some(now));
        assert_eq!(refused.record(&BTreeMap::new(), retry_at), None);
        assert_eq!(refused.pending(now), BTreeMap::new());
        assert_eq!(refused.since(), None);
    }
}
