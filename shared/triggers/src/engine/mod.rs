//! All Workflows and all that they watch, as one state: what happens goes in, what to do comes out.
//!
//! The shell tells what it sees by calling the engine's methods, and then takes what is to be done:
//! [`Engine::take_creations`], [`Engine::take_retries`], [`Engine::take_watch_commands`],
//! [`Engine::take_untold`], and what to ask by [`Engine::undiscovered_kinds`] and [`Engine::access_reviews`].

mod creation;
mod deletion;
mod observations;
mod status;
mod subscriptions;
#[cfg(test)]
mod tests;
mod workflow_state;

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::jiff::Timestamp;
use kubeci_api::Workflow;

use crate::{
    access_review::AccessReview,
    discovery::DiscoveryResult,
    dispatch_queue::{CreateError, Dispatch},
    history::Limits,
    object::Uid,
    observed_workplan::{Owner, Run, Runs},
    resource::Kind,
    watch_key::WatchKey,
};
pub use creation::Creation;
pub use deletion::Deletion;
pub use status::Report;
use subscriptions::Watch;
pub use subscriptions::{WatchCommand, WatchError};
use workflow_state::Record;
pub use workflow_state::Reference;

/// What the operator was started with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub compiler: kubeci_compiler::Settings,
    /// What Workflows that do not say keep of their ended Workplans.
    pub history: Limits,
}

/// The state of the workflow operator.
#[derive(Debug, Default)]
pub struct Engine {
    settings: Settings,
    records: HashMap<Uid, Record>,
    runs: HashMap<Owner, Runs>,
    kinds: HashMap<Kind, DiscoveryResult>,
    review_results: HashMap<AccessReview, bool>,
    watches: HashMap<WatchKey, Watch>,
    last_epoch: u64,
    changed_watches: BTreeSet<WatchKey>,
    creations: Vec<Creation>,
    deletions: Vec<Deletion>,
    /// Whether a kind or an answer may be needed that was not, or no more.
    requirements_changed: bool,
    retries: Vec<Retry>,
    untold: BTreeSet<Uid>,
    tally: Tally,
}

/// A creation that failed this often and is to be tried again later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    pub workflow: Uid,
    pub object: Uid,
    pub attempts: u32,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub matched: u64,
    pub fired: u64,
    pub created: u64,
    pub refused: u64,
}

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// A Workflow exists, as new or changed. Workplans that exist before the operator starts must be
    /// told before their Workflows.
    pub fn workflow_applied(&mut self, workflow: Workflow) {
        let Some(uid) = workflow.metadata.uid.as_deref().map(Uid::from) else {
            return;
        };
        match self.records.get_mut(&uid) {
            Some(record) if record.is_current(&workflow.metadata) => return,
            Some(record) if record.is_read() => {
                record.change(workflow, &self.settings);
                for object in record.queue.blocked() {
                    self.retry(&uid, &object);
                }
            }
            _ => self.meet(&uid, workflow),
        }
        self.reconcile(&uid);
    }

    /// A Workflow exists that cannot be read; the ledger of one that could be before is kept.
    pub fn workflow_unreadable(&mut self, reference: Reference, error: &str) {
        let uid = reference.uid.clone();
        let record = self.records.entry(uid.clone());
        record
            .or_insert_with(|| Record::unread(reference))
            .unreadable(error);
        self.reconcile(&uid);
    }

    /// A Workflow exists no more.
    pub fn workflow_deleted(&mut self, uid: &str) {
        if let Some((uid, record)) = self.records.remove_entry(uid) {
            self.requirements_changed = true;
            for key in record.subscriptions.keys() {
                self.unsubscribe(&uid, key);
            }
            self.untold.remove(&uid);
            let owner = record.reference.owner();
            if self.runs.get(&owner).is_some_and(Runs::is_empty) {
                self.runs.remove(&owner);
            }
        }
    }

    /// All Workflows that exist have just been told.
    pub fn workflows_listed(&mut self, exists: impl Fn(&str) -> bool) {
        let gone: Vec<Uid> = self
            .records
            .keys()
            .filter(|uid| !exists(uid))
            .cloned()
            .collect();
        for uid in gone {
            self.workflow_deleted(&uid);
        }
    }

    /// A Workplan exists, as new or changed.
    pub fn workplan_applied(&mut self, run: Run) {
        let runs = self.runs.entry(run.workflow.clone()).or_default();
        let record = named(&self.records, &run.workflow);
        let link = run.link.filter(|_| !record.is_some_and(Record::is_read));
        if runs.apply(&run.name, run.state, link) && record.is_some() {
            self.untold.insert(run.workflow.uid);
        }
    }

    /// A Workplan exists no more.
    pub fn workplan_deleted(&mut self, run: &Run) {
        let Some(runs) = self.runs.get_mut(&run.workflow) else {
            return;
        };
        let removed = runs.remove(&run.name);
        if named(&self.records, &run.workflow).is_some() {
            let uid = &run.workflow.uid;
            self.untold.extend(removed.then(|| uid.clone()));
        } else if runs.is_empty() {
            self.runs.remove(&run.workflow);
        }
    }

    /// All Workplans that exist have just been told.
    pub fn workplans_listed(&mut self, exists: impl Fn(&Owner, &str) -> bool) {
        self.runs.retain(|owner, runs| {
            let changed = runs.retain(|name| exists(owner, name));
            let known = named(&self.records, owner).is_some();
            let uid = &owner.uid;
            self.untold.extend((changed && known).then(|| uid.clone()));
            known || !runs.is_empty()
        });
    }

    /// The Workplan exists now, or did already because an earlier attempt made it.
    pub fn created(&mut self, workflow: &Uid, object: &Uid, name: String, now: Timestamp) {
        self.tally.created += 1;
        let Some(record) = self.records.get_mut(workflow) else {
            return;
        };
        let next = record.created(object, name, now);
        self.settle(workflow);
        self.dispatch(workflow, next);
    }

    /// The Workplan was not created.
    pub fn failed(&mut self, workflow: &Uid, object: &Uid, error: CreateError) {
        self.tally.refused += 1;
        let queue = self
            .records
            .get_mut(workflow)
            .map(|record| &mut record.queue);
        let Some(queue) = queue else {
            return;
        };
        let attempts = queue.failed(object, error);
        self.untold.insert(workflow.clone());
        if let Some(attempts) = attempts {
            let (workflow, object) = (workflow.clone(), object.clone());
            self.retries.push(Retry {
                workflow,
                object,
                attempts,
            });
        }
    }

    /// The time for another attempt has come.
    pub fn retry(&mut self, workflow: &Uid, object: &Uid) {
        let queue = self
            .records
            .get_mut(workflow)
            .map(|record| &mut record.queue);
        let dispatch = queue.and_then(|queue| queue.retry(object));
        self.create(workflow, dispatch);
    }

    /// The Workplans to create since this was last asked.
    pub fn take_creations(&mut self) -> Vec<Creation> {
        std::mem::take(&mut self.creations)
    }

    /// The creations to try again later since this was last asked.
    pub fn take_retries(&mut self) -> Vec<Retry> {
        std::mem::take(&mut self.retries)
    }

    /// The Workflows about which there is something new to tell since this was last asked.
    pub fn take_untold(&mut self) -> BTreeSet<Uid> {
        std::mem::take(&mut self.untold)
    }

    /// How many Workflows there are.
    #[must_use]
    pub fn workflows(&self) -> usize {
        self.records.len()
    }

    /// What happened since this was last asked.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Reads a Workflow for the first time.
    fn meet(&mut self, uid: &Uid, mut workflow: Workflow) {
        let Some(reference) = Reference::new(&workflow.metadata) else {
            return;
        };
        let owner = reference.owner();
        let links = self.runs.get_mut(&owner).map(Runs::take_links);
        let runs = self.runs.get(&owner);
        let record = self
            .records
            .entry(uid.clone())
            .or_insert_with(|| Record::unread(reference));
        record.remember(&mut workflow, links.unwrap_or_default(), runs);
        record.change(workflow, &self.settings);
    }

    fn dispatch(&mut self, workflow: &Uid, dispatch: Option<Dispatch>) {
        self.tally.fired += u64::from(dispatch.is_some());
        self.create(workflow, dispatch);
    }

    fn create(&mut self, workflow: &Uid, dispatch: Option<Dispatch>) {
        let template = self.records.get(workflow).and_then(Record::template);
        if let (Some(dispatch), Some(template)) = (dispatch, template) {
            let creation = Creation::new(workflow.clone(), dispatch, template);
            self.creations.push(creation);
        }
    }

    /// Notes whether the ledger has changed, and looks again at everything once a full one has room.
    fn settle(&mut self, workflow: &Uid) {
        let Some(record) = self.records.get_mut(workflow) else {
            return;
        };
        if record.queue.take_dirty() {
            self.untold.insert(workflow.clone());
            if record.queue.readmit() {
                let keys = record.subscriptions.keys().cloned();
                self.changed_watches.extend(keys);
            }
        }
    }
}

/// The Workflow that Workplans name; nothing if there is none in their namespace.
fn named<'a>(records: &'a HashMap<Uid, Record>, owner: &Owner) -> Option<&'a Record> {
    let record = records.get(&owner.uid)?;
    (record.reference.namespace == owner.namespace).then_some(record)
}
