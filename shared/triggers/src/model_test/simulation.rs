//! A cluster with one Workflow, and an operator that may be killed.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use kubeci_api::{TriggeredBy, Workflow, WorkflowStatus, Workplan, names};
use serde_json::json;

use crate::{
    discovery::{DiscoveryResult, ServedResource},
    dispatch_queue::CreateError,
    engine::{Creation, Engine, Retry, WatchCommand},
    fingerprint::Fingerprint,
    merge_patch,
    object::{ObjectRef, ObservedObject, Uid},
    observed_workplan::Run,
    origin::Origin,
    resource::Kind,
    watch_key::WatchKey,
};

/// What happens next.
#[derive(Clone, Debug)]
pub enum Act {
    Write {
        object: usize,
        content: u8,
    },
    Label {
        object: usize,
        on: bool,
    },
    /// Its deletion begins, and waits.
    End {
        object: usize,
    },
    Delete {
        object: usize,
    },
    /// The watch shows the next few events.
    Show {
        events: usize,
    },
    /// The watch is lost and begins with a list again.
    Lose,
    /// The API server answers a creation.
    Answer {
        creation: usize,
        answer: Answer,
    },
    /// The time of the retries has come.
    Retry,
    /// The status is written.
    Tell,
    /// The status is to be written, and there is no answer.
    TellUnheard {
        done: bool,
    },
    /// In another namespace somebody copies the Workplan of a creation that is on its way.
    Forge {
        creation: usize,
        sequence: u64,
    },
    /// `kill -9` and a restart; the bits say which creations still got through.
    Kill {
        through: u32,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Done,
    DoneButUnheard,
    Refused,
    Lost,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub uid: Uid,
    pub content: u8,
    pub labelled: bool,
    pub deleting: bool,
    /// Moves with every write, as a Deployment's does with its annotations.
    pub generation: i64,
}

impl Object {
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::named(&self.content.to_string()).at(self.generation)
    }

    pub fn token(&self) -> String {
        self.fingerprint().hash().to_owned()
    }
}

#[derive(Default)]
pub struct Cluster {
    pub objects: BTreeMap<usize, Object>,
    pub history: Vec<(usize, Object, bool)>,
    pub workplans: BTreeMap<String, Workplan>,
    /// Workplans in another namespace that say the Workflow owns them.
    pub forged: Vec<Workplan>,
    pub status: WorkflowStatus,
    pub uids: usize,
}

pub struct World {
    pub cluster: Cluster,
    pub engine: Engine,
    pub watch: Option<(WatchKey, u64)>,
    pub shown: usize,
    /// The objects as the watch showed them last to an operator that lived to act on it.
    pub last_shown: BTreeMap<Uid, Object>,
    pub creations: Vec<Creation>,
    pub retries: Vec<Retry>,
    /// Whether every event has been shown, in order, to one operator.
    pub unbroken: bool,
}

fn object_ref(key: &WatchKey, name: usize) -> ObjectRef {
    let (resource, namespace) = (key.resource.clone(), Some("own".to_owned()));
    ObjectRef {
        resource,
        namespace,
        name: format!("object-{name}"),
    }
}

fn seen(key: &WatchKey, name: usize, object: &Object) -> ObservedObject {
    let label = ("on".to_owned(), String::new());
    ObservedObject {
        uid: object.uid.clone(),
        object: object_ref(key, name),
        labels: object.labelled.then_some(label).into_iter().collect(),
        fingerprint: object.fingerprint(),
        deleting: object.deleting,
        origin: Origin::Other,
    }
}

fn workflow(status: &WorkflowStatus) -> Workflow {
    let trigger = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "onAddOrUpdate": true, "onDelete": true,
        "selector": {"matchExpressions": [{"key": "on", "operator": "Exists"}]},
    });
    let workflow = json!({
        "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow",
        "metadata": {"name": "w", "namespace": "own", "uid": "workflow", "generation": 1},
        "spec": {"steps": [{"name": "a", "image": "b"}], "triggers": [trigger]},
        "status": status,
    });
    serde_json::from_value(workflow).unwrap()
}

pub fn run(workplan: &Workplan) -> Run {
    let partial = serde_json::from_value(serde_json::to_value(workplan).unwrap()).unwrap();
    Run::new(&partial).unwrap()
}

fn started(cluster: &Cluster) -> Engine {
    let mut engine = Engine::default();
    for workplan in cluster.workplans.values().chain(&cluster.forged) {
        engine.workplan_applied(run(workplan));
    }
    engine.workflow_applied(workflow(&cluster.status));
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

impl World {
    pub fn new() -> Self {
        let cluster = Cluster::default();
        let engine = started(&cluster);
        let mut world = Self {
            cluster,
            engine,
            watch: None,
            shown: 0,
            last_shown: BTreeMap::new(),
            creations: Vec::new(),
            retries: Vec::new(),
            unbroken: true,
        };
        world.watch();
        world
    }

    pub fn act(&mut self, act: &Act) {
        match *act {
            Act::Write { object, content } => self.write(object, |object| object.content = content),
            Act::Label { object, on } if self.cluster.objects.contains_key(&object) => {
                self.write(object, |object| object.labelled = on);
            }
            Act::End { object } if self.cluster.objects.contains_key(&object) => {
                self.write(object, |object| object.deleting = true);
            }
            Act::Delete { object: name } => {
                if let Some(object) = self.cluster.objects.remove(&name) {
                    self.cluster.history.push((name, object, false));
                }
            }
            Act::Show { events } => self.show(events),
            Act::Lose => self.lose(),
            Act::Answer { creation, answer } if !self.creations.is_empty() => {
                self.answer(creation % self.creations.len(), answer);
            }
            Act::Forge { creation, sequence } if !self.creations.is_empty() => {
                self.forge(creation % self.creations.len(), sequence);
            }
            Act::Label { .. } | Act::End { .. } | Act::Answer { .. } | Act::Forge { .. } => {}
            Act::Retry => self.retry(),
            Act::Tell => self.tell(),
            Act::TellUnheard { done } => self.write_status(done, false),
            Act::Kill { through } => self.kill(through),
        }
        self.creations.extend(self.engine.take_creations());
        self.retries.extend(self.engine.take_retries());
    }

    fn write(&mut self, name: usize, change: impl FnOnce(&mut Object)) {
        let cluster = &mut self.cluster;
        let object = cluster.objects.entry(name).or_insert_with(|| {
            cluster.uids += 1;
            Object {
                uid: format!("uid-{}", cluster.uids).into(),
                content: 0,
                labelled: true,
                deleting: false,
                generation: 0,
            }
        });
        change(object);
        object.generation += 1;
        cluster.history.push((name, object.clone(), true));
    }

    /// Starts what watch there is to start, which lists first.
    fn watch(&mut self) {
        for order in self.engine.take_watch_commands() {
            let WatchCommand::Start { key, epoch } = order else {
                panic!("nothing stops here");
            };
            self.watch = Some((key, epoch));
            self.list();
        }
    }

    fn lose(&mut self) {
        self.unbroken &= self.shown == self.cluster.history.len();
        self.list();
    }

    fn list(&mut self) {
        self.shown = self.cluster.history.len();
        let Some((key, epoch)) = &self.watch else {
            return;
        };
        for (name, object) in &self.cluster.objects {
            self.engine
                .object_applied(key, *epoch, &seen(key, *name, object));
            self.last_shown.insert(object.uid.clone(), object.clone());
        }
        let exist = self
            .cluster
            .objects
            .values()
            .map(|object| object.uid.clone())
            .collect();
        self.engine.objects_listed(key, *epoch, &exist);
    }

    fn show(&mut self, events: usize) {
        let Some((key, epoch)) = &self.watch else {
            return;
        };
        let until = self.cluster.history.len().min(self.shown + events);
        for (name, object, exists) in &self.cluster.history[self.shown..until] {
            if *exists {
                self.engine
                    .object_applied(key, *epoch, &seen(key, *name, object));
                self.last_shown.insert(object.uid.clone(), object.clone());
            } else {
                self.engine
                    .object_deleted(key, *epoch, &object.uid, &object_ref(key, *name));
            }
        }
        self.shown = until;
    }

    fn create(&mut self, creation: &Creation) {
        let workplan = creation.workplan();
        let name = workplan.metadata.name.clone().unwrap();
        self.cluster.workplans.entry(name).or_insert(workplan);
    }

    fn answer(&mut self, at: usize, answer: Answer) {
        let creation = self.creations.remove(at);
        if matches!(answer, Answer::Done | Answer::DoneButUnheard) {
            self.create(&creation);
        }
        let name = creation.outline().metadata.name.unwrap();
        let Creation {
            workflow, object, ..
        } = creation;
        match answer {
            Answer::Done => {
                self.engine
                    .created(&workflow, &object, name, Timestamp::UNIX_EPOCH);
            }
            Answer::Refused => {
                self.engine
                    .failed(&workflow, &object, CreateError::Rejected(String::new()));
            }
            Answer::DoneButUnheard | Answer::Lost => {
                self.engine
                    .failed(&workflow, &object, CreateError::Unknown(String::new()));
            }
        }
    }

    /// The status, as operators wrote it that kept nothing of an object but its generation.
    pub fn remember_as_before(&mut self) {
        let objects = self.cluster.objects.values();
        let generation = |object: &Object| (object.uid.to_string(), object.generation.to_string());
        let generations: BTreeMap<String, String> = objects.map(generation).collect();
        let tokens = &mut self.cluster.status.last_observed_resource_generation;
        for (uid, token) in tokens.iter_mut().flatten() {
            token.clone_from(&generations[uid]);
        }
    }

    fn forge(&mut self, at: usize, sequence: u64) {
        let mut workplan = self.creations[at].workplan();
        workplan.metadata.namespace = Some("foreign".to_owned());
        let labels = workplan.metadata.labels.as_mut().unwrap();
        labels.insert(names::SEQUENCE_LABEL.to_owned(), sequence.to_string());
        self.engine.workplan_applied(run(&workplan));
        self.cluster.forged.push(workplan);
    }

    fn retry(&mut self) {
        for retry in std::mem::take(&mut self.retries) {
            self.engine.retry(&retry.workflow, &retry.object);
        }
    }

    pub fn tell(&mut self) {
        self.write_status(true, true);
    }

    /// Writes the status, which the API server does or not, and says so or not.
    fn write_status(&mut self, done: bool, heard: bool) {
        let now = Timestamp::UNIX_EPOCH;
        let patch = self.engine.report("workflow", now).unwrap().patch;
        if let Some(patch) = patch.filter(|_| done) {
            let mut status = serde_json::to_value(&self.cluster.status).unwrap();
            merge_patch::apply(&mut status, &patch);
            self.cluster.status = serde_json::from_value(status).unwrap();
        }
        self.engine.written("workflow", done && heard);
    }

    fn kill(&mut self, through: u32) {
        self.unbroken = false;
        let creations = std::mem::take(&mut self.creations);
        for (at, creation) in creations.iter().enumerate() {
            if through >> (at % 32) & 1 == 1 {
                self.create(creation);
            }
        }
        // What was shown and had not become a Workplan yet is known to nobody now.
        let retried = self.retries.iter().map(|retry| &retry.object);
        for uid in creations
            .iter()
            .map(|creation| &creation.object)
            .chain(retried)
        {
            self.last_shown.remove(uid);
        }
        self.retries.clear();
        self.engine = started(&self.cluster);
        self.watch();
    }

    /// Until nothing more happens by itself.
    pub fn settle(&mut self) {
        self.act(&Act::Show {
            events: usize::MAX / 2,
        });
        while !self.creations.is_empty() || !self.retries.is_empty() {
            self.act(&Act::Retry);
            while !self.creations.is_empty() {
                self.act(&Act::Answer {
                    creation: 0,
                    answer: Answer::Done,
                });
            }
        }
        self.act(&Act::Tell);
    }

    /// The events that fired for an object, in the order of its chain, which must not fork.
    pub fn fired(&self, uid: &str) -> Vec<TriggeredBy> {
        let of_this = |workplan: &&Workplan| workplan.spec.trigger.as_ref().unwrap().uid == *uid;
        let workplans: Vec<&Workplan> = self.cluster.workplans.values().filter(of_this).collect();
        let label = |workplan: &Workplan, name: &str| {
            workplan.metadata.labels.as_ref().unwrap()[name].clone()
        };
        let mut chain = Vec::new();
        let mut head = String::new();
        while let Some(next) = {
            let follows =
                |workplan: &&&Workplan| label(workplan, names::PREVIOUS_HEAD_LABEL) == head;
            let mut following = workplans.iter().filter(follows);
            let next = following.next();
            assert_eq!(following.next(), None, "two Workplans follow the same one");
            next
        } {
            head = label(next, names::HEAD_LABEL);
            chain.push(next.spec.trigger.clone().unwrap());
        }
        assert_eq!(chain.len(), workplans.len(), "a Workplan follows none");
        chain
    }

    pub fn uids(&self) -> BTreeSet<Uid> {
        self.cluster
            .history
            .iter()
            .map(|(_, object, _)| object.uid.clone())
            .collect()
    }
}
