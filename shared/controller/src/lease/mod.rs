//! Leader election on a `coordination.k8s.io/v1` Lease.

mod candidate;
mod decision;
#[cfg(test)]
mod election;
#[cfg(test)]
mod fake;
mod fence;
mod held;
mod record;
mod request;

use std::time::Duration;

pub use candidate::Candidate;
pub use fence::Fence;
pub use held::{Held, Lost};

/// How long a lease holds after its last renewal, as others see it.
const DURATION: Duration = Duration::from_secs(15);
/// How long a leader may send requests after it sent its last renewal that succeeded. Others count from when
/// they saw the renewal, which is later; what is left is for clocks that go unevenly and requests on their way.
const SAFE: Duration = Duration::from_secs(13);
/// How often a leader renews.
const RENEW: Duration = Duration::from_secs(6);
/// A renewal that has no answer for this long gets another beside it, on another connection.
const BESIDE: Duration = Duration::from_secs(2);
/// How many requests for one renewal are in flight at most.
const AT_ONCE: usize = 4;
/// The longest pause after requests that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a standby watches before it begins a new watch, in seconds.
const WATCH_SECONDS: u32 = 290;
/// How long handing the lease back may take.
const RELEASE: Duration = Duration::from_secs(5);
