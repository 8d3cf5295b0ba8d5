use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kubeci_api::Workflow;
use kubeci_compiler::{
    compile_workflow, empty_folder_of_final_steps, shared_volumes, stored_bytes,
};
use serde_json::Value;

use super::{settings::Settings, workflow_ref::WorkflowRef};
use crate::{
    access_review::ServiceAccount,
    conditions::{Problem, join},
    dispatch_queue::DispatchQueue,
    filter::{Filter, FilterError, selects_deletion},
    history::{Deletions, HistoryLimits},
    ledger::{Ledger, Link},
    object::ObjectRef,
    resource::Kind,
    trigger_state::TriggerState,
    uid::Uid,
    watch_key::{Scope, WatchKey},
    workplan_index::WorkplanIndex,
    workplan_template::WorkplanTemplate,
};

/// The reason of a Workflow that does not match its schema.
const INVALID_SCHEMA: &str = "InvalidSchema";

/// The state of one Workflow.
#[derive(Debug)]
pub(super) struct WorkflowState {
    pub reference: WorkflowRef,
    /// The template of the last generation that compiled.
    template: Option<Arc<WorkplanTemplate>>,
    service_account: Option<String>,
    /// The history limits; nothing is deleted before they are known.
    pub limits: Option<HistoryLimits>,
    pub deletions: Deletions,
    /// The problem because of which nothing fires.
    pub problem: Option<Problem>,
    status_loaded: bool,
    deleting: bool,
    /// The triggers, validated.
    pub filters: Vec<Result<Filter, FilterError>>,
    pub trigger_states: Vec<TriggerState>,
    /// The filters whose objects are watched.
    pub active_filters: Vec<Filter>,
    /// The watches of this Workflow, each with the epoch in which the subscription begins.
    pub subscriptions: HashMap<WatchKey, u64>,
    pub queue: DispatchQueue,
    /// The number of the last Workplan that was requested for it, among all of the engine.
    pub served: u64,
    pub last_workplan: Option<String>,
    pub last_fired: Option<MicroTime>,
    pub last_fired_generation: Option<i64>,
    pub conditions: Vec<Condition>,
    pub stored_status: StoredStatus,
}

/// The status that the API server stores, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct StoredStatus {
    /// The fields without the ledger; `None` if unknown.
    pub fields: Option<Value>,
    /// The objects whose ledger entries may not be stored yet.
    pub unflushed: HashSet<Uid>,
}

impl WorkflowState {
    /// The state of a Workflow of which only the metadata is known.
    pub fn new(reference: WorkflowRef) -> Self {
        Self {
            queue: DispatchQueue::new(reference.uid.clone(), Ledger::default(), 0),
            reference,
            served: 0,
            template: None,
            service_account: None,
            limits: None,
            deletions: Deletions::default(),
            problem: None,
            status_loaded: false,
            deleting: false,
            filters: Vec::new(),
            trigger_states: Vec::new(),
            active_filters: Vec::new(),
            subscriptions: HashMap::new(),
            last_workplan: None,
            last_fired: None,
            last_fired_generation: None,
            conditions: Vec::new(),
            stored_status: StoredStatus::default(),
        }
    }

    /// Whether the stored status is loaded. Before, only conditions may be written.
    pub fn is_status_loaded(&self) -> bool {
        self.status_loaded
    }

    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// Whether nothing but the status has changed since the Workflow was observed last.
    pub fn is_current(&self, metadata: &ObjectMeta) -> bool {
        let invalid_schema = self
            .problem
            .as_ref()
            .is_some_and(|problem| problem.reason == INVALID_SCHEMA);
        self.status_loaded
            && !invalid_schema
            && metadata.generation == Some(self.reference.generation)
            && metadata.deletion_timestamp.is_some() == self.deleting
    }

    /// Replaces the spec. The status of the Workflow is ignored: this state is newer.
    pub fn update(&mut self, workflow: Workflow, settings: &Settings) {
        self.reference.generation = workflow.metadata.generation.unwrap_or_default();
        self.deleting = workflow.metadata.deletion_timestamp.is_some();
        self.filters = filters(&workflow);
        self.limits = Some(settings.history.with(workflow.spec.history.as_ref()));
        let annotations = workflow.metadata.annotations.as_ref();
        let annotations = annotations.map_or(0, stored_bytes);
        self.queue
            .reserve(annotations + stored_bytes(&workflow.spec));
        match template(workflow, settings) {
            Ok((template, service_account)) => {
                self.problem = None;
                self.template = Some(Arc::new(template));
                self.service_account = service_account;
            }
            Err(messages) => {
                let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
                self.problem = Some(Problem::new("Invalid", join(&messages)));
            }
        }
    }

    /// The Workflow cannot be deserialized.
    pub fn set_invalid_schema(&mut self, error: &str) {
        let message =
            format!("the Workflow cannot be read: {error}; correct the field that this names");
        self.problem = Some(Problem::new(INVALID_SCHEMA, message));
    }

    /// Loads the stored status, and replays the Workplans that were created after it was written.
    pub fn load_status(
        &mut self,
        workflow: &mut Workflow,
        links: Vec<Link>,
        workplans: Option<&WorkplanIndex>,
    ) {
        let mut status = workflow.status.take().unwrap_or_default();
        let recorded = status.last_sequence.unwrap_or_default();
        let sequences = links.iter().map(|link| link.sequence);
        let last_sequence = sequences.fold(recorded, i64::max);
        let unrecorded = links.into_iter().filter(|link| link.sequence > recorded);
        let mut ledger = Ledger::from_status(&status);
        let filters: Vec<Filter> = filters(workflow).into_iter().flatten().collect();
        ledger.replay(unrecorded.collect(), |object| {
            selects_deletion(&filters, object)
        });
        let queue = DispatchQueue::new(self.reference.uid.clone(), ledger, last_sequence);
        self.queue = queue.with_dropped(status.dropped.unwrap_or_default());
        self.deletions = Deletions::from_status(status.history.as_ref(), workplans);
        status.last_observed_resource_generation = None;
        status.ledger = BTreeMap::new();
        self.stored_status.fields = serde_json::to_value(&status).ok();
        self.last_workplan = status.last_workplan;
        self.last_fired = status.last_fired;
        self.last_fired_generation = status.last_observed_generation;
        self.conditions = status.conditions;
        self.status_loaded = true;
    }

    /// The template of the last generation that compiled.
    pub fn template(&self) -> Option<&Arc<WorkplanTemplate>> {
        self.template.as_ref()
    }

    /// Whether events may fire.
    pub fn is_live(&self) -> bool {
        self.problem.is_none() && !self.deleting
    }

    /// The `ServiceAccount` that needs the right to watch.
    pub fn service_account(&self) -> ServiceAccount {
        let name = self.service_account.as_deref();
        ServiceAccount {
            namespace: self.reference.namespace.clone(),
            name: name.unwrap_or("default").to_owned(),
        }
    }

    /// Whether a valid trigger names the kind, at any version.
    pub fn references(&self, kind: &Kind) -> bool {
        let mut filters = self.filters.iter().flatten();
        filters.any(|filter| filter.kind.same_objects(kind))
    }

    /// Removes the fingerprints of objects that no trigger covers any more, unless the Workflow is invalid.
    pub fn release_uncovered(&mut self) {
        if self.is_live() && self.filters.iter().all(Result::is_ok) {
            let filters = &self.filters;
            self.queue
                .release_uncovered(|object| covers(filters, object));
        }
    }

    /// The Workplan of the object's transition exists. If the object has a next transition, the event with this number
    /// waits: returns true.
    pub fn created(&mut self, object: &Uid, workplan: String, event: u64, now: Timestamp) -> bool {
        self.last_workplan = Some(workplan);
        self.last_fired = Some(MicroTime(now));
        let template = self.template.as_ref();
        self.last_fired_generation = template.and_then(|template| template.generation());
        let next = self.queue.created(object, event);
        let entry = self.queue.ledger().get(object);
        if entry.is_some_and(|entry| !covers(&self.filters, &entry.object)) {
            self.release_uncovered();
        }
        next
    }

    /// The watches that the triggers need. A watch on all namespaces replaces those on single ones, so that each
    /// object has one watch.
    pub fn desired_watches(&self) -> Vec<WatchKey> {
        if !self.is_live() {
            return Vec::new();
        }
        let permitted = self.trigger_states.iter().filter_map(|state| match state {
            TriggerState::Permitted(key, _) => Some(key),
            _ => None,
        });
        let mut by_resource: BTreeMap<_, Vec<&WatchKey>> = BTreeMap::new();
        for key in permitted {
            by_resource.entry(&key.resource).or_default().push(key);
        }
        let widest = |keys: Vec<&WatchKey>| match keys.iter().find(|key| key.scope == Scope::All) {
            Some(&all) => vec![all.clone()],
            None => keys.into_iter().cloned().collect(),
        };
        by_resource.into_values().flat_map(widest).collect()
    }

    /// The filters whose objects may be watched.
    pub fn permitted_filters(&self) -> Vec<Filter> {
        if !self.is_live() {
            return Vec::new();
        }
        let triggers = self.filters.iter().zip(&self.trigger_states);
        let permitted = triggers.filter(|(_, state)| matches!(state, TriggerState::Permitted(..)));
        let filters = permitted.filter_map(|(filter, _)| filter.as_ref().ok());
        filters.cloned().collect()
    }
}

/// The template of a Workflow and the name of its `ServiceAccount`, or all errors of the compiler.
fn template(
    workflow: Workflow,
    settings: &Settings,
) -> Result<(WorkplanTemplate, Option<String>), Vec<String>> {
    let plan = compile_workflow(&workflow.spec, &settings.compiler)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let service_account = workflow.spec.pod.service_account_name.clone();
    let shared = shared_volumes(&plan.tasks, &workflow.spec.pod);
    let shared = shared.iter().map(ToString::to_string);
    let warnings = shared
        .chain(empty_folder_of_final_steps(&workflow.spec))
        .collect();
    let template = WorkplanTemplate::new(workflow, plan, warnings);
    let template = template.map_err(|error| vec![error.to_string()])?;
    Ok((template, service_account))
}

fn covers(filters: &[Result<Filter, FilterError>], object: &ObjectRef) -> bool {
    filters.iter().flatten().any(|filter| filter.covers(object))
}

fn filters(workflow: &Workflow) -> Vec<Result<Filter, FilterError>> {
    let own = workflow.metadata.namespace.as_deref().unwrap_or_default();
    let triggers = workflow.spec.triggers.iter().enumerate();
    triggers
        .map(|(index, trigger)| Filter::new(index, trigger, own))
        .collect()
}
