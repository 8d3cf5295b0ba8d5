//! A simulated cluster with one Workflow, and an operator that may be killed.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use k8s_openapi::jiff::Timestamp;
use kubeci_api::{Phase, TriggeredBy, Workplan, names};

use super::{
    action::{Action, Response},
    cluster::{Cluster, Object, object_ref, observed_object, observed_workplan},
};
use crate::{
    discovery::{DiscoveryResult, ServedResource},
    dispatch_queue::CreateError,
    engine::{Creation, Engine, Retry, Settings, WatchCommand},
    merge_patch,
    resource::Kind,
    uid::Uid,
    watch_key::WatchKey,
};

pub struct Simulation {
    pub cluster: Cluster,
    pub engine: Engine,
    pub watch: Option<(WatchKey, u64)>,
    /// How many changes of the history the watch has delivered.
    pub delivered: usize,
    /// The objects as an operator observed them last that was not killed before it dispatched them.
    pub last_observed: BTreeMap<Uid, Object>,
    pub creations: Vec<Creation>,
    pub retries: Vec<Retry>,
    /// Whether one operator observed every change in order.
    pub uninterrupted: bool,
    /// The most Workplans that are pending or running.
    max_active: Option<NonZeroUsize>,
    /// The Workplans of which the operator does not know that they were created.
    unanswered: usize,
}

fn started(cluster: &Cluster, max_active: Option<NonZeroUsize>) -> Engine {
    let mut engine = Engine::new(Settings {
        max_active,
        ..Settings::default()
    });
    for workplan in cluster.workplans.values().chain(&cluster.forged) {
        engine.workplan_applied(observed_workplan(workplan));
    }
    engine.workflow_applied(cluster.workflow());
    let served = ServedResource {
        plural: "configmaps".to_owned(),
        namespaced: true,
        watchable: true,
    };
    engine.kind_discovered(
        &Kind::new("v1", "ConfigMap"),
        DiscoveryResult::Served(vec![served]),
    );
    engine
}

impl Simulation {
    pub fn new() -> Self {
        Self::capped(None)
    }

    pub fn capped(max_active: Option<NonZeroUsize>) -> Self {
        let cluster = Cluster::default();
        let engine = started(&cluster, max_active);
        let mut simulation = Self {
            cluster,
            engine,
            watch: None,
            delivered: 0,
            last_observed: BTreeMap::new(),
            creations: Vec::new(),
            retries: Vec::new(),
            uninterrupted: true,
            max_active,
            unanswered: 0,
        };
        simulation.start_watch();
        simulation
    }

    pub fn apply(&mut self, action: &Action) {
        let exists = |object: &usize| self.cluster.objects.contains_key(object);
        let has_creations = !self.creations.is_empty();
        match *action {
            Action::Write { object, content } => {
                self.cluster
                    .write(object, |object| object.content = content);
            }
            Action::Label { object, on } if exists(&object) => {
                self.cluster.write(object, |object| object.labelled = on);
            }
            Action::BeginDeletion { object } if exists(&object) => {
                self.cluster.write(object, |object| object.deleting = true);
            }
            Action::Delete { object } => self.cluster.delete(object),
            Action::Deliver { events } => self.deliver(events),
            Action::LoseWatch => self.lose_watch(),
            Action::Respond { creation, response } if has_creations => {
                self.respond(creation % self.creations.len(), response);
            }
            Action::Forge { creation, sequence } if has_creations => {
                self.forge(creation % self.creations.len(), sequence);
            }
            Action::Label { .. }
            | Action::BeginDeletion { .. }
            | Action::Respond { .. }
            | Action::Forge { .. } => {}
            Action::ObserveWorkplans => self.observe_workplans(),
            Action::Complete { workplan } => self.complete(workplan),
            Action::Retry => self.retry(),
            Action::WriteStatus => self.write_status(true, true),
            Action::WriteStatusUnanswered { stored } => self.write_status(stored, false),
            Action::Kill { executed } => self.kill(executed),
        }
        let creations = self.engine.take_creations();
        let requests = !creations.is_empty();
        self.creations.extend(creations);
        self.retries.extend(self.engine.take_retries());
        if requests {
            self.check_cap();
        }
    }

    /// Starts the watch if the engine commands it. A watch starts with a list.
    fn start_watch(&mut self) {
        for command in self.engine.take_watch_commands() {
            let WatchCommand::Start { key, epoch } = command else {
                panic!("no watch stops here");
            };
            self.watch = Some((key, epoch));
            self.list();
        }
    }

    fn lose_watch(&mut self) {
        self.uninterrupted &= self.delivered == self.cluster.history.len();
        self.list();
    }

    fn list(&mut self) {
        self.delivered = self.cluster.history.len();
        let Some((key, epoch)) = &self.watch else {
            return;
        };
        for (name, object) in &self.cluster.objects {
            let observed = observed_object(key, *name, object);
            self.engine.object_applied(key, *epoch, &observed);
            self.last_observed
                .insert(object.uid.clone(), object.clone());
        }
        let objects = self.cluster.objects.values();
        let existing = objects.map(|object| object.uid.clone()).collect();
        self.engine.objects_listed(key, *epoch, &existing);
    }

    fn deliver(&mut self, events: usize) {
        let Some((key, epoch)) = &self.watch else {
            return;
        };
        let until = self.cluster.history.len().min(self.delivered + events);
        for change in &self.cluster.history[self.delivered..until] {
            let object = &change.object;
            if change.exists {
                let observed = observed_object(key, change.name, object);
                self.engine.object_applied(key, *epoch, &observed);
                self.last_observed
                    .insert(object.uid.clone(), object.clone());
            } else {
                let object_ref = object_ref(key, change.name);
                self.engine
                    .object_deleted(key, *epoch, &object.uid, &object_ref);
            }
        }
        self.delivered = until;
    }

    fn create(&mut self, creation: &Creation) {
        let workplan = creation.workplan();
        let name = workplan.metadata.name.clone().unwrap();
        self.cluster.workplans.entry(name).or_insert(workplan);
    }

    fn respond(&mut self, at: usize, response: Response) {
        let creation = self.creations.remove(at);
        self.unanswered += usize::from(matches!(response, Response::CreatedUnanswered));
        if matches!(response, Response::Created | Response::CreatedUnanswered) {
            self.create(&creation);
        }
        let name = creation.outline().metadata.name.unwrap();
        let Creation {
            workflow, object, ..
        } = creation;
        let error = match response {
            Response::Created => {
                let now = Timestamp::UNIX_EPOCH;
                return self.engine.created(&workflow, &object, name, now);
            }
            Response::Rejected => CreateError::Rejected(String::new()),
            Response::CreatedUnanswered | Response::Lost => CreateError::Unknown(String::new()),
        };
        self.engine.failed(&workflow, &object, error);
    }

    /// Replaces the fingerprints in the status by generations, as older releases wrote them.
    pub fn downgrade_ledger(&mut self) {
        let objects = self.cluster.objects.values();
        let generation = |object: &Object| (object.uid.to_string(), object.generation.to_string());
        let generations: BTreeMap<String, String> = objects.map(generation).collect();
        let stored = &mut self.cluster.status.last_observed_resource_generation;
        for (uid, fingerprint) in stored.iter_mut().flatten() {
            fingerprint.clone_from(&generations[uid]);
        }
    }

    fn forge(&mut self, at: usize, sequence: u64) {
        let mut workplan = self.creations[at].workplan();
        workplan.metadata.namespace = Some("foreign".to_owned());
        let labels = workplan.metadata.labels.as_mut().unwrap();
        labels.insert(names::SEQUENCE_LABEL.to_owned(), sequence.to_string());
        self.engine.workplan_applied(observed_workplan(&workplan));
        self.cluster.forged.push(workplan);
    }

    fn retry(&mut self) {
        for retry in std::mem::take(&mut self.retries) {
            self.engine.retry(&retry.workflow, &retry.object);
        }
    }

    /// Writes the status. The API server stores it or not, and answers or not.
    fn write_status(&mut self, stored: bool, answered: bool) {
        let now = Timestamp::UNIX_EPOCH;
        let patch = self.engine.status_update("workflow", now).unwrap().patch;
        if let Some(patch) = patch.filter(|_| stored) {
            let mut status = serde_json::to_value(&self.cluster.status).unwrap();
            merge_patch::apply(&mut status, &patch);
            self.cluster.status = serde_json::from_value(status).unwrap();
        }
        self.engine.status_written("workflow", stored && answered);
    }

    fn kill(&mut self, executed: u32) {
        self.uninterrupted = false;
        let creations = std::mem::take(&mut self.creations);
        for (at, creation) in creations.iter().enumerate() {
            if executed >> (at % 32) & 1 == 1 {
                self.create(creation);
            }
        }
        // Observations that had no Workplan yet are lost.
        let pending = creations.iter().map(|creation| &creation.object);
        let retried = self.retries.iter().map(|retry| &retry.object);
        let waiting = self.engine.objects_that_wait();
        for uid in pending.chain(retried).chain(&waiting) {
            self.last_observed.remove(uid);
        }
        self.retries.clear();
        self.engine = started(&self.cluster, self.max_active);
        self.unanswered = 0;
        self.start_watch();
    }

    /// The Workplans that are pending or running.
    fn active(&self) -> Vec<String> {
        let phase = |workplan: &Workplan| workplan.status.as_ref().and_then(|it| it.phase);
        let workplans = self.cluster.workplans.iter();
        let active = workplans.filter(|(_, workplan)| phase(workplan).is_none());
        active.map(|(name, _)| name.clone()).collect()
    }

    fn complete(&mut self, which: usize) {
        let active = self.active();
        let name = which.checked_rem(active.len()).map(|at| &active[at]);
        let workplan = name.and_then(|name| self.cluster.workplans.get_mut(name));
        if let Some(workplan) = workplan {
            let status = workplan.status.get_or_insert_default();
            status.phase = Some(Phase::Completed);
        }
    }

    fn observe_workplans(&mut self) {
        for workplan in self.cluster.workplans.values() {
            self.engine.workplan_applied(observed_workplan(workplan));
        }
        self.unanswered = 0;
    }

    /// The operator requests no Workplan beyond the cap. It may not know those whose creation had no response.
    fn check_cap(&self) {
        let requested = self.creations.len();
        let active = self.active().len();
        if let Some(max) = self.max_active {
            assert!(
                active + requested <= max.get() + self.unanswered,
                "{active} active and {requested} requested Workplans are over {max}"
            );
        }
    }

    /// Delivers, creates and writes everything that is pending.
    pub fn settle(&mut self) {
        self.apply(&Action::Deliver {
            events: usize::MAX / 2,
        });
        loop {
            self.complete_all();
            if self.creations.is_empty() && self.retries.is_empty() {
                break;
            }
            self.apply(&Action::Retry);
            while !self.creations.is_empty() {
                self.apply(&Action::Respond {
                    creation: 0,
                    response: Response::Created,
                });
            }
        }
        self.apply(&Action::WriteStatus);
    }

    /// If there is a cap, all Workplans complete, so that others are created.
    fn complete_all(&mut self) {
        if self.max_active.is_some() {
            while !self.active().is_empty() {
                self.complete(0);
            }
            self.apply(&Action::ObserveWorkplans);
        }
    }

    /// The triggers of an object's Workplans, in the order of its chain, which must not fork.
    pub fn fired(&self, uid: &str) -> Vec<TriggeredBy> {
        let of_object = |workplan: &&Workplan| workplan.spec.trigger.as_ref().unwrap().uid == *uid;
        let workplans = self.cluster.workplans.values().filter(of_object);
        let mut rest: Vec<&Workplan> = workplans.collect();
        let label = |workplan: &Workplan, name: &str| {
            workplan.metadata.labels.as_ref().unwrap()[name].clone()
        };
        let (mut chain, mut head) = (Vec::new(), String::new());
        loop {
            let follows =
                |workplan: &&Workplan| label(workplan, names::PREVIOUS_HEAD_LABEL) == head;
            let (next, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(follows);
            assert!(next.len() < 2, "two Workplans have the same previous head");
            let Some(next) = next.first() else {
                assert_eq!(others.len(), 0, "a Workplan is not in the chain");
                return chain;
            };
            head = label(next, names::HEAD_LABEL);
            chain.push(next.spec.trigger.clone().unwrap());
            rest = others;
        }
    }

    pub fn uids(&self) -> BTreeSet<Uid> {
        let changes = self.cluster.history.iter();
        changes.map(|change| change.object.uid.clone()).collect()
    }
}
