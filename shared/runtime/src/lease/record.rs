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
    let again = before.holder_identity.as_deref() == Some(identity);
    let transitions = before.lease_transitions.map_or(0, |t| t.saturating_add(1));
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        lease_transitions: if again {
            before.lease_transitions
        } else {
            Some(transitions)
        },
        ..before
    });
    lease
}

pub fn renewed(mut lease: Lease, now: Timestamp) -> Lease {
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(now));
    lease
}

/// The holder is left out rather than empty, which the API server refuses.
pub fn released(mut lease: Lease) -> Lease {
    lease.spec.get_or_insert_default().holder_identity = None;
    lease
}

pub fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}
