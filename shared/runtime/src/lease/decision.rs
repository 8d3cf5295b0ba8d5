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
