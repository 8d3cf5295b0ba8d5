//! What is watched, recomputed on every change and compared with what runs.

use std::collections::{BTreeSet, HashMap};

use super::{Engine, workflow_state::Record};
use crate::{
    filter::{Filter, selects_deletion},
    messages,
    object::Uid,
    observation::Observation,
    resource::Kind,
    trigger_state::{KindState, Question, Standing, other_version, stand},
    watch_key::WatchKey,
};

/// A watch that all Workflows share that need it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Tells the current watch from those before; 0 before the first.
    pub run: u64,
    pub subscribers: BTreeSet<Uid>,
    pub listed: bool,
    pub trouble: Option<Trouble>,
}

/// Why a watch does not work; it is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The operator itself may not.
    Forbidden,
    Failing(String),
}

/// A change of what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchOrder {
    /// From a fresh list, in place of an earlier run of the same watch.
    Start {
        key: WatchKey,
        run: u64,
    },
    Stop {
        key: WatchKey,
    },
}

impl Engine {
    /// Discovery has answered.
    pub fn kind(&mut self, kind: &Kind, state: KindState) {
        if self.kinds.get(kind) != Some(&state) {
            self.kinds.insert(kind.clone(), state);
            self.reconsider_those(|record| names(record, kind));
        }
    }

    /// The API serves the kind no more, at any version: none of its objects exists.
    pub fn kind_gone(&mut self, kind: &Kind) {
        let concerned = self.those(|record| names(record, kind));
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

    /// Whether [`Engine::unresolved`] and [`Engine::questions`] may have changed.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// As [`Engine::asks`], since this was last taken.
    pub fn take_asks(&mut self) -> bool {
        std::mem::take(&mut self.asks)
    }

    /// The kinds that triggers name and discovery has not found.
    pub fn unresolved(&mut self) -> BTreeSet<Kind> {
        let filters = self
            .records
            .values()
            .flat_map(|record| record.filters.iter().flatten());
        let named: BTreeSet<&Kind> = filters.map(|filter| &filter.kind).collect();
        self.kinds.retain(|kind, _| named.contains(kind));
        let found = |kind: &Kind| matches!(self.kinds.get(kind), Some(KindState::Served(_)));
        named
            .into_iter()
            .filter(|kind| !found(kind))
            .cloned()
            .collect()
    }

    /// What must be asked of the API server, again and again since answers change.
    pub fn questions(&mut self) -> BTreeSet<Question> {
        let standings = self.records.values().flat_map(|record| &record.standings);
        let questions: BTreeSet<Question> =
            standings.filter_map(Standing::question).cloned().collect();
        self.permits
            .retain(|question, _| questions.contains(question));
        questions
    }

    /// The API server has answered a question.
    pub fn permit(&mut self, question: &Question, allowed: bool) {
        if self.permits.insert(question.clone(), allowed) != Some(allowed) {
            self.reconsider_those(|record| {
                record
                    .standings
                    .iter()
                    .any(|standing| standing.question() == Some(question))
            });
        }
    }

    /// The watches to start and to stop since this was last asked.
    pub fn take_watches(&mut self) -> Vec<WatchOrder> {
        let stale = std::mem::take(&mut self.stale);
        stale.into_iter().map(|key| self.order(key)).collect()
    }

    /// Whether there are watches to start or to stop.
    #[must_use]
    pub fn has_stale_watches(&self) -> bool {
        !self.stale.is_empty()
    }

    fn order(&mut self, key: WatchKey) -> WatchOrder {
        match self.watches.get_mut(&key) {
            Some(watch) if !watch.subscribers.is_empty() => {
                self.last_run += 1;
                watch.run = self.last_run;
                watch.listed = false;
                WatchOrder::Start {
                    run: watch.run,
                    key,
                }
            }
            _ => {
                self.watches.remove(&key);
                WatchOrder::Stop { key }
            }
        }
    }

    fn those(&self, concerned: impl Fn(&Record) -> bool) -> Vec<Uid> {
        let records = self.records.iter().filter(|(_, record)| concerned(record));
        records.map(|(uid, _)| uid.clone()).collect()
    }

    pub(super) fn reconsider_those(&mut self, concerned: impl Fn(&Record) -> bool) {
        for uid in self.those(concerned) {
            self.reconsider(&uid);
        }
    }

    /// How far each trigger of a Workflow has come by now, and what is therefore watched for it.
    pub(super) fn reconsider(&mut self, uid: &Uid) {
        let Some(record) = self.records.get_mut(uid) else {
            return;
        };
        self.untold.insert(uid.clone());
        self.asks = true;
        record.standings = standings(record, &self.kinds, &self.permits);
        record.uncover();
        let wanted = if record.is_live() {
            record.wanted_watches()
        } else {
            Vec::new()
        };
        let active = if record.is_live() {
            active(record)
        } else {
            Vec::new()
        };
        let changed = active != record.active;
        record.active = active;
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
                self.stale.insert(key);
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
        let next_run = watch.run + 1;
        if let Some(subscriptions) = subscriptions {
            subscriptions.entry(key.clone()).or_insert(next_run);
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
                self.stale.insert(key.clone());
            }
        }
    }
}

fn names(record: &Record, kind: &Kind) -> bool {
    record
        .filters
        .iter()
        .flatten()
        .any(|filter| filter.kind.same_objects(kind))
}

fn standings(
    record: &Record,
    kinds: &HashMap<Kind, KindState>,
    permits: &HashMap<Question, bool>,
) -> Vec<Standing> {
    let account = record.account();
    let read: Vec<Filter> = record.filters.iter().flatten().cloned().collect();
    let standing = |filter: &Result<Filter, String>| {
        let filter = match filter {
            Ok(filter) => filter,
            Err(wrong) => return Standing::Wrong(wrong.clone()),
        };
        if let Some(first) = other_version(&read, filter) {
            return Standing::Wrong(messages::other_version(filter, first));
        }
        stand(filter, &account, kinds.get(&filter.kind), |question| {
            permits.get(question).copied()
        })
    };
    record.filters.iter().map(standing).collect()
}

/// The filters whose objects are watched.
fn active(record: &Record) -> Vec<Filter> {
    let permitted = |standing: &Standing| matches!(standing, Standing::Permitted(..));
    let triggers = record.filters.iter().zip(&record.standings);
    let active = triggers.filter(|(_, standing)| permitted(standing));
    active
        .filter_map(|(filter, _)| filter.as_ref().ok())
        .cloned()
        .collect()
}
