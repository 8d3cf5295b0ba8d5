//! The order in which Workplans are requested, if their number is capped. The namespace with the fewest open Workplans is
//! next, then the Workflow with the fewest there, then the event that has waited the longest. Of equal numbers the one is
//! next that was served before the others.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Creation, Engine, controlling, workflow_state::WorkflowState};
use crate::{uid::Uid, workplan_index::WorkplanIndex};

/// How long a created Workplan that the watch does not return counts as open. It was deleted.
const EXPECTED: SignedDuration = SignedDuration::from_mins(1);

/// The Workflows with events that wait.
#[derive(Debug, Default)]
pub(super) struct CreationQueue {
    waiting: BTreeSet<Uid>,
    last_event: u64,
    served: u64,
}

impl CreationQueue {
    /// An event of the Workflow waits.
    pub fn add(&mut self, workflow: &Uid) {
        self.waiting.insert(workflow.clone());
    }

    /// The number of the next event.
    pub fn next_event(&mut self) -> u64 {
        self.last_event += 1;
        self.last_event
    }

    /// The number of a new Workflow: before the one that was served last.
    pub fn served_before(&self) -> u64 {
        self.served.saturating_sub(1)
    }
}

/// The Workplans that are requested, pending or running.
#[derive(Default)]
struct Open<'a> {
    all: usize,
    by_namespace: HashMap<&'a str, usize>,
}

impl Engine {
    /// The number of objects whose next Workplan waits because of the cap.
    #[must_use]
    pub fn waiting_objects(&self) -> usize {
        let waiting = self.creation_queue.waiting.iter();
        let states = waiting.filter_map(|uid| self.workflows.get(uid));
        states.map(|state| state.queue.waiting()).sum()
    }

    /// Requests the Workplans of events that wait, as many as the cap allows.
    pub(super) fn release_creations(&mut self) {
        while !self.creation_queue.waiting.is_empty()
            && let Some(workflow) = self.next_served()
        {
            self.request(&workflow);
        }
        for uid in &self.creation_queue.waiting {
            let state = self.workflows.get_mut(uid);
            if state.is_some_and(|state| state.queue.take_waiting_changed()) {
                self.dirty.insert(uid.clone());
            }
        }
    }

    /// Counts Workplans as deleted that were created some time ago and are not observed.
    pub(super) fn forget_expected(&mut self, now: Timestamp) {
        for workplans in self.workplans.values_mut() {
            workplans.forget_expected(now - EXPECTED);
        }
    }

    /// The Workflow whose event is next, if the cap allows it.
    fn next_served(&mut self) -> Option<Uid> {
        let workflows = &self.workflows;
        let waits = |uid: &Uid| {
            let state = workflows.get(uid);
            state.is_some_and(|state| state.queue.first_waiting().is_some())
        };
        self.creation_queue.waiting.retain(waits);
        let Some(max) = self.settings.max_active else {
            let mut waiting = self.waiting_workflows();
            return waiting.next().map(|state| state.reference.uid.clone());
        };
        let open = self.open();
        if open.all >= max.get() {
            return None;
        }
        let served = self.served_namespaces();
        let next = self.waiting_workflows().min_by_key(|state| {
            let namespace = state.reference.namespace.as_str();
            let count = open
                .by_namespace
                .get(namespace)
                .copied()
                .unwrap_or_default();
            let turn = served.get(namespace).copied().unwrap_or_default();
            let own = (
                self.open_of(state),
                state.served,
                state.queue.first_waiting(),
            );
            (count, turn, own)
        });
        next.map(|state| state.reference.uid.clone())
    }

    /// Requests the next Workplan of a Workflow.
    fn request(&mut self, workflow: &Uid) {
        let Some(state) = self.workflows.get_mut(workflow) else {
            return;
        };
        self.creation_queue.served += 1;
        state.served = self.creation_queue.served;
        if let Some(template) = state.template().cloned()
            && let Some(dispatch) = state.queue.dispatch()
        {
            let creation = Creation::new(workflow.clone(), dispatch, template);
            self.creations.push(creation);
        }
    }

    /// The Workflows with events that wait and a plan.
    fn waiting_workflows(&self) -> impl Iterator<Item = &WorkflowState> {
        let waiting = self.creation_queue.waiting.iter();
        let states = waiting.filter_map(|uid| self.workflows.get(uid));
        states.filter(|state| state.template().is_some() && !state.is_deleting())
    }

    fn open(&self) -> Open<'_> {
        // A user may write a Workplan that names a Workflow which does not exist.
        let created = self.workplans.iter();
        let created = created.filter(|(key, _)| controlling(&self.workflows, key).is_some());
        let created = created.map(|(key, index)| (key.namespace.as_str(), index.open()));
        let requested = self.workflows.values();
        let requested = requested.map(|it| (it.reference.namespace.as_str(), it.queue.requested()));
        let mut open = Open::default();
        for (namespace, count) in created.chain(requested).filter(|(_, count)| *count > 0) {
            open.all += count;
            *open.by_namespace.entry(namespace).or_default() += count;
        }
        open
    }

    fn open_of(&self, workflow: &WorkflowState) -> usize {
        let workplans = self.workplans.get(&workflow.reference.key());
        workplans.map_or(0, WorkplanIndex::open) + workflow.queue.requested()
    }

    /// The number of the last Workplan that was requested for each namespace.
    fn served_namespaces(&self) -> HashMap<&str, u64> {
        let mut served: HashMap<&str, u64> = HashMap::new();
        for state in self.workflows.values() {
            let last = served.entry(&state.reference.namespace).or_default();
            *last = state.served.max(*last);
        }
        served
    }
}
