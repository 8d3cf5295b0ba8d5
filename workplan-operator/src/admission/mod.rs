//! Which Workplans run, if the number of running Workplans or of their pods is capped.

mod caps;
mod place;
mod queue;
mod recorded;
#[cfg(test)]
mod tests;

pub use caps::{Caps, Usage};
pub use place::{Admission, Place};
pub use queue::{AdmissionQueue, Arrival, Candidate};
pub use recorded::{QUEUED, Recorded};
