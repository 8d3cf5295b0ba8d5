//! What is kept of a Workplan between reconciles.

use kubeci_controller::Failures;

use crate::refused_pods::RefusedPods;
use crate::state_map::StateMap;
use crate::status_debounce::StatusDebounce;

/// The states of the Workplans, by uid.
pub type WorkplanStates = StateMap<WorkplanState>;

#[derive(Default)]
pub struct WorkplanState {
    pub status: StatusDebounce,
    pub refused_pods: RefusedPods,
    /// The reconciles that failed.
    pub failures: Failures,
}
