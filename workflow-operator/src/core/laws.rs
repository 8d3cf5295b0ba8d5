//! The laws of the design, on random histories: objects come, change and go while the operator is killed,
//! loses its watch, and has creations refused or left without an answer.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use kubeci_api::{Phase, TriggerEvent, TriggeredBy, Workflow, WorkflowStatus, Workplan, names};
use proptest::prelude::*;
use serde_json::json;

use super::{
    engine::{Creation, Engine, Retry, WatchOrder},
    lane::Failure,
    object::{Kind, ObjectRef, Origin, Seen, Uid, WatchKey},
    run::Run,
    standing::{KindState, Served},
};

/// What happens next.
#[derive(Clone, Debug)]
enum Act {
    Write {
        object: usize,
        content: u8,
    },
    Label {
        object: usize,
        on: bool,
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
    /// `kill -9` and a restart; the bits say which creations still got through.
    Kill {
        through: u32,
    },
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Done,
    DoneButUnheard,
    Refused,
    Lost,
}

#[derive(Clone, Debug, PartialEq)]
struct Object {
    uid: Uid,
    content: u8,
    labelled: bool,
}

#[derive(Default)]
struct Cluster {
    objects: BTreeMap<usize, Object>,
    history: Vec<(usize, Object, bool)>,
    workplans: BTreeMap<String, Workplan>,
    status: WorkflowStatus,
    uids: usize,
}

struct World {
    cluster: Cluster,
    engine: Engine,
    watch: Option<(WatchKey, u64)>,
    shown: usize,
    /// The objects as the watch showed them last to an operator that lived to act on it.
    last_shown: BTreeMap<Uid, Object>,
    creations: Vec<Creation>,
    retries: Vec<Retry>,
    /// Whether every event has been shown, in order, to one operator.
    unbroken: bool,
}

fn object_ref(key: &WatchKey, name: usize) -> ObjectRef {
    let (resource, namespace) = (key.resource.clone(), Some("own".to_owned()));
    ObjectRef {
        resource,
        namespace,
        name: format!("object-{name}"),
    }
}

fn seen(key: &WatchKey, name: usize, object: &Object) -> Seen {
    let label = ("on".to_owned(), String::new());
    Seen {
        uid: object.uid.clone(),
        object: object_ref(key, name),
        labels: object.labelled.then_some(label).into_iter().collect(),
        token: object.content.to_string(),
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

fn started(cluster: &Cluster) -> Engine {
    let mut engine = Engine::default();
    for workplan in cluster.workplans.values() {
        let partial = serde_json::from_value(serde_json::to_value(workplan).unwrap()).unwrap();
        engine.workplan_applied(Run::new(&partial).unwrap());
    }
    engine.workflow_applied(workflow(&cluster.status));
    let served = Served {
        plural: "configmaps".to_owned(),
        namespaced: true,
        watchable: true,
    };
    engine.kind(
        &Kind::new("v1", "ConfigMap"),
        KindState::Served(vec![served]),
    );
    engine
}

impl World {
    fn new() -> Self {
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

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Write { object, content } => self.write(object, |object| object.content = content),
            Act::Label { object, on } if self.cluster.objects.contains_key(&object) => {
                self.write(object, |object| object.labelled = on);
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
            Act::Label { .. } | Act::Answer { .. } => {}
            Act::Retry => self.retry(),
            Act::Tell => self.tell(),
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
            }
        });
        change(object);
        cluster.history.push((name, object.clone(), true));
    }

    /// Starts what watch there is to start, which lists first.
    fn watch(&mut self) {
        for order in self.engine.take_watches() {
            let WatchOrder::Start { key, run } = order else {
                panic!("nothing stops here");
            };
            self.watch = Some((key, run));
            self.list();
        }
    }

    fn lose(&mut self) {
        self.unbroken &= self.shown == self.cluster.history.len();
        self.list();
    }

    fn list(&mut self) {
        self.shown = self.cluster.history.len();
        let Some((key, run)) = &self.watch else {
            return;
        };
        for (name, object) in &self.cluster.objects {
            self.engine.seen(key, *run, &seen(key, *name, object));
            self.last_shown.insert(object.uid.clone(), object.clone());
        }
        let exist = self
            .cluster
            .objects
            .values()
            .map(|object| object.uid.clone())
            .collect();
        self.engine.listed(key, *run, &exist);
    }

    fn show(&mut self, events: usize) {
        let Some((key, run)) = &self.watch else {
            return;
        };
        let until = self.cluster.history.len().min(self.shown + events);
        for (name, object, exists) in &self.cluster.history[self.shown..until] {
            if *exists {
                self.engine.seen(key, *run, &seen(key, *name, object));
                self.last_shown.insert(object.uid.clone(), object.clone());
            } else {
                self.engine
                    .gone(key, *run, &object.uid, &object_ref(key, *name));
            }
        }
        self.shown = until;
    }

    fn create(&mut self, creation: &Creation) {
        let name = creation.workplan.metadata.name.clone().unwrap();
        self.cluster
            .workplans
            .entry(name)
            .or_insert_with(|| creation.workplan.clone());
    }

    fn answer(&mut self, at: usize, answer: Answer) {
        let creation = self.creations.remove(at);
        if matches!(answer, Answer::Done | Answer::DoneButUnheard) {
            self.create(&creation);
        }
        let Creation {
            workflow,
            object,
            workplan,
        } = creation;
        match answer {
            Answer::Done => {
                let name = workplan.metadata.name.unwrap();
                self.engine
                    .created(&workflow, &object, name, Timestamp::UNIX_EPOCH);
            }
            Answer::Refused => {
                self.engine
                    .failed(&workflow, &object, Failure::Refused(String::new()));
            }
            Answer::DoneButUnheard | Answer::Lost => {
                self.engine
                    .failed(&workflow, &object, Failure::Unclear(String::new()));
            }
        }
    }

    fn retry(&mut self) {
        for retry in std::mem::take(&mut self.retries) {
            self.engine.retry(&retry.workflow, &retry.object);
        }
    }

    fn tell(&mut self) {
        let report = self
            .engine
            .report("workflow", Timestamp::UNIX_EPOCH)
            .unwrap();
        self.cluster.status = report.status;
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
    fn settle(&mut self) {
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
    fn fired(&self, uid: &str) -> Vec<TriggeredBy> {
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

    fn uids(&self) -> BTreeSet<Uid> {
        self.cluster
            .history
            .iter()
            .map(|(_, object, _)| object.uid.clone())
            .collect()
    }
}

/// What should fire for an object by the letter of the design, if nothing breaks.
fn expected(world: &World, uid: &Uid) -> Vec<(TriggerEvent, String)> {
    let mut events = Vec::new();
    let mut known: Option<String> = None;
    for (_, object, exists) in world
        .cluster
        .history
        .iter()
        .filter(|(_, object, _)| object.uid == *uid)
    {
        let token = object.content.to_string();
        match (&known, exists, object.labelled) {
            (Some(last), false, _) => events.push((TriggerEvent::Delete, last.clone())),
            (None, true, true) => events.push((TriggerEvent::Add, token.clone())),
            (Some(last), true, true) if *last != token => {
                events.push((TriggerEvent::Update, token.clone()));
            }
            _ => {}
        }
        known = (*exists && object.labelled).then_some(token);
    }
    events
}

fn acts(kills: bool) -> impl Strategy<Value = Vec<Act>> {
    let answer = prop_oneof![
        4 => Just(Answer::Done),
        1 => Just(Answer::DoneButUnheard),
        1 => Just(Answer::Refused),
        1 => Just(Answer::Lost),
    ];
    let breaks = u32::from(kills);
    let act = prop_oneof![
        6 => (0..3_usize, 0..3_u8).prop_map(|(object, content)| Act::Write { object, content }),
        2 => (0..3_usize, any::<bool>()).prop_map(|(object, on)| Act::Label { object, on }),
        2 => (0..3_usize).prop_map(|object| Act::Delete { object }),
        6 => (1..4_usize).prop_map(|events| Act::Show { events }),
        8 => (0..8_usize, answer).prop_map(|(creation, answer)| Act::Answer { creation, answer }),
        2 => Just(Act::Retry),
        2 => Just(Act::Tell),
        2 * breaks => Just(Act::Lose),
        2 * breaks => any::<u32>().prop_map(|through| Act::Kill { through }),
    ];
    proptest::collection::vec(act, 1..80)
}

fn lived(acts: &[Act]) -> World {
    let mut world = World::new();
    for act in acts {
        world.act(act);
    }
    world.settle();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn law_3_once_each_state_that_is_shown_fires_once_in_order(acts in acts(false)) {
        let world = lived(&acts);
        prop_assert!(world.unbroken);
        for uid in world.uids() {
            let fired = world.fired(&uid).into_iter().map(|trigger| (trigger.event, trigger.token));
            prop_assert_eq!(fired.collect::<Vec<_>>(), expected(&world, &uid));
        }
    }

    #[test]
    fn law_3_once_the_latest_state_fires_and_none_twice_whatever_breaks(acts in acts(true)) {
        let world = lived(&acts);
        let live: BTreeMap<&Uid, &Object> =
            world.cluster.objects.values().map(|object| (&object.uid, object)).collect();
        for uid in world.uids() {
            let fired = world.fired(&uid);
            for (one, next) in fired.iter().zip(fired.iter().skip(1)) {
                prop_assert_ne!(one.event, TriggerEvent::Delete, "something follows a deletion");
                let again = next.event == TriggerEvent::Update && one.token == next.token;
                prop_assert!(!again, "a state fired twice");
            }
            let last = fired.last();
            match live.get(&uid) {
                Some(object) if object.labelled => {
                    prop_assert_eq!(last.map(|last| last.token.clone()), Some(object.content.to_string()));
                    prop_assert_ne!(last.map(|last| last.event), Some(TriggerEvent::Delete));
                }
                Some(_) => prop_assert_ne!(last.map(|last| last.event), Some(TriggerEvent::Delete)),
                None => {
                    let matched = world.last_shown.get(&uid).is_some_and(|object| object.labelled);
                    let deleted = last.map(|last| last.event == TriggerEvent::Delete);
                    prop_assert!(!matched || deleted != Some(false), "a deletion did not fire");
                }
            }
        }
    }

    #[test]
    fn law_6_killable_a_restart_fires_nothing_that_has_fired(acts in acts(true)) {
        let mut world = lived(&acts);
        let before: Vec<String> = world.cluster.workplans.keys().cloned().collect();
        world.act(&Act::Kill { through: 0 });
        world.settle();
        let after: Vec<String> = world.cluster.workplans.keys().cloned().collect();
        prop_assert_eq!(before, after);
    }
}

#[test]
fn law_3_once_a_return_to_an_earlier_state_is_a_new_event() {
    let write = |content| Act::Write { object: 0, content };
    let world = lived(&[write(1), write(2), write(1)]);
    let tokens: Vec<String> = world
        .fired("uid-1")
        .into_iter()
        .map(|trigger| trigger.token)
        .collect();
    assert_eq!(tokens, ["1", "2", "1"]);
}

#[test]
fn law_3_once_a_label_that_comes_back_while_its_object_stays_the_same_is_an_add_under_a_new_name() {
    let write = Act::Write {
        object: 0,
        content: 1,
    };
    let [off, on] = [false, true].map(|on| Act::Label { object: 0, on });
    let world = lived(&[write, off, on]);
    let events: Vec<TriggerEvent> = world
        .fired("uid-1")
        .into_iter()
        .map(|trigger| trigger.event)
        .collect();
    assert_eq!(events, [TriggerEvent::Add, TriggerEvent::Add]);
}

#[test]
fn law_3_once_the_forgotten_is_not_brought_back_by_its_old_workplans() {
    let mut world = World::new();
    world.act(&Act::Write {
        object: 0,
        content: 1,
    });
    world.settle();
    world.act(&Act::Label {
        object: 0,
        on: false,
    });
    world.settle();
    world.act(&Act::Delete { object: 0 });
    world.settle();
    assert_eq!(world.cluster.workplans.len(), 1);
    world.act(&Act::Kill { through: 0 });
    world.settle();
    assert_eq!(
        world.cluster.workplans.len(),
        1,
        "a deletion fired for what no longer matched"
    );
}

#[test]
fn counts_are_of_all_workplans() {
    let mut world = World::new();
    world.act(&Act::Write {
        object: 0,
        content: 1,
    });
    world.settle();
    let workplan = world.cluster.workplans.values().next().unwrap();
    let partial = serde_json::from_value(serde_json::to_value(workplan).unwrap()).unwrap();
    let mut run = Run::new(&partial).unwrap();
    for (phase, counts) in [
        (Phase::Pending, (Some(1), Some(0), Some(0))),
        (Phase::Running, (Some(1), Some(0), Some(0))),
        (Phase::Completed, (Some(0), Some(1), Some(0))),
    ] {
        run.phase = phase;
        world.engine.workplan_applied(run.clone());
        world.tell();
        let status = &world.cluster.status;
        assert_eq!((status.active, status.succeeded, status.failed), counts);
    }
}
