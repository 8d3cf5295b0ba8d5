//! The Workplans of one Workflow, counted and ordered by the time when they finished.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::jiff::Timestamp;

use crate::{
    ledger::Link,
    observed_workplan::{Counter, WorkplanOutcome, WorkplanState},
};

/// Finished Workplans of the same outcome, the earliest first.
pub type FinishedWorkplans = BTreeSet<(Timestamp, Arc<str>)>;

/// All Workplans of one Workflow.
#[derive(Debug, Default)]
pub struct WorkplanIndex {
    states: HashMap<Arc<str>, WorkplanState>,
    active: usize,
    succeeded: FinishedWorkplans,
    failed: FinishedWorkplans,
    /// The Workplans that were created and are not observed yet, and since when.
    expected: HashMap<Arc<str>, Timestamp>,
    /// The links of Workplans that were observed before the Workflow.
    links: HashMap<Arc<str>, Link>,
}

impl WorkplanIndex {
    /// Adds or replaces a Workplan. Returns whether the status or the history of the Workflow may change.
    pub fn apply(&mut self, name: &str, state: WorkplanState, link: Option<Link>) -> bool {
        let relevant = |state: &WorkplanState| (state.counter(), state.has_workspace);
        self.expected.remove(name);
        let before = self.take(name);
        let changed = before.as_ref().map(relevant) != Some(relevant(&state));
        let name: Arc<str> = name.into();
        match state.counter() {
            Some(Counter::Active) => self.active += 1,
            Some(Counter::Finished(outcome)) => {
                let finished = self.finished_mut(outcome);
                finished.insert((state.finished_at, name.clone()));
            }
            None => {}
        }
        self.links.extend(link.map(|link| (name.clone(), link)));
        self.states.insert(name, state);
        changed
    }

    /// Takes the links of the Workplans.
    pub fn take_links(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.links).into_values().collect()
    }

    /// Removes a Workplan. Returns whether the index had it.
    pub fn remove(&mut self, name: &str) -> bool {
        self.links.remove(name);
        self.expected.remove(name);
        self.take(name).is_some()
    }

    /// Removes all Workplans that do not exist. Returns whether there were any.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) -> bool {
        let deleted = self.states.keys().filter(|name| !exists(name));
        let deleted: Vec<Arc<str>> = deleted.cloned().collect();
        for name in &deleted {
            self.remove(name);
        }
        !deleted.is_empty()
    }

    fn take(&mut self, name: &str) -> Option<WorkplanState> {
        let (name, state) = self.states.remove_entry(name)?;
        match state.counter() {
            Some(Counter::Active) => self.active -= 1,
            Some(Counter::Finished(outcome)) => {
                let finished = self.finished_mut(outcome);
                finished.remove(&(state.finished_at, name));
            }
            None => {}
        }
        Some(state)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&WorkplanState> {
        self.states.get(name)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The number of Workplans that are pending or running.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active
    }

    /// The number of Workplans that may be pending or running: with those that are not observed yet.
    #[must_use]
    pub fn open(&self) -> usize {
        self.active + self.expected.len()
    }

    /// A Workplan was created.
    pub fn expect(&mut self, name: &str, now: Timestamp) {
        if !self.states.contains_key(name) {
            self.expected.insert(name.into(), now);
        }
    }

    /// Removes Workplans that the watch has not returned since this time: they were deleted before.
    pub fn forget_expected(&mut self, until: Timestamp) {
        self.expected.retain(|_, since| *since > until);
    }

    /// The finished Workplans of this outcome, the earliest first.
    #[must_use]
    pub fn finished(&self, outcome: WorkplanOutcome) -> &FinishedWorkplans {
        match outcome {
            WorkplanOutcome::Succeeded => &self.succeeded,
            WorkplanOutcome::Failed => &self.failed,
        }
    }

    fn finished_mut(&mut self, outcome: WorkplanOutcome) -> &mut FinishedWorkplans {
        match outcome {
            WorkplanOutcome::Succeeded => &mut self.succeeded,
            WorkplanOutcome::Failed => &mut self.failed,
        }
    }
}
