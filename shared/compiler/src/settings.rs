use std::num::NonZeroUsize;

use kubeci_api::Execution;

/// What an operator compiles by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How the steps of Workflows that do not say it hand over to each other.
    pub execution: Execution,
    /// The most containers that a relay pod has, init containers not counted.
    pub containers: NonZeroUsize,
}

impl Default for Settings {
    /// `Pods`, and 100 containers.
    fn default() -> Self {
        Self {
            execution: Execution::Pods,
            containers: NonZeroUsize::MIN.saturating_add(99),
        }
    }
}
