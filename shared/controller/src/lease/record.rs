//! What is written into a lease: every change keeps the resource version it stems from, so that the API
//! server refuses it where another process was first.

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

use super::DURATION;

/// A new lease, held by nobody yet.
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

pub fn taken(mut lease: Lease, identity: &str, now: Timestamp) -> Lease {
    let before = lease.spec.take().unwrap_or_default();
    let other = before.holder_identity.as_deref() != Some(identity);
    let transitions = before
        .lease_transitions
        .map_or(0, |count| count.saturating_add(other.into()));
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: Some(micros(now)),
        renew_time: Some(micros(now)),
        lease_transitions: Some(transitions),
        ..before
    });
    lease
}

pub fn renewed(mut lease: Lease, now: Timestamp) -> Lease {
    lease.spec.get_or_insert_default().renew_time = Some(micros(now));
    lease
}

/// The holder is left out rather than empty, which the API server refuses.
pub fn released(mut lease: Lease) -> Lease {
    lease.spec.get_or_insert_default().holder_identity = None;
    lease
}

/// Whether both are the same renewal; each has a time of its own.
pub fn same_renewal(one: &Lease, other: &Lease) -> bool {
    let renewed = |lease: &Lease| lease.spec.as_ref()?.renew_time.clone();
    renewed(one).is_some() && renewed(one) == renewed(other)
}

/// As exact as the API server keeps it.
fn micros(now: Timestamp) -> MicroTime {
    MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now))
}

pub fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
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
        let first = taken(new("ns", "kubeci-x"), "a", now);
        assert_eq!(spec(first.clone()).lease_transitions, Some(0));
        let again = taken(first, "a", now);
        assert_eq!(spec(again.clone()).lease_transitions, Some(0));
        let second = taken(again, "b", now);
        assert_eq!(spec(second.clone()).lease_transitions, Some(1));
        assert_eq!(spec(second).lease_duration_seconds, Some(15));
    }

    #[test]
    fn a_change_keeps_the_version_it_stems_from() {
        let mut lease = taken(new("ns", "kubeci-x"), "a", Timestamp::UNIX_EPOCH);
        lease.metadata.resource_version = Some("7".to_owned());
        for changed in [
            taken(lease.clone(), "b", Timestamp::UNIX_EPOCH),
            renewed(lease.clone(), Timestamp::UNIX_EPOCH),
            released(lease),
        ] {
            assert_eq!(changed.metadata.resource_version.as_deref(), Some("7"));
        }
    }

    #[test]
    fn a_released_lease_has_no_holder() {
        let lease = taken(new("ns", "kubeci-x"), "a", Timestamp::UNIX_EPOCH);
        assert_eq!(holder(&lease), Some("a"));
        assert_eq!(holder(&released(lease)), None);
    }
}
