//! The engine: the state of all Workflows and of all that they watch. Observations go in, decisions come out.
//!
//! The operator calls the methods that take observations, and then carries out what
//! [`Engine::take_creations`], [`Engine::take_retries`], [`Engine::take_deletions`],
//! [`Engine::take_watch_commands`] and [`Engine::take_dirty`] return. It discovers the
//! [`Engine::undiscovered_kinds`] and requests the [`Engine::access_reviews`].

mod creation;
mod creation_queue;
mod deletion;
mod observations;
mod requirements;
mod settings;
mod shared_watch;
mod status;
mod subscriptions;
#[cfg(test)]
mod tests;
mod workflow_conditions;
mod workflow_ref;
mod workflow_state;

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::jiff::Timestamp;
use kubeci_api::Workflow;

use crate::{
    access_review::{AccessDecision, AccessReview},
    discovery::DiscoveryResult,
    dispatch_queue::CreateError,
    observed_workplan::{ObservedWorkplan, WorkflowKey},
    resource::Kind,
    uid::Uid,
    watch_key::WatchKey,
    workplan_index::WorkplanIndex,
};
use creation_queue::CreationQueue;
use shared_watch::SharedWatch;
use workflow_state::WorkflowState;

pub use creation::Creation;
pub use deletion::Deletion;
pub use settings::Settings;
pub use shared_watch::{WatchCommand, WatchError};
pub use status::StatusUpdate;
pub use workflow_ref::WorkflowRef;

/// The state of the trigger engine.
#[derive(Debug, Default)]
pub struct Engine {
    settings: Settings,
    workflows: HashMap<Uid, WorkflowState>,
    workplans: HashMap<WorkflowKey, WorkplanIndex>,
    kinds: HashMap<Kind, DiscoveryResult>,
    review_results: HashMap<AccessReview, AccessDecision>,
    watches: HashMap<WatchKey, SharedWatch>,
    last_epoch: u64,
    changed_watches: BTreeSet<WatchKey>,
    requirements_changed: bool,
    creations: Vec<Creation>,
    retries: Vec<Retry>,
    creation_queue: CreationQueue,
    deletions: Vec<Deletion>,
    /// The Workflows whose status needs to be written.
    dirty: BTreeSet<Uid>,
    counters: Counters,
}

/// A creation to retry after a backoff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The uid of the Workflow.
    pub workflow: Uid,
    /// The uid of the object.
    pub object: Uid,
    /// The number of attempts that failed.
    pub attempts: u32,
}

/// The increments of the operator's metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events of objects that triggers match.
    pub matched: u64,
    /// Events that get a Workplan.
    pub fired: u64,
    /// Workplans that were created.
    pub created: u64,
    /// Creations that failed.
    pub not_created: u64,
}

impl Engine {
    /// An engine without Workflows.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// A Workflow was added, modified or listed. All Workplans must be listed before the first Workflow.
    pub fn workflow_applied(&mut self, workflow: Workflow) {
        let Some(uid) = workflow.metadata.uid.as_deref().map(Uid::from) else {
            return;
        };
        match self.workflows.get_mut(&uid) {
            Some(state) if state.is_current(&workflow.metadata) => return,
            Some(state) if state.is_status_loaded() => {
                state.update(workflow, &self.settings);
                for object in state.queue.blocked() {
                    self.retry(&uid, &object);
                }
            }
            _ => self.load(&uid, workflow),
        }
        self.reconcile(&uid);
    }

    /// A Workflow exists that cannot be deserialized. Its ledger is kept.
    pub fn workflow_invalid(&mut self, reference: WorkflowRef, error: &str) {
        let uid = reference.uid.clone();
        let state = self.workflows.entry(uid.clone());
        state
            .or_insert_with(|| WorkflowState::new(reference))
            .set_invalid_schema(error);
        self.reconcile(&uid);
    }

    /// A Workflow was deleted.
    pub fn workflow_deleted(&mut self, uid: &str) {
        let Some((uid, state)) = self.workflows.remove_entry(uid) else {
            return;
        };
        self.requirements_changed = true;
        for key in state.subscriptions.keys() {
            self.unsubscribe(&uid, key);
        }
        self.dirty.remove(&uid);
        let key = state.reference.key();
        let workplans = self.workplans.get(&key);
        if workplans.is_some_and(WorkplanIndex::is_empty) {
            self.workplans.remove(&key);
        }
    }

    /// The list of Workflows is complete: all others are deleted.
    pub fn workflows_listed(&mut self, exists: impl Fn(&str) -> bool) {
        let uids = self.workflows.keys();
        let deleted: Vec<Uid> = uids.filter(|uid| !exists(uid)).cloned().collect();
        for uid in deleted {
            self.workflow_deleted(&uid);
        }
    }

    /// A Workplan was added, modified or listed.
    pub fn workplan_applied(&mut self, workplan: ObservedWorkplan) {
        let key = workplan.workflow;
        let index = self.workplans.entry(key.clone()).or_default();
        let workflow = controlling(&self.workflows, &key);
        let loaded = workflow.is_some_and(WorkflowState::is_status_loaded);
        let link = workplan.link.filter(|_| !loaded);
        if index.apply(&workplan.name, workplan.state, link) && workflow.is_some() {
            self.dirty.insert(key.uid);
        }
    }

    /// A Workplan was deleted.
    pub fn workplan_deleted(&mut self, workplan: &ObservedWorkplan) {
        let key = &workplan.workflow;
        let Some(index) = self.workplans.get_mut(key) else {
            return;
        };
        let removed = index.remove(&workplan.name);
        if controlling(&self.workflows, key).is_some() {
            self.dirty.extend(removed.then(|| key.uid.clone()));
        } else if index.is_empty() {
            self.workplans.remove(key);
        }
    }

    /// The list of Workplans is complete: all others are deleted.
    pub fn workplans_listed(&mut self, exists: impl Fn(&WorkflowKey, &str) -> bool) {
        self.workplans.retain(|key, index| {
            let changed = index.retain(|name| exists(key, name));
            let controlled = controlling(&self.workflows, key).is_some();
            let dirty = changed && controlled;
            self.dirty.extend(dirty.then(|| key.uid.clone()));
            controlled || !index.is_empty()
        });
    }

    /// A Workplan was created, now or by an earlier attempt.
    pub fn created(&mut self, workflow: &Uid, object: &Uid, name: String, now: Timestamp) {
        self.counters.created += 1;
        let Some(state) = self.workflows.get_mut(workflow) else {
            return;
        };
        let key = state.reference.key();
        self.workplans.entry(key).or_default().expect(&name, now);
        let event = self.creation_queue.next_event();
        let fires = state.created(object, name, event, now);
        self.queue_changed(workflow);
        self.fired(workflow, fires);
    }

    /// A Workplan was not created.
    pub fn failed(&mut self, workflow: &Uid, object: &Uid, error: CreateError) {
        self.counters.not_created += 1;
        let Some(state) = self.workflows.get_mut(workflow) else {
            return;
        };
        let attempts = state.queue.failed(object, error);
        self.dirty.insert(workflow.clone());
        self.retries.extend(attempts.map(|attempts| Retry {
            workflow: workflow.clone(),
            object: object.clone(),
            attempts,
        }));
    }

    /// The backoff of a [`Retry`] is over.
    pub fn retry(&mut self, workflow: &Uid, object: &Uid) {
        let state = self.workflows.get_mut(workflow);
        if state.is_some_and(|state| state.queue.retry(object)) {
            self.creation_queue.add(workflow);
        }
    }

    /// The Workplans to create since the last call.
    pub fn take_creations(&mut self) -> Vec<Creation> {
        self.release_creations();
        std::mem::take(&mut self.creations)
    }

    /// The creations to retry since the last call.
    pub fn take_retries(&mut self) -> Vec<Retry> {
        std::mem::take(&mut self.retries)
    }

    /// The Workflows whose status needs to be written since the last call.
    pub fn take_dirty(&mut self) -> BTreeSet<Uid> {
        std::mem::take(&mut self.dirty)
    }

    /// The increments of the metrics since the last call.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// The objects whose events wait.
    #[cfg(test)]
    pub(crate) fn objects_that_wait(&self) -> Vec<Uid> {
        let queues = self.workflows.values().map(|state| &state.queue);
        queues
            .flat_map(|queue| queue.waiting_objects().cloned())
            .collect()
    }

    /// The number of Workflows.
    #[must_use]
    pub fn workflow_count(&self) -> usize {
        self.workflows.len()
    }

    /// Loads a Workflow for the first time, with its stored status.
    fn load(&mut self, uid: &Uid, mut workflow: Workflow) {
        let Some(reference) = WorkflowRef::new(&workflow.metadata) else {
            return;
        };
        let key = reference.key();
        let index = self.workplans.get_mut(&key);
        let links = index.map(WorkplanIndex::take_links).unwrap_or_default();
        let state = self.workflows.entry(uid.clone());
        let state = state.or_insert_with(|| WorkflowState::new(reference));
        state.served = self.creation_queue.served_before();
        state.load_status(&mut workflow, links, self.workplans.get(&key));
        state.update(workflow, &self.settings);
    }

    /// If an event of the Workflow has fired, it waits for the request of its Workplan.
    fn fired(&mut self, workflow: &Uid, fires: bool) {
        if fires {
            self.counters.fired += 1;
            self.creation_queue.add(workflow);
        }
    }

    /// Marks the Workflow as dirty if its queue has changed. Restarts its watches once a full ledger has room.
    fn queue_changed(&mut self, workflow: &Uid) {
        let Some(state) = self.workflows.get_mut(workflow) else {
            return;
        };
        if state.queue.take_dirty() {
            self.dirty.insert(workflow.clone());
            if state.queue.readmit() {
                let keys = state.subscriptions.keys().cloned();
                self.changed_watches.extend(keys);
            }
        }
    }
}

/// The Workflow that controls Workplans; `None` if there is none with this uid in their namespace.
fn controlling<'a>(
    workflows: &'a HashMap<Uid, WorkflowState>,
    key: &WorkflowKey,
) -> Option<&'a WorkflowState> {
    let workflow = workflows.get(&key.uid)?;
    (workflow.reference.namespace == key.namespace).then_some(workflow)
}
