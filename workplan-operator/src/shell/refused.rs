//! Pods that the API server refuses for now: not asked for again at every change, but after a while.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::by_workplan::ByWorkplan;
use super::retry::backoff;
use crate::refusal::{Refusal, Verdict};

/// What was refused, by the uid of the Workplan.
#[derive(Default)]
pub struct Refused(ByWorkplan<Held>);

struct Held {
    refusals: BTreeMap<usize, Refusal>,
    since: Timestamp,
    attempts: u32,
    retry_at: Timestamp,
}

impl Refused {
    /// What is not to be asked for yet, by the index of the task.
    pub fn held(&self, uid: &str, now: Timestamp) -> BTreeMap<usize, Refusal> {
        let all = self.0.all();
        let held = all.get(uid).filter(|held| now < held.retry_at);
        held.map(|held| held.refusals.clone()).unwrap_or_default()
    }

    /// Since when pods of a Workplan have been refused without one being created.
    pub fn since(&self, uid: &str) -> Option<Timestamp> {
        self.0.all().get(uid).map(|held| held.since)
    }

    /// Takes note of how the creations of a look at a Workplan went; says when to try again, if so.
    pub fn note(
        &self,
        uid: &str,
        refusals: &BTreeMap<usize, Refusal>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut all = self.0.all();
        if !refusals
            .values()
            .any(|refusal| matches!(refusal.verdict, Verdict::Later | Verdict::Perhaps))
        {
            all.remove(uid);
            return None;
        }
        let (attempts, since) = all
            .get(uid)
            .map_or((0, now), |held| (held.attempts, held.since));
        match all.get(uid) {
            Some(held) if now < held.retry_at && held.refusals == *refusals => Some(held.retry_at),
            _ => {
                let wait =
                    SignedDuration::try_from(backoff(attempts)).unwrap_or(SignedDuration::ZERO);
                let retry_at = now + wait;
                let held = Held {
                    refusals: refusals.clone(),
                    since,
                    attempts: attempts + 1,
                    retry_at,
                };
                all.insert(uid.to_owned(), held);
                Some(retry_at)
            }
        }
    }

    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_pod_is_asked_for_again_after_a_while() {
        let refused = Refused::default();
        let message = "full".to_owned();
        let refusal = Refusal {
            verdict: Verdict::Later,
            reason: "QuotaExceeded",
            message,
        };
        let refusals = BTreeMap::from([(0, refusal)]);
        let now = Timestamp::UNIX_EPOCH;
        let retry_at = refused.note("uid", &refusals, now).unwrap();
        assert!(retry_at > now);
        assert_eq!(refused.held("uid", now), refusals);
        assert_eq!(
            refused.note("uid", &refusals, now),
            Some(retry_at),
            "nothing was tried since"
        );
        assert_eq!(refused.held("uid", retry_at), BTreeMap::new());
        assert!(refused.note("uid", &refusals, retry_at).unwrap() > retry_at);
        assert_eq!(refused.since("uid"), Some(now));
        assert_eq!(refused.note("uid", &BTreeMap::new(), retry_at), None);
        assert_eq!(refused.held("uid", now), BTreeMap::new());
        assert_eq!(refused.since("uid"), None);
    }
}
