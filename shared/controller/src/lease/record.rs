//! The content of a lease, and when it may be acquired: pure, and on the local monotonic clock. Timestamps of other
//! machines are never compared with the local clock: a lease has expired once it was not observed to change for its
//! duration while the API server answered. While it does not answer, it may not answer the leader either.
//!
//! Each change keeps the resource version that it is based on, so that the API server rejects it if another process
//! was first.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use tokio::time::Instant;

use super::LEASE_DURATION;

/// A new lease without a holder.
pub fn new(namespace: &str, name: &str) -> Lease {
    Lease {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: None,
    }
}

pub fn acquired(mut lease: Lease, identity: &str, now: Timestamp) -> Lease {
    let before = lease.spec.take().unwrap_or_default();
    let other = before.holder_identity.as_deref() != Some(identity);
    let transitions = before
        .lease_transitions
        .map_or(0, |count| count.saturating_add(other.into()));
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions),
        ..before
    });
    lease
}

pub fn renewed(mut lease: Lease, now: Timestamp) -> Lease {
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(now));
    lease
}

/// The holder is absent instead of empty, which the API server rejects.
pub fn released(mut lease: Lease) -> Lease {
    lease.spec.get_or_insert_default().holder_identity = None;
    lease
}

/// Whether both are the same renewal. The times of two renewals differ.
pub fn same_renewal(one: &Lease, other: &Lease) -> bool {
    let renewed = |lease: &Lease| lease.spec.as_ref()?.renew_time.clone();
    renewed(one).is_some() && renewed(one) == renewed(other)
}

pub fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

/// A lease as the API server returned it.
#[derive(Clone, Debug)]
pub struct ObservedLease {
    pub lease: Lease,
    /// Since when it is unchanged.
    pub since: Instant,
    /// Whether a request has failed since.
    pub interrupted: bool,
}

impl ObservedLease {
    /// Adds an observation. The time of a lease starts again when it has changed, and after an interruption.
    pub fn update(before: Option<Self>, lease: Lease, now: Instant) -> Self {
        match before {
            Some(observed)
                if version(&observed.lease) == version(&lease) && !observed.interrupted =>
            {
                observed
            }
            _ => Self {
                lease,
                since: now,
                interrupted: false,
            },
        }
    }

    /// When it expires, unless it changes before.
    pub fn expires(&self) -> Instant {
        let spec = self.lease.spec.as_ref();
        let duration = spec
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(LEASE_DURATION, Duration::from_secs);
        self.since + duration
    }

    /// What a candidate of this identity does. The own identity is that of an earlier process in the same pod, which
    /// has ended.
    pub fn decide(&self, identity: &str, now: Instant) -> Decision {
        match holder(&self.lease) {
            Some(holder) if holder != identity && now < self.expires() => Decision::Wait {
                holder: holder.to_owned(),
            },
            _ => Decision::Acquire,
        }
    }
}

fn version(lease: &Lease) -> Option<&str> {
    lease.metadata.resource_version.as_deref()
}

/// What a candidate does.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// The lease has no holder, or has expired.
    Acquire,
    /// Another process holds it.
    Wait { holder: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(lease: Lease) -> LeaseSpec {
        lease.spec.unwrap()
    }

    #[test]
    fn transitions_count_the_changes_of_holder() {
        let now = Timestamp::UNIX_EPOCH;
        let first = acquired(new("ns", "kubeci-x"), "a", now);
        assert_eq!(spec(first.clone()).lease_transitions, Some(0));
        let again = acquired(first, "a", now);
        assert_eq!(spec(again.clone()).lease_transitions, Some(0));
        let second = acquired(again, "b", now);
        assert_eq!(spec(second.clone()).lease_transitions, Some(1));
        assert_eq!(spec(second).lease_duration_seconds, Some(15));
    }

    #[test]
    fn change_keeps_its_resource_version() {
        let mut lease = acquired(new("ns", "kubeci-x"), "a", Timestamp::UNIX_EPOCH);
        lease.metadata.resource_version = Some("7".to_owned());
        for changed in [
            acquired(lease.clone(), "b", Timestamp::UNIX_EPOCH),
            renewed(lease.clone(), Timestamp::UNIX_EPOCH),
            released(lease),
        ] {
            assert_eq!(changed.metadata.resource_version.as_deref(), Some("7"));
        }
    }

    #[test]
    fn released_lease_has_no_holder() {
        let lease = acquired(new("ns", "kubeci-x"), "a", Timestamp::UNIX_EPOCH);
        assert_eq!(holder(&lease), Some("a"));
        assert_eq!(holder(&released(lease)), None);
    }

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

    fn wait(holder: &str) -> Decision {
        Decision::Wait {
            holder: holder.to_owned(),
        }
    }

    #[test]
    fn unchanged_lease_expires_after_its_duration() {
        let start = Instant::now();
        let first = ObservedLease::update(None, lease("1", Some("other")), start);
        assert_eq!(first.decide("me", start), wait("other"));

        let later = start + SECOND * 14;
        let same = ObservedLease::update(Some(first), lease("1", Some("other")), later);
        assert_eq!(same.decide("me", later), wait("other"));
        assert_eq!(same.decide("me", start + SECOND * 15), Decision::Acquire);

        let renewed = ObservedLease::update(Some(same), lease("2", Some("other")), later);
        assert_eq!(renewed.decide("me", later + SECOND * 14), wait("other"));
        assert_eq!(renewed.decide("me", later + SECOND * 15), Decision::Acquire);
    }

    #[test]
    fn released_and_own_leases_are_free_at_once() {
        let now = Instant::now();
        for holder in [None, Some(""), Some("me")] {
            let observed = ObservedLease::update(None, lease("1", holder), now);
            assert_eq!(observed.decide("me", now), Decision::Acquire, "{holder:?}");
        }
    }

    #[test]
    fn lease_without_duration_has_the_default() {
        let now = Instant::now();
        let mut nameless = lease("1", Some("other"));
        nameless.spec.as_mut().unwrap().lease_duration_seconds = None;
        let observed = ObservedLease::update(None, nameless, now);
        assert_eq!(observed.decide("me", now), wait("other"));
        assert_eq!(
            observed.decide("me", now + LEASE_DURATION),
            Decision::Acquire
        );
    }

    #[test]
    fn interruption_does_not_count_as_time() {
        let start = Instant::now();
        let mut observed = ObservedLease::update(None, lease("1", Some("other")), start);
        observed.interrupted = true;
        let back = start + SECOND * 60;
        let observed = ObservedLease::update(Some(observed), lease("1", Some("other")), back);
        assert_eq!(observed.decide("me", back + SECOND * 14), wait("other"));
        assert_eq!(observed.decide("me", back + SECOND * 15), Decision::Acquire);
    }
}
