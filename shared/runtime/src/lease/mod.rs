//! Leader election on a `coordination.k8s.io/v1` Lease.

mod candidate;
mod decision;
mod held;
mod record;
mod request;

use std::time::Duration;

pub use candidate::Candidate;
pub use held::{Held, Lost};

/// How long a lease holds after its last renewal, as others see it.
const DURATION: Duration = Duration::from_secs(15);
/// How long a leader acts on without a renewal; well before another may take over.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);
/// How often a leader renews.
const RENEW: Duration = Duration::from_secs(5);
/// How soon a leader tries again after a renewal failed.
const RETRY: Duration = Duration::from_secs(1);
/// How often a standby looks whether the lease is free.
const POLL: Duration = Duration::from_secs(1);
/// How long one request about the lease may take.
const REQUEST: Duration = Duration::from_secs(2);

/// Spreads a delay by a fifth to either side, so that processes do not move in step.
fn spread(delay: Duration) -> Duration {
    delay.mul_f64(0.8 + 0.4 * fastrand::f64())
}
