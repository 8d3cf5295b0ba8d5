use std::collections::HashSet;

use kubeci_controller::{Condition, Readiness};
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
    complete: bool,
    condition: Condition,
}

impl<K> List<K> {
    /// A list whose first completion makes the operator ready.
    pub fn new(readiness: &Readiness, condition: &str) -> Self {
        Self {
            items: HashSet::new(),
            complete: false,
            condition: readiness.condition(condition),
        }
    }

    /// Whether the first list is complete.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Completes the list. Returns whether it is the first one.
    pub fn complete(&mut self) -> bool {
        self.condition.done();
        !std::mem::replace(&mut self.complete, true)
    }
}
