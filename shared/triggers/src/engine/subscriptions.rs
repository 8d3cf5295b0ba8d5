//! What is watched, recomputed on every change and compared with what runs.

use std::collections::{BTreeSet, HashMap};

use super::{Engine, workflow_state::Record};
use crate::{
    access_review::AccessReview,
    discovery::DiscoveryResult,
    filter::{Filter, FilterError, selects_deletion},
    object::Uid,
    observation::Observation,
    resource::Kind,
    trigger_state::{TriggerState, check_version},
    watch_key::WatchKey,
};

/// A watch that all Workflows share that need it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Tells the current watch from those before; 0 before the first.
    pub epoch: u64,
    pub subscribers: BTreeSet<Uid>,
    pub listed: bool,
    pub error: Option<WatchError>,
}

/// Why a watch does not work; it is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchError {
    /// The operator itself may not.
    Forbidden,
    Failing(String),
}

/// A change of what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchCommand {
    /// From a fresh list, in place of an earlier run of the same watch.
    Start {
        key: WatchKey,
        epoch: u64,
    },
    Stop {
        key: WatchKey,
    },
}

impl Engine {
    /// Discovery has answered.
    pub fn kind_discovered(&mut self, kind: &Kind, state: DiscoveryResult) {
        if self.kinds.get(kind) != Some(&state) {
            self.kinds.insert(kind.clone(), state);
            self.reconcile_where(|record| references(record, kind));
        }
    }

    /// The API serves the kind no more, at any version: none of its objects exists.
    pub fn kind_removed(&mut self, kind: &Kind) {
        let concerned = self.workflows_where(|record| references(record, kind));
        for workflow in concerned {
            let Some(record) = self
                .records
                .get(&workflow)
                .filter(|record| record.is_live())
            else {
                continue;
            };
            let filters: Vec<Filter> = record.filters.iter().flatten().cloned().collect();
            let objects = record.queue.tracked_objects();
            let gone = objects.filter(|(_, object)| object.resource.kind.same_objects(kind));
            let gone = gone.map(|(uid, object)| {
                (
                    uid.clone(),
                    Observation::Deleted {
                        selected: selects_deletion(&filters, object),
                    },
                )
            });
            let gone: Vec<_> = gone.collect();
            self.observe(&workflow, gone);
        }
    }

    /// Whether [`Engine::undiscovered_kinds`] and [`Engine::access_reviews`] may have changed.
    #[must_use]
    pub fn requirements_changed(&self) -> bool {
        self.requirements_changed
    }

    /// As [`Engine::requirements_changed`], since this was last taken.
    pub fn take_requirements_changed(&mut self) -> bool {
        std::mem::take(&mut self.requirements_changed)
    }

    /// The kinds that triggers name and discovery has not found.
    pub fn undiscovered_kinds(&mut self) -> BTreeSet<Kind> {
        let filters = self
            .records
            .values()
            .flat_map(|record| record.filters.iter().flatten());
        let named: BTreeSet<&Kind> = filters.map(|filter| &filter.kind).collect();
        self.kinds.retain(|kind, _| named.contains(kind));
        let found = |kind: &Kind| matches!(self.kinds.get(kind), Some(DiscoveryResult::Served(_)));
        named
            .into_iter()
            .filter(|kind| !found(kind))
            .cloned()
            .collect()
    }

    /// What must be asked of the API server, again and again since answers change.
    pub fn access_reviews(&mut self) -> BTreeSet<AccessReview> {
        let trigger_states = self
            .records
            .values()
            .flat_map(|record| &record.trigger_states);
        let access_reviews: BTreeSet<AccessReview> = trigger_states
            .filter_map(TriggerState::access_review)
            .cloned()
            .collect();
        self.review_results
            .retain(|review, _| access_reviews.contains(review));
        access_reviews
    }

    /// The API server has answered a review.
    pub fn access_reviewed(&mut self, review: &AccessReview, allowed: bool) {
        if self.review_results.insert(review.clone(), allowed) != Some(allowed) {
            self.reconcile_where(|record| {
                record
                    .trigger_states
                    .iter()
                    .any(|state| state.access_review() == Some(review))
            });
        }
    }

    /// The watches to start and to stop since this was last asked.
    pub fn take_watch_commands(&mut self) -> Vec<WatchCommand> {
        let stale = std::mem::take(&mut self.changed_watches);
        stale
            .into_iter()
            .map(|key| self.watch_command(key))
            .collect()
    }

    /// Whether there are watches to start or to stop.
    #[must_use]
    pub fn has_watch_commands(&self) -> bool {
        !self.changed_watches.is_empty()
    }

    fn watch_command(&mut self, key: WatchKey) -> WatchCommand {
        match self.watches.get_mut(&key) {
            Some(watch) if !watch.subscribers.is_empty() => {
                self.last_epoch += 1;
                watch.epoch = self.last_epoch;
                watch.listed = false;
                WatchCommand::Start {
                    epoch: watch.epoch,
                    key,
                }
            }
            _ => {
                self.watches.remove(&key);
                WatchCommand::Stop { key }
            }
        }
    }

    fn workflows_where(&self, concerned: impl Fn(&Record) -> bool) -> Vec<Uid> {
        let records = self.records.iter().filter(|(_, record)| concerned(record));
        records.map(|(uid, _)| uid.clone()).collect()
    }

    pub(super) fn reconcile_where(&mut self, concerned: impl Fn(&Record) -> bool) {
        for uid in self.workflows_where(concerned) {
            self.reconcile(&uid);
        }
    }

    /// How far each trigger of a Workflow has come by now, and what is therefore watched for it.
    pub(super) fn reconcile(&mut self, uid: &Uid) {
        let Some(record) = self.records.get_mut(uid) else {
            return;
        };
        self.untold.insert(uid.clone());
        self.requirements_changed = true;
        record.trigger_states = trigger_states(record, &self.kinds, &self.review_results);
        record.uncover();
        let wanted = if record.is_live() {
            record.desired_watches()
        } else {
            Vec::new()
        };
        let active = if record.is_live() {
            active_filters(record)
        } else {
            Vec::new()
        };
        let changed = active != record.active_filters;
        record.active_filters = active;
        let left: Vec<WatchKey> = record
            .subscriptions
            .keys()
            .filter(|key| !wanted.contains(key))
            .cloned()
            .collect();
        for key in left {
            self.unsubscribe(uid, &key);
        }
        for key in wanted {
            if self.subscribe(uid, &key) || changed {
                self.changed_watches.insert(key);
            }
        }
    }

    /// Whether the subscription is new. It begins with the watch's next run, which begins with a list.
    fn subscribe(&mut self, uid: &Uid, key: &WatchKey) -> bool {
        let watch = self.watches.entry(key.clone()).or_default();
        let subscriptions = self
            .records
            .get_mut(uid)
            .map(|record| &mut record.subscriptions);
        let next_epoch = watch.epoch + 1;
        if let Some(subscriptions) = subscriptions {
            subscriptions.entry(key.clone()).or_insert(next_epoch);
        }
        watch.subscribers.insert(uid.clone())
    }

    pub(super) fn unsubscribe(&mut self, uid: &Uid, key: &WatchKey) {
        if let Some(record) = self.records.get_mut(uid) {
            record.subscriptions.remove(key);
        }
        if let Some(watch) = self.watches.get_mut(key) {
            watch.subscribers.remove(uid);
            if watch.subscribers.is_empty() {
                self.changed_watches.insert(key.clone());
            }
        }
    }
}

fn references(record: &Record, kind: &Kind) -> bool {
    record
        .filters
        .iter()
        .flatten()
        .any(|filter| filter.kind.same_objects(kind))
}

fn trigger_states(
    record: &Record,
    kinds: &HashMap<Kind, DiscoveryResult>,
    review_results: &HashMap<AccessReview, bool>,
) -> Vec<TriggerState> {
    let account = record.account();
    let valid: Vec<Filter> = record.filters.iter().flatten().cloned().collect();
    let state_of = |filter: &Result<Filter, FilterError>| {
        let filter = match filter {
            Ok(filter) => filter,
            Err(error) => return TriggerState::Invalid(error.clone().into()),
        };
        if let Err(error) = check_version(&valid, filter) {
            return TriggerState::Invalid(error);
        }
        TriggerState::new(filter, &account, kinds.get(&filter.kind), |review| {
            review_results.get(review).copied()
        })
    };
    record.filters.iter().map(state_of).collect()
}

/// The filters whose objects are watched.
fn active_filters(record: &Record) -> Vec<Filter> {
    let permitted = |state: &TriggerState| matches!(state, TriggerState::Permitted(..));
    let triggers = record.filters.iter().zip(&record.trigger_states);
    let active = triggers.filter(|(_, state)| permitted(state));
    active
        .filter_map(|(filter, _)| filter.as_ref().ok())
        .cloned()
        .collect()
}
