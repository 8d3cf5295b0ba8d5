//! What to do about a lease; pure, on the local monotonic clock alone. Another machine's timestamps are
//! never compared with ours: a lease has expired when we have not seen it change for its duration, while the
//! API server answered. Where it does not answer us, it may not answer the leader either.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use super::{DURATION, record};

/// The lease as the API server showed it, and since when it has been just so.
#[derive(Clone, Debug)]
pub struct Seen {
    pub lease: Lease,
    pub since: Instant,
    /// Whether the API server has failed to show it since.
    pub lost: bool,
}

impl Seen {
    /// Adds what the API server shows now: a lease that has changed begins its time anew, and so does one that
    /// was out of sight.
    pub fn update(before: Option<Self>, lease: Lease, now: Instant) -> Self {
        match before {
            Some(seen) if version(&seen.lease) == version(&lease) && !seen.lost => seen,
            _ => Self {
                lease,
                since: now,
                lost: false,
            },
        }
    }

    /// When it expires, unless it changes before.
    pub fn expires(&self) -> Instant {
        let spec = self.lease.spec.as_ref();
        let duration = spec
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DURATION, Duration::from_secs);
        self.since + duration
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
    match record::holder(&seen.lease) {
        // One's own name is that of an earlier process in the same pod, which is gone.
        Some(holder) if holder != identity && now < seen.expires() => Bid::Wait {
            holder: holder.to_owned(),
        },
        _ => Bid::Take,
    }
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
    fn time_out_of_sight_counts_for_nobody() {
        let start = Instant::now();
        let mut seen = Seen::update(None, lease("1", Some("other")), start);
        seen.lost = true;
        let back = start + SECOND * 60;
        let seen = Seen::update(Some(seen), lease("1", Some("other")), back);
        assert_eq!(bid(&seen, "me", back + SECOND * 14), wait("other"));
        assert_eq!(bid(&seen, "me", back + SECOND * 15), Bid::Take);
    }
}
