//! The conditions of a Workflow: `Ready`, `Compiled`, `TriggersWatched`.

use super::{Engine, shared_watch::WatchError, workflow_state::WorkflowState};
use crate::{
    conditions::{ConditionState, ConditionStatus, Problem, join, objects_match, ready},
    dispatch_queue::FailedDispatches,
    ledger::ENTRIES_MAX,
    messages,
    trigger_state::TriggerState,
    watch_key::WatchKey,
};

const COMPILED: &str = "Compiled";
const TRIGGERS_WATCHED: &str = "TriggersWatched";

/// The health of one trigger.
enum TriggerHealth {
    Watching(WatchKey),
    Pending,
    Failing(Problem),
}

impl Engine {
    pub(super) fn condition_states(&self, workflow: &WorkflowState) -> Vec<ConditionState> {
        let compiled = match &workflow.problem {
            Some(problem) => ConditionState::not_met(COMPILED, std::slice::from_ref(problem)),
            None => ConditionState::met(COMPILED, COMPILED, compiled_message(workflow)),
        };
        let watched = if compiled.status == ConditionStatus::True {
            self.triggers_watched(workflow)
        } else {
            let message = "nothing fires until the Workflow is valid";
            let problem = Problem::new("NotCompiled", message);
            ConditionState::not_met(TRIGGERS_WATCHED, &[problem])
        };
        let others = vec![compiled, watched];
        let refused = workflow.queue.failed_dispatches();
        let refused = refused.map(|refused| workplan_refused(&refused));
        let waiting = self.waiting_message(workflow);
        let ready = ready(&others, refused, waiting, matching_objects(workflow));
        [vec![ready], others].concat()
    }

    /// The events that wait because of the cap on Workplans.
    fn waiting_message(&self, workflow: &WorkflowState) -> Option<String> {
        let max = self.settings.max_active?;
        let waiting = workflow.queue.waiting_states();
        (waiting > 0).then(|| messages::events_queued(waiting, max, workflow.queue.dropped()))
    }

    fn triggers_watched(&self, workflow: &WorkflowState) -> ConditionState {
        let triggers = workflow.trigger_states.iter().enumerate();
        let health = triggers.map(|(index, state)| self.trigger_health(workflow, index, state));
        let (mut problems, mut watching, mut pending) = (Vec::new(), Vec::new(), false);
        for health in health {
            match health {
                TriggerHealth::Failing(problem) => problems.push(problem),
                TriggerHealth::Watching(key) => watching.push(key.to_string()),
                TriggerHealth::Pending => pending = true,
            }
        }
        problems.extend(workflow.queue.is_full().then(ledger_full));
        if !problems.is_empty() {
            return ConditionState::not_met(TRIGGERS_WATCHED, &problems);
        }
        if pending {
            return starting(workflow);
        }
        watching.dedup();
        let watching: Vec<&str> = watching.iter().map(String::as_str).collect();
        let (reason, message) = match watching.as_slice() {
            [] => (
                "NoTriggers",
                "spec.triggers is empty, so nothing fires the Workflow".to_owned(),
            ),
            watching => (
                "Watching",
                format!(
                    "watches {}; {} now",
                    join(watching),
                    objects_match(matching_objects(workflow))
                ),
            ),
        };
        ConditionState::met(TRIGGERS_WATCHED, reason, message)
    }

    fn trigger_health(
        &self,
        workflow: &WorkflowState,
        index: usize,
        state: &TriggerState,
    ) -> TriggerHealth {
        let failing =
            |reason: &str, message: String| TriggerHealth::Failing(Problem::new(reason, message));
        match state {
            TriggerState::Invalid(error) => failing("InvalidTrigger", error.to_string()),
            TriggerState::KindNotFound(message) => failing("KindNotFound", message.clone()),
            TriggerState::DiscoveryFailing(message) => failing("DiscoveryFailing", message.clone()),
            TriggerState::Forbidden(review, decision) => {
                failing("Forbidden", messages::forbidden(index, review, *decision))
            }
            TriggerState::Discovering | TriggerState::AwaitingReview(_) => TriggerHealth::Pending,
            TriggerState::Permitted(key, _) => match self.watch_state(workflow, key) {
                Some((_, Some(WatchError::Forbidden))) => failing(
                    "OperatorForbidden",
                    messages::operator_forbidden(index, key),
                ),
                Some((_, Some(WatchError::Failing(error)))) => {
                    failing("WatchFailing", messages::watch_failing(index, key, error))
                }
                Some((true, None)) => TriggerHealth::Watching(key.clone()),
                Some((false, None)) | None => TriggerHealth::Pending,
            },
        }
    }

    /// Whether the watch of the trigger's objects has listed them, and its error.
    fn watch_state(
        &self,
        workflow: &WorkflowState,
        key: &WatchKey,
    ) -> Option<(bool, Option<&WatchError>)> {
        let subscribed = workflow.subscriptions.contains_key(key);
        let own = self.watches.get(key).filter(|_| subscribed);
        let watch = own.or_else(|| self.watches.get(&key.all_namespaces()))?;
        Some((watch.listed, watch.error.as_ref()))
    }
}

fn matching_objects(workflow: &WorkflowState) -> usize {
    let entries = workflow.queue.ledger().iter();
    entries
        .filter(|(_, entry)| entry.fingerprint.is_some())
        .count()
}

/// The condition while watches start. After a restart of the operator it stays as it was.
fn starting(workflow: &WorkflowState) -> ConditionState {
    let generation = workflow.reference.generation;
    let unchanged = ConditionState::unchanged(TRIGGERS_WATCHED, &workflow.conditions, generation);
    unchanged.unwrap_or_else(|| {
        ConditionState::unknown(TRIGGERS_WATCHED, "Starting", "the watches are starting")
    })
}

/// The size of the plan, and the warnings of the compiler.
fn compiled_message(workflow: &WorkflowState) -> String {
    let Some(template) = workflow.template() else {
        return String::new();
    };
    let count = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    let (steps, pods) = template.size;
    let size = format!("{} in {}", count(steps, "step"), count(pods, "pod"));
    let warnings: Vec<&str> = template.warnings.iter().map(String::as_str).collect();
    if warnings.is_empty() {
        size
    } else {
        format!("{size}. Warning: {}", join(&warnings))
    }
}

fn workplan_refused(refused: &FailedDispatches) -> Problem {
    let (count, error) = (refused.count, refused.message);
    let (events, wait) = match count {
        1 => ("event", "waits"),
        _ => ("events", "wait"),
    };
    let dropped = match refused.dropped {
        0 => String::new(),
        dropped => format!(
            ". {dropped} states were dropped and do not fire, because too many states of one object wait; the \
             latest state is kept"
        ),
    };
    let message = if refused.blocked {
        format!(
            "{count} {events} {wait} for a change of the Workflow, because the Workplan is too large to be stored; move \
             scripts and data into ConfigMaps that the steps mount, or split the Workflow: {error}{dropped}"
        )
    } else {
        format!(
            "{count} {events} {wait} because the API server does not create the Workplan; retrying: {error}{dropped}"
        )
    };
    Problem::new("WorkplanRefused", message)
}

fn ledger_full() -> Problem {
    let message = format!(
        "spec.triggers match more objects than a Workflow can track (at most {ENTRIES_MAX}, fewer if their names are \
         long or the Workflow is large); the other objects do not fire. Narrow the triggers by name, namespace or \
         selector, or split the Workflow"
    );
    Problem::new("LedgerFull", message)
}
