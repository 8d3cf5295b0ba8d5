//! Subscriptions: the watches of each Workflow, reconciled on every change.

use std::collections::HashMap;

use super::{Engine, shared_watch::WatchCommand, workflow_state::WorkflowState};
use crate::{
    access_review::{AccessDecision, AccessReview},
    discovery::DiscoveryResult,
    filter::{Filter, FilterError},
    resource::Kind,
    trigger_state::{TriggerState, check_version},
    uid::Uid,
    watch_key::WatchKey,
};

impl Engine {
    /// The watches to start and to stop since the last call.
    pub fn take_watch_commands(&mut self) -> Vec<WatchCommand> {
        let changed = std::mem::take(&mut self.changed_watches);
        changed
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

    pub(super) fn workflows_where(&self, matches: impl Fn(&WorkflowState) -> bool) -> Vec<Uid> {
        let workflows = self.workflows.iter();
        let matching = workflows.filter(|(_, workflow)| matches(workflow));
        matching.map(|(uid, _)| uid.clone()).collect()
    }

    pub(super) fn reconcile_where(&mut self, matches: impl Fn(&WorkflowState) -> bool) {
        for uid in self.workflows_where(matches) {
            self.reconcile(&uid);
        }
    }

    /// Recomputes the state of each trigger of a Workflow, and from it the watches.
    pub(super) fn reconcile(&mut self, uid: &Uid) {
        let Some(workflow) = self.workflows.get_mut(uid) else {
            return;
        };
        self.dirty.insert(uid.clone());
        self.requirements_changed = true;
        workflow.trigger_states = trigger_states(workflow, &self.kinds, &self.review_results);
        workflow.release_uncovered();
        let filters = workflow.permitted_filters();
        let filters_changed = filters != workflow.active_filters;
        workflow.active_filters = filters;
        let desired = workflow.desired_watches();
        let current = workflow.subscriptions.keys();
        let undesired = current.filter(|key| !desired.contains(key));
        for key in undesired.cloned().collect::<Vec<_>>() {
            self.unsubscribe(uid, &key);
        }
        for key in desired {
            if self.subscribe(uid, &key) || filters_changed {
                self.changed_watches.insert(key);
            }
        }
    }

    /// Subscribes a Workflow to a watch, from the next epoch on, which begins with a list. Returns whether the
    /// subscription is new.
    fn subscribe(&mut self, uid: &Uid, key: &WatchKey) -> bool {
        let watch = self.watches.entry(key.clone()).or_default();
        let next_epoch = watch.epoch + 1;
        if let Some(workflow) = self.workflows.get_mut(uid) {
            let subscriptions = &mut workflow.subscriptions;
            subscriptions.entry(key.clone()).or_insert(next_epoch);
        }
        watch.subscribers.insert(uid.clone())
    }

    pub(super) fn unsubscribe(&mut self, uid: &Uid, key: &WatchKey) {
        if let Some(workflow) = self.workflows.get_mut(uid) {
            workflow.subscriptions.remove(key);
        }
        if let Some(watch) = self.watches.get_mut(key) {
            watch.subscribers.remove(uid);
            if watch.subscribers.is_empty() {
                self.changed_watches.insert(key.clone());
            }
        }
    }
}

fn trigger_states(
    workflow: &WorkflowState,
    kinds: &HashMap<Kind, DiscoveryResult>,
    review_results: &HashMap<AccessReview, AccessDecision>,
) -> Vec<TriggerState> {
    let service_account = workflow.service_account();
    let valid: Vec<Filter> = workflow.filters.iter().flatten().cloned().collect();
    let state = |filter: &Result<Filter, FilterError>| {
        let filter = match filter {
            Ok(filter) => filter,
            Err(error) => return TriggerState::Invalid(error.clone().into()),
        };
        if let Err(error) = check_version(&valid, filter) {
            return TriggerState::Invalid(error);
        }
        let kind = kinds.get(&filter.kind);
        TriggerState::new(filter, &service_account, kind, |review| {
            review_results.get(review).copied()
        })
    };
    workflow.filters.iter().map(state).collect()
}
