use std::num::NonZeroUsize;

use crate::history::HistoryLimits;

/// The settings of the operator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// The settings of the compiler.
    pub compiler: kubeci_compiler::Settings,
    /// The limits for Workflows without `spec.history`.
    pub history: HistoryLimits,
    /// The most Workplans that are pending or running. Absent: no maximum.
    pub max_active: Option<NonZeroUsize>,
}
