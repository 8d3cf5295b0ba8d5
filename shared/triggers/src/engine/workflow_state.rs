use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kubeci_api::Workflow;
use kubeci_compiler::{compile_workflow, shared_volumes, stored_bytes};
use serde_json::Value;

use super::Settings;
use crate::{
    access_review::ServiceAccount,
    conditions::{Problem, listed},
    dispatch_queue::{Dispatch, DispatchQueue},
    filter::{Filter, FilterError, selects_deletion},
    history::{Deleted, Limits},
    ledger::{Ledger, Link},
    object::{ObjectRef, Uid},
    observed_workplan::{Owner, Runs},
    trigger_state::TriggerState,
    watch_key::{Scope, WatchKey},
    workplan_template::Template,
};

/// Which Workflow it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub uid: Uid,
    pub namespace: String,
    pub name: String,
    pub generation: i64,
}

/// All that is known of one Workflow.
#[derive(Debug)]
pub(super) struct Record {
    pub reference: Reference,
    /// The Workplans of the Workflow as it last compiled.
    template: Option<Arc<Template>>,
    service_account: Option<String>,
    /// What is kept of ended Workplans; nothing is deleted before this is known.
    pub limits: Option<Limits>,
    pub deleted: Deleted,
    /// Why nothing may fire now.
    pub problem: Option<Problem>,
    read: bool,
    deleting: bool,
    /// The triggers, each read or what is wrong with it.
    pub filters: Vec<Result<Filter, FilterError>>,
    pub trigger_states: Vec<TriggerState>,
    /// The filters whose objects are watched.
    pub active_filters: Vec<Filter>,
    /// What is watched for this Workflow, each since which run of the watch.
    pub subscriptions: HashMap<WatchKey, u64>,
    pub queue: DispatchQueue,
    pub last_workplan: Option<String>,
    pub last_fired: Option<MicroTime>,
    pub last_fired_generation: Option<i64>,
    pub conditions: Vec<Condition>,
    pub written: Written,
}

/// What is known of the Workflow's status as it is stored.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// What it says but for the ledger, if that is known.
    pub fields: Option<Value>,
    /// The objects about which the ledger in it may be behind.
    pub behind: HashSet<Uid>,
}

impl Reference {
    /// The reference of a stored Workflow; nothing if it lacks what every stored one has.
    #[must_use]
    pub fn new(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self {
            uid: metadata.uid.as_deref()?.into(),
            namespace: metadata.namespace.clone()?,
            name: metadata.name.clone()?,
            generation: metadata.generation.unwrap_or_default(),
        })
    }

    /// The Workflow as its Workplans name it.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner {
            namespace: self.namespace.clone(),
            uid: self.uid.clone(),
        }
    }
}

impl Record {
    /// A Workflow of which only the metadata can be read.
    pub fn unread(reference: Reference) -> Self {
        Self {
            queue: DispatchQueue::new(reference.uid.clone(), Ledger::default(), 0),
            reference,
            template: None,
            service_account: None,
            limits: None,
            deleted: Deleted::default(),
            problem: None,
            read: false,
            deleting: false,
            filters: Vec::new(),
            trigger_states: Vec::new(),
            active_filters: Vec::new(),
            subscriptions: HashMap::new(),
            last_workplan: None,
            last_fired: None,
            last_fired_generation: None,
            conditions: Vec::new(),
            written: Written::default(),
        }
    }

    /// Whether the Workflow's status has been read, without which nothing of it may be told.
    pub fn is_read(&self) -> bool {
        self.read
    }

    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// Whether the Workflow is as it was last told, but for its status.
    pub fn is_current(&self, metadata: &ObjectMeta) -> bool {
        let readable = self.read
            && self
                .problem
                .as_ref()
                .is_none_or(|problem| problem.reason != UNREADABLE);
        let deleting = metadata.deletion_timestamp.is_some();
        readable
            && metadata.generation == Some(self.reference.generation)
            && deleting == self.deleting
    }

    /// The Workflow as it is now. Its status is read only once: after that the operator knows better.
    pub fn change(&mut self, workflow: Workflow, settings: &Settings) {
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
                self.problem = Some(Problem::new("Invalid", listed(&messages)));
            }
        }
    }

    pub fn unreadable(&mut self, error: &str) {
        let message =
            format!("the Workflow cannot be read: {error}; correct the field that this names");
        self.problem = Some(Problem::new(UNREADABLE, message));
    }

    /// Takes over what the status tells, and what Workplans tell that were created after it.
    pub fn remember(&mut self, workflow: &mut Workflow, links: Vec<Link>, runs: Option<&Runs>) {
        let mut status = workflow.status.take().unwrap_or_default();
        let told = status.last_sequence.unwrap_or_default();
        let last = links.iter().map(|link| link.sequence).fold(told, i64::max);
        let untold: Vec<Link> = links
            .into_iter()
            .filter(|link| link.sequence > told)
            .collect();
        let mut ledger = Ledger::from_status(&status);
        let filters: Vec<Filter> = filters(workflow).into_iter().flatten().collect();
        ledger.replay(untold, |object| selects_deletion(&filters, object));
        self.queue = DispatchQueue::new(self.reference.uid.clone(), ledger, last);
        self.deleted = Deleted::read(status.history.as_ref(), runs);
        status.last_observed_resource_generation = None;
        status.ledger = BTreeMap::new();
        self.written.fields = serde_json::to_value(&status).ok();
        self.last_workplan = status.last_workplan;
        self.last_fired = status.last_fired;
        self.last_fired_generation = status.last_observed_generation;
        self.conditions = status.conditions;
        self.read = true;
    }

    /// How many steps became how many tasks.
    pub fn size(&self) -> Option<(usize, usize)> {
        Some(self.template.as_ref()?.size)
    }

    /// What may not be as the Workflow's author thinks.
    pub fn warnings(&self) -> &[String] {
        let template = self.template.as_ref();
        template.map_or(&[], |template| &template.warnings)
    }

    /// Whether events may fire.
    pub fn is_live(&self) -> bool {
        self.problem.is_none() && !self.deleting
    }

    /// The account for which the triggers watch.
    pub fn account(&self) -> ServiceAccount {
        let name = self.service_account.as_deref();
        ServiceAccount {
            namespace: self.reference.namespace.clone(),
            name: name.unwrap_or("default").to_owned(),
        }
    }

    /// Objects that no trigger covers any more are let go of; while the Workflow is not valid none is.
    pub fn uncover(&mut self) {
        if self.is_live() && self.filters.iter().all(Result::is_ok) {
            let filters = &self.filters;
            self.queue
                .release_uncovered(|object| covered(filters, object));
        }
    }

    /// The Workplan of the object's event exists; what fires next of the same object.
    pub fn created(&mut self, object: &Uid, workplan: String, now: Timestamp) -> Option<Dispatch> {
        self.last_workplan = Some(workplan);
        self.last_fired = Some(MicroTime(now));
        let template = self.template.as_ref();
        self.last_fired_generation = template.and_then(|template| template.generation());
        let next = self.queue.created(object);
        let entry = self.queue.ledger().get(object);
        if entry.is_some_and(|entry| !covered(&self.filters, &entry.object)) {
            self.uncover();
        }
        next
    }

    /// The Workplans of the newest plan that there is.
    pub fn template(&self) -> Option<Arc<Template>> {
        self.template.clone()
    }

    /// What is to be watched, by resource and scope; where all namespaces are, none is watched besides,
    /// so that each object is seen through one watch only.
    pub fn desired_watches(&self) -> Vec<WatchKey> {
        let permitted = self.trigger_states.iter().filter_map(|state| match state {
            TriggerState::Permitted(key, _) => Some(key),
            _ => None,
        });
        let mut wanted: BTreeMap<_, Vec<&WatchKey>> = BTreeMap::new();
        for key in permitted {
            wanted.entry(&key.resource).or_default().push(key);
        }
        let all = |keys: Vec<&WatchKey>| match keys.iter().find(|key| key.scope == Scope::All) {
            Some(&all) => vec![all.clone()],
            None => keys.into_iter().cloned().collect(),
        };
        wanted.into_values().flat_map(all).collect()
    }
}

/// The reason of a Workflow that is not as its definition says.
const UNREADABLE: &str = "InvalidSchema";

/// The Workplans of a Workflow and its service account, or what is wrong with it.
fn template(
    workflow: Workflow,
    settings: &Settings,
) -> Result<(Template, Option<String>), Vec<String>> {
    let plan = compile_workflow(&workflow.spec, &settings.compiler)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let service_account = workflow.spec.pod.service_account_name.clone();
    let shared = shared_volumes(&plan.tasks, &workflow.spec.pod);
    let warnings = shared.iter().map(ToString::to_string).collect();
    let template = Template::new(workflow, plan, warnings);
    let template = template.map_err(|error| vec![error.to_string()])?;
    Ok((template, service_account))
}

fn covered(filters: &[Result<Filter, FilterError>], object: &ObjectRef) -> bool {
    filters.iter().flatten().any(|filter| filter.covers(object))
}

fn filters(workflow: &Workflow) -> Vec<Result<Filter, FilterError>> {
    let own = workflow.metadata.namespace.as_deref().unwrap_or_default();
    let triggers = workflow.spec.triggers.iter().enumerate();
    triggers
        .map(|(index, trigger)| Filter::new(index, trigger, own))
        .collect()
}
