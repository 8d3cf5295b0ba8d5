use std::num::NonZeroUsize;

use kubeci_api::Execution;

/// The operator's settings for compilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The execution of Workflows that do not set it.
    pub execution: Execution,
    /// The most steps that a relay pod has.
    pub containers: NonZeroUsize,
}

impl Default for Settings {
    /// `Pods`, and 110 steps: of so many containers the kubelet still reads the records of steps in full.
    fn default() -> Self {
        Self {
            execution: Execution::Pods,
            containers: NonZeroUsize::MIN.saturating_add(109),
        }
    }
}
