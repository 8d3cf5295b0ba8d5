//! What to do about a lease; pure, on the local monotonic clock alone. Another machine's timestamps are
//! never compared with ours: a lease has expired when we have not seen it change for its duration.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use super::{DURATION, RENEW, RENEWED_WITHIN, RETRY};

/// The lease as the API server showed it, and since when it has been just so.
#[derive(Clone, Debug)]
pub struct Seen {
    pub lease: Lease,
    pub since: Instant,
}

impl Seen {
    /// Adds the latest look: only a lease that has changed begins its time anew.
    pub fn update(before: Option<Self>, lease: Lease, now: Instant) -> Self {
        match before {
            Some(seen) if version(&seen.lease) == version(&lease) => seen,
            _ => Self { lease, since: now },
        }
    }
}

fn version(lease: &Lease) -> Option<&str> {
    lease.metadata.resource_version.as_deref()
}

/// What a candidate does.
#[derive(Debug, PartialEq, Eq)]
pub enum Bid {
    /// Nobody holds the lease, or its holder has let it expire.
    Take,
    /// Another holds it.
    Wait { holder: String },
}

pub fn bid(seen: &Seen, identity: &str, now: Instant) -> Bid {
    let spec = seen.lease.spec.as_ref();
    let holder = spec
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default();
    let duration = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs);
    // One's own name is that of an earlier process in the same pod, which is gone.
    if holder.is_empty() || holder == identity || now >= seen.since + duration {
        return Bid::Take;
    }
    Bid::Wait {
        holder: holder.to_owned(),
    }
}

/// When a leader tries its next renewal, or `None` when it must stop acting.
///
/// `renewed` is when the last successful renewal was *sent*, which is before anyone saw it.
pub fn next_renewal(renewed: Instant, failed: Option<Instant>) -> Option<Instant> {
    let next = match failed {
        None => renewed + RENEW,
        Some(at) => at + RETRY,
    };
    (next < renewed + RENEWED_WITHIN).then_some(next)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(version: &str, holder: Option<&str>) -> Lease {
        let mut lease = Lease {
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    fn wait(holder: &str) -> Bid {
        Bid::Wait {
            holder: holder.to_owned(),
        }
    }

    #[test]
    fn a_lease_expires_when_it_was_not_seen_to_change_for_its_duration() {
        let start = Instant::now();
        let first = Seen::update(None, lease("1", Some("other")), start);
        assert_eq!(bid(&first, "me", start), wait("other"));

        let later = start + SECOND * 14;
        let same = Seen::update(Some(first), lease("1", Some("other")), later);
        assert_eq!(bid(&same, "me", later), wait("other"));
        assert_eq!(bid(&same, "me", start + SECOND * 15), Bid::Take);

        let renewed = Seen::update(Some(same), lease("2", Some("other")), later);
        assert_eq!(bid(&renewed, "me", later + SECOND * 14), wait("other"));
        assert_eq!(bid(&renewed, "me", later + SECOND * 15), Bid::Take);
    }

    #[test]
    fn a_released_lease_and_one_of_an_earlier_self_are_free_at_once() {
        let now = Instant::now();
        for holder in [None, Some(""), Some("me")] {
            let seen = Seen::update(None, lease("1", holder), now);
            assert_eq!(bid(&seen, "me", now), Bid::Take, "{holder:?}");
        }
    }

    #[test]
    fn a_lease_without_a_duration_has_ours() {
        let now = Instant::now();
        let mut nameless = lease("1", Some("other"));
        nameless.spec.as_mut().unwrap().lease_duration_seconds = None;
        let seen = Seen::update(None, nameless, now);
        assert_eq!(bid(&seen, "me", now), wait("other"));
        assert_eq!(bid(&seen, "me", now + DURATION), Bid::Take);
    }

    #[test]
    fn a_leader_renews_and_gives_up_before_another_may_take_over() {
        let renewed = Instant::now();
        assert_eq!(next_renewal(renewed, None), Some(renewed + RENEW));
        let failed = renewed + RENEW;
        assert_eq!(next_renewal(renewed, Some(failed)), Some(failed + RETRY));
        let last = renewed + RENEWED_WITHIN - RETRY;
        assert_eq!(next_renewal(renewed, Some(last)), None);
        // Others count from when they saw the renewal, which is after it was sent.
        assert!(RENEWED_WITHIN < DURATION);
    }
}
