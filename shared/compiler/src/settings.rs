use std::num::NonZeroUsize;

use kubeci_api::Execution;

/// What an operator compiles by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How the steps of Workflows that do not say it hand over to each other.
    pub execution: Execution,
    /// The most steps that a relay pod has.
    pub containers: NonZeroUsize,
}

impl Default for Settings {
    /// `Pods`, and 110 steps: of so many containers the kubelet still reads what a step tells of itself in full.
    fn default() -> Self {
        Self {
            execution: Execution::Pods,
            containers: NonZeroUsize::MIN.saturating_add(109),
        }
    }
}
