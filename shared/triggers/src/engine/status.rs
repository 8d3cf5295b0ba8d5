//! What is told of a Workflow in its status.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kubeci_api::WorkflowStatus;
use serde_json::{Map, Value, json};

use super::{Engine, Reference, subscriptions::WatchError, workflow_state::Record};
use crate::{
    conditions::{Fact, Problem, Status, conditions, listed, ready},
    ledger::ENTRIES_MAX,
    merge_patch::difference,
    messages,
    observed_workplan::{End, Runs},
    trigger_state::TriggerState,
    watch_key::WatchKey,
};

const WATCHED: &str = "TriggersWatched";

/// What to write into a Workflow's status.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub reference: Reference,
    /// The merge patch of the status; nothing if it says all already.
    pub patch: Option<Value>,
    /// What is worth an Event.
    pub warning: Option<Problem>,
}

/// How one trigger is doing.
enum Health {
    Watching(WatchKey),
    Pending,
    Failing(Problem),
}

impl Engine {
    /// What is to be told of a Workflow; nothing if it does not exist. [`Engine::written`] must be told how
    /// that went before this is asked of the same Workflow again.
    pub fn report(&mut self, uid: &str, now: Timestamp) -> Option<Report> {
        let facts = self.facts(self.records.get(uid)?);
        let record = self.records.get_mut(uid)?;
        let runs = self.runs.get(&record.reference.owner());
        let generation = record.reference.generation;
        let conditions = conditions(&record.conditions, facts, generation, now);
        let warning = warning(&record.conditions, &conditions);
        record.conditions = conditions;
        let told = record.queue.recorded_sequence();
        if let Some(runs) = runs {
            let limits = record.limits.filter(|_| !record.is_deleting());
            record.deleted.advance(limits.as_ref(), runs, told, now);
        }
        // Its types exclude that it cannot be serialized.
        let patch = patch(record, runs).ok()?;
        Some(Report {
            reference: record.reference.clone(),
            patch: Some(Value::from(patch)).filter(|patch| *patch != json!({})),
            warning,
        })
    }

    fn facts(&self, record: &Record) -> Vec<Fact> {
        let compiled = match &record.problem {
            Some(problem) => Fact::fails("Compiled", std::slice::from_ref(problem)),
            None => Fact::holds("Compiled", "Compiled", compiled(record)),
        };
        let watched = match compiled.status {
            Status::True => self.watched(record),
            _ => Fact::fails(
                WATCHED,
                &[Problem::new(
                    "NotCompiled",
                    "nothing fires until the Workflow is valid",
                )],
            ),
        };
        let facts = vec![compiled, watched];
        let ready = ready(&facts, refused(record));
        [vec![ready], facts].concat()
    }

    fn watched(&self, record: &Record) -> Fact {
        let triggers = record.trigger_states.iter().enumerate();
        let health: Vec<Health> = triggers
            .map(|(index, state)| self.health(record, index, state))
            .collect();
        let mut problems: Vec<Problem> = health.iter().filter_map(Health::problem).collect();
        problems.extend(record.queue.is_full().then(full));
        if !problems.is_empty() {
            return Fact::fails(WATCHED, &problems);
        }
        if health
            .iter()
            .any(|health| matches!(health, Health::Pending))
        {
            let still = Fact::still(WATCHED, &record.conditions, record.reference.generation);
            let starting = || Fact::unknown(WATCHED, "Starting", "the watches are being started");
            return still.unwrap_or_else(starting);
        }
        let mut watching: Vec<String> = health.iter().filter_map(Health::watching).collect();
        watching.dedup();
        let watching: Vec<&str> = watching.iter().map(String::as_str).collect();
        match watching.as_slice() {
            [] => Fact::holds(
                WATCHED,
                "NoTriggers",
                "spec.triggers is empty, so nothing fires the Workflow",
            ),
            watching => Fact::holds(WATCHED, "Watching", format!("watches {}", listed(watching))),
        }
    }

    fn health(&self, record: &Record, index: usize, state: &TriggerState) -> Health {
        let failing =
            |reason: &str, message: String| Health::Failing(Problem::new(reason, message));
        match state {
            TriggerState::Invalid(error) => failing("InvalidTrigger", error.to_string()),
            TriggerState::KindNotFound(message) => failing("KindNotFound", message.clone()),
            TriggerState::DiscoveryFailing(message) => failing("DiscoveryFailing", message.clone()),
            TriggerState::Forbidden(review) => {
                failing("Forbidden", messages::forbidden(index, review))
            }
            TriggerState::Discovering | TriggerState::AwaitingReview(_) => Health::Pending,
            TriggerState::Permitted(key, _) => match self.watch_of(record, key) {
                Some((_, Some(WatchError::Forbidden))) => failing(
                    "OperatorForbidden",
                    messages::operator_forbidden(index, key),
                ),
                Some((_, Some(WatchError::Failing(error)))) => {
                    failing("WatchFailing", messages::watch_failing(index, key, error))
                }
                Some((true, None)) => Health::Watching(key.clone()),
                Some((false, None)) | None => Health::Pending,
            },
        }
    }

    /// Whether the watch that shows this trigger's objects has listed them, and its error.
    fn watch_of(&self, record: &Record, key: &WatchKey) -> Option<(bool, Option<&WatchError>)> {
        let own = self
            .watches
            .get(key)
            .filter(|_| record.subscriptions.contains_key(key));
        let watch = own.or_else(|| self.watches.get(&key.all_namespaces()))?;
        Some((watch.listed, watch.error.as_ref()))
    }
}

impl Health {
    fn problem(&self) -> Option<Problem> {
        match self {
            Self::Failing(problem) => Some(problem.clone()),
            _ => None,
        }
    }

    fn watching(&self) -> Option<String> {
        match self {
            Self::Watching(key) => Some(key.to_string()),
            _ => None,
        }
    }
}

/// What has become wrong with a Workflow.
fn warning(before: &[Condition], after: &[Condition]) -> Option<Problem> {
    let failing =
        |condition: &&Condition| condition.type_ == "Ready" && condition.status == "False";
    let before = before.iter().find(failing).map(|ready| &ready.reason);
    let after = after.iter().find(failing);
    let warning = after.filter(|after| before != Some(&after.reason));
    warning.map(|ready| Problem::new(&ready.reason, &ready.message))
}

/// The merge patch that makes the stored status say what is known.
fn patch(record: &mut Record, runs: Option<&Runs>) -> serde_json::Result<Map<String, Value>> {
    let mut fields = serde_json::to_value(fields(record, runs))?;
    if !record.is_read() {
        let unread = ["conditions", "observedGeneration"];
        let unread = unread.map(|field| (field.to_owned(), fields[field].take()));
        fields = unread.into_iter().collect();
    }
    let stored = record.written.fields.replace(fields.clone());
    let changed = difference(&stored.unwrap_or_default(), &fields);
    let mut patch = match changed {
        Some(Value::Object(changed)) => changed,
        _ => Map::new(),
    };
    record
        .written
        .behind
        .extend(record.queue.take_dirty_entries());
    patch.extend(record.queue.ledger().patch(&record.written.behind)?);
    Ok(patch)
}

/// The status but for the ledger.
fn fields(record: &Record, runs: Option<&Runs>) -> WorkflowStatus {
    let ended = |end| Some(record.deleted.count(end, runs));
    let active = runs.map_or(0, Runs::active);
    WorkflowStatus {
        observed_generation: Some(record.reference.generation),
        last_observed_generation: record.last_fired_generation,
        last_sequence: Some(record.queue.recorded_sequence()).filter(|told| *told > 0),
        conditions: record.conditions.clone(),
        last_workplan: record.last_workplan.clone(),
        last_fired: record.last_fired.clone(),
        active: i64::try_from(active).ok(),
        succeeded: ended(End::Succeeded),
        failed: ended(End::Failed),
        history: record.deleted.status(),
        ..WorkflowStatus::default()
    }
}

/// The plan in short, and what its author may not have meant.
fn compiled(record: &Record) -> String {
    let warnings = record.warnings();
    let warnings: Vec<&str> = warnings.iter().map(String::as_str).collect();
    if warnings.is_empty() {
        plan(record)
    } else {
        format!("{}. Warning: {}", plan(record), listed(&warnings))
    }
}

fn plan(record: &Record) -> String {
    let count =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (steps, tasks) = record.size().unwrap_or_default();
    format!("{} in {}", count(steps, "step"), count(tasks, "pod"))
}

fn refused(record: &Record) -> Option<Problem> {
    let failed = record.queue.failed_dispatches()?;
    let (events, wait) = if failed.count == 1 {
        ("event", "waits")
    } else {
        ("events", "wait")
    };
    let left_out = match failed.dropped {
        0 => String::new(),
        count => format!(
            ". Of each object only so many states wait; {count} between these and the latest do not fire"
        ),
    };
    let (count, said) = (failed.count, failed.message);
    let message = if failed.blocked {
        format!(
            "{count} {events} {wait} for a change of the Workflow, because the Workplan is too large to be stored; keep \
             scripts and data in ConfigMaps that the steps mount, or split the Workflow: {said}{left_out}"
        )
    } else {
        format!(
            "{count} {events} {wait} because the API server does not create the Workplan; it is tried again: {said}{left_out}"
        )
    };
    Some(Problem::new("WorkplanRefused", message))
}

fn full() -> Problem {
    let message = format!(
        "spec.triggers match more objects than the {ENTRIES_MAX}, fewer if their names are long or the Workflow is large, that a \
         Workflow can keep track of; the others do not fire. Narrow the triggers by name, namespace or selector, or split the Workflow"
    );
    Problem::new("LedgerFull", message)
}
