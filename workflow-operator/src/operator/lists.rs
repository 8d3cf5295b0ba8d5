use std::collections::HashSet;

use kubeci_controller::{Readiness, ReadinessCondition};
use kubeci_triggers::WorkflowKey;

/// The lists of Workflows and Workplans.
pub struct Lists {
    /// The uids of Workflows.
    pub workflows: List<String>,
    /// The Workflows and names of Workplans.
    pub workplans: List<(WorkflowKey, String)>,
}

/// The items of the current list of a watch. A watch starts with a list and may list again.
pub struct List<K> {
    pub items: HashSet<K>,
    condition: ReadinessCondition,
}

impl<K> List<K> {
    /// A list whose first completion makes the operator ready.
    pub fn new(readiness: &Readiness, condition: &str) -> Self {
        Self {
            items: HashSet::new(),
            condition: readiness.condition(condition),
        }
    }

    /// Whether the first list is complete.
    pub fn is_complete(&self) -> bool {
        self.condition.is_done()
    }

    /// Completes the list. Returns whether it is the first one.
    pub fn complete(&mut self) -> bool {
        let is_first = !self.condition.is_done();
        self.condition.done();
        is_first
    }
}
