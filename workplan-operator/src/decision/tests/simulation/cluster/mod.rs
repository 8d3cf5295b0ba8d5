//! A model of a scheduler and a kubelet: pods are placed, containers start and end in order.

mod disturb;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kubeci_api::names::RUNNER_CONTAINER;

use super::plans::{Fate, Outcome};
use super::reference::conditions::OUTPUT;
use super::runner::{Runners, Turn};
use crate::observed::{
    ContainerKind, ContainerState, Ended, ObservedContainer, ObservedPod, Owner, PodPhase,
};
use crate::pod_builder::RUNNER;

/// The task of a pod, and the number of the pod in it.
pub type PodKey = (usize, u32);

pub struct Cluster {
    pods: BTreeMap<PodKey, ObservedPod>,
    /// The step runners of each pod.
    runners: BTreeMap<PodKey, Runners>,
    fates: BTreeMap<String, Fate>,
    /// The exit codes of all containers that have started, absent while they run.
    runs: BTreeMap<String, Vec<Option<i32>>>,
    placed: bool,
    pub swept: bool,
    /// Whether the step runner's image cannot be pulled the next time.
    has_no_runner: bool,
    sidecar: Option<ObservedContainer>,
}

/// A container that is not a step and ends only with its pod.
const SIDECAR: &str = "mesh";

pub enum Event {
    Placed,
    Started(String),
    Ended,
    Removed,
}

impl Cluster {
    pub fn new(fates: BTreeMap<String, Fate>, has_sidecar: bool) -> Self {
        Self {
            pods: BTreeMap::new(),
            runners: BTreeMap::new(),
            fates,
            runs: BTreeMap::new(),
            placed: false,
            swept: false,
            has_no_runner: false,
            sidecar: has_sidecar.then(|| ObservedContainer {
                name: SIDECAR.into(),
                image: "mesh".into(),
                kind: ContainerKind::Main,
                state: ContainerState::Unknown,
            }),
        }
    }

    /// The pods by their tasks.
    pub fn pods(&self) -> BTreeMap<usize, ObservedPod> {
        let mut by_task = BTreeMap::new();
        for ((task, _), pod) in &self.pods {
            let mut pod = pod.clone();
            if let Some(before) = by_task.remove(task) {
                pod.succeed(before);
            }
            by_task.insert(*task, pod);
        }
        by_task
    }

    /// The outcome of the current attempt of a step; none for other containers.
    fn outcome(&self, step: &str) -> Option<Outcome> {
        let runs = self.times(step);
        self.fates.get(step).map(|fate| fate.outcome(runs))
    }

    /// The exit code of a step's last container, if it has ended.
    pub fn runs(&self, step: &str) -> Option<i32> {
        self.runs
            .get(step)
            .and_then(|runs| runs.last().copied().flatten())
    }

    /// Whether a user approves a step. It has no pod.
    pub fn is_approved(&self, step: &str) -> bool {
        let fate = self.fates.get(step);
        fate.is_some_and(|fate| fate.outcome == Outcome::Approved)
    }

    pub fn times(&self, step: &str) -> usize {
        self.runs.get(step).map_or(0, Vec::len)
    }

    /// The number of steps that run.
    pub fn running(&self) -> usize {
        let runs = self.runs.values().filter_map(|runs| runs.last());
        runs.filter(|end| end.is_none()).count()
    }

    pub fn is_quiet(&self) -> bool {
        self.pods.values().all(ObservedPod::is_quiet)
    }

    /// Whether no folder is left and none will be created.
    pub fn is_clean(&self) -> bool {
        self.is_quiet() && (self.swept || !self.placed)
    }

    pub fn sweep(&mut self) {
        self.swept = true;
    }

    /// What exists is left as it is.
    pub fn create(&mut self, key: PodKey, pod: &Pod) {
        let spec = pod.spec.clone().unwrap();
        let placed = self.pods.values().any(|pod| pod.node.is_some());
        let pinned = spec.affinity.is_some();
        assert!(
            self.pods.contains_key(&key) || pinned || !placed,
            "law 4: pods go to the first one's node"
        );
        let (task, number) = key;
        let before = (1..number).filter_map(|number| self.pods.get(&(task, number)));
        assert!(
            before.into_iter().all(ObservedPod::is_quiet),
            "a task has one pod at a time"
        );
        let observed =
            |container: &k8s_openapi::api::core::v1::Container, kind| ObservedContainer {
                name: container.name.clone(),
                image: container.image.clone().unwrap(),
                kind,
                state: ContainerState::Unknown,
            };
        let init = spec
            .init_containers
            .iter()
            .flatten()
            .map(|container| observed(container, ContainerKind::Init));
        let main = spec
            .containers
            .iter()
            .map(|container| observed(container, ContainerKind::Main));
        let sidecar = self.sidecar.clone();
        if !self.pods.contains_key(&key) {
            self.runners.insert(key, Runners::of(&spec.containers));
        }
        self.pods.entry(key).or_insert_with(|| ObservedPod {
            name: pod.name_any(),
            uid: None,
            version: None,
            owner: Owner::Workplan,
            node: None,
            deleting: false,
            stopped: false,
            phase: PodPhase::Pending,
            reason: None,
            message: None,
            created: None,
            started: None,
            prepared: None,
            gates: Vec::new(),
            unschedulable: None,
            containers: init.chain(main).chain(sidecar).collect(),
            earlier: Vec::new(),
        });
    }

    /// Deletes a pod unless it was placed since it was seen.
    pub fn delete_as_seen(&mut self, seen: &ObservedPod) {
        let mut pods = self.pods.iter();
        let pod = pods.find(|(_, pod)| pod.name == seen.name);
        if let Some((&key, _)) = pod.filter(|(_, pod)| seen.node == pod.node) {
            self.delete(key);
        }
    }

    /// The kubelet stops the containers of the pod, and keeps it.
    pub fn stop_pod(&mut self, name: &str) {
        if let Some(pod) = self.pods.values_mut().find(|pod| pod.name == name) {
            pod.stopped = true;
        }
    }

    fn delete(&mut self, key: PodKey) {
        match self.pods.get_mut(&key) {
            Some(pod) if pod.node.is_some() => pod.deleting = true,
            _ => {
                self.pods.remove(&key);
            }
        }
    }

    /// One action of the scheduler or the kubelet on one pod.
    pub fn step(&mut self, which: usize, now: Timestamp) -> Option<Event> {
        let mut pods: Vec<PodKey> = self.pods.keys().copied().collect();
        let first = which % pods.len().max(1);
        pods.rotate_left(first);
        pods.into_iter()
            .find_map(|key| self.step_pod(key, which, now))
    }

    fn step_pod(&mut self, key: PodKey, which: usize, now: Timestamp) -> Option<Event> {
        let pod = self.pods.get_mut(&key)?;
        if pod.node.is_none() {
            pod.node = Some("n1".into());
            pod.started = Some(now);
            self.placed = true;
            return Some(Event::Placed);
        }
        if matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed) {
            return self.remove_deleted(key);
        }
        let mut running: Vec<usize> =
            positions(pod, |state| matches!(state, ContainerState::Running { .. }));
        let runners = &self.runners[&key];
        running.retain(|&at| {
            let name = &pod.containers[at].name;
            let goes_on =
                name == SIDECAR || (runners.has(name) && runners.turn(name) == Turn::Nothing);
            is_ending(pod) || !goes_on
        });
        let can_start = if is_ending(pod) {
            Vec::new()
        } else {
            startable(pod)
        };
        if !can_start.is_empty() && (running.is_empty() || which.is_multiple_of(2)) {
            return Some(self.start(key, can_start[which % can_start.len()], now));
        }
        if !running.is_empty() {
            let at = running[which % running.len()];
            return Some(self.end_or_turn(key, at, which, now));
        }
        self.finish(key)
    }

    fn start(&mut self, key: PodKey, at: usize, now: Timestamp) -> Event {
        let outcome = |step: &str| self.fates.get(step).map(|fate| fate.outcome);
        let pod = self.pods.get_mut(&key).unwrap();
        let lacks_runner = lacks_runner(pod);
        let container = &mut pod.containers[at];
        let name = container.name.clone();
        match outcome(&name) {
            None if name == RUNNER_CONTAINER && std::mem::take(&mut self.has_no_runner) => {
                container.state = ContainerState::Waiting {
                    reason: "ErrImagePull".into(),
                    message: "the registry is away".into(),
                };
                return Event::Placed;
            }
            Some(outcome) if lacks_runner && outcome != Outcome::HasNoImage => {
                container.state = ContainerState::Ended(Ended {
                    exit_code: 128,
                    reason: "StartError".into(),
                    message: format!("exec: {RUNNER:?}: stat {RUNNER}: no such file or directory"),
                    finished: Some(now),
                    ..Ended::default()
                });
                return Event::Ended;
            }
            Some(Outcome::HasNoImage) => {
                container.state = ContainerState::Waiting {
                    reason: "ErrImagePull".into(),
                    message: "not found".into(),
                };
                return Event::Placed;
            }
            Some(Outcome::CannotStart) => {
                container.state = ContainerState::Ended(Ended {
                    exit_code: 128,
                    reason: "StartError".into(),
                    finished: Some(now),
                    ..Ended::default()
                });
                return Event::Ended;
            }
            Some(_) => {}
            None => {
                container.state = ContainerState::Running { since: Some(now) };
                return Event::Placed;
            }
        }
        container.state = ContainerState::Running { since: Some(now) };
        let runners = self.runners.get_mut(&key).unwrap();
        if runners.has(&name) {
            runners.come_up(&name, now);
            return Event::Placed;
        }
        self.runs.entry(name.clone()).or_default().push(None);
        Event::Started(name)
    }

    fn end_or_turn(&mut self, key: PodKey, at: usize, which: usize, now: Timestamp) -> Event {
        if self.runners[&key].has(&self.pods[&key].containers[at].name) {
            self.turn(key, at, which, now)
        } else {
            self.end(key, at, now)
        }
    }

    fn end(&mut self, key: PodKey, at: usize, now: Timestamp) -> Event {
        let outcome = self.outcome(&self.pods[&key].containers[at].name);
        let pod = self.pods.get_mut(&key).unwrap();
        let killed = is_ending(pod);
        let container = &mut pod.containers[at];
        let (exit_code, reason) = match outcome {
            _ if killed => (137, ""),
            Some(Outcome::Completes) | None => (0, ""),
            Some(Outcome::IsKilled) => (137, "OOMKilled"),
            Some(_) => (1, ""),
        };
        let ContainerState::Running { since } = container.state else {
            unreachable!("only running containers end");
        };
        container.state = ContainerState::Ended(Ended {
            exit_code,
            reason: reason.into(),
            message: match outcome {
                Some(Outcome::Completes) if !killed => format!("{OUTPUT}=ok\n"),
                _ => String::new(),
            },
            started: since,
            finished: Some(now),
        });
        if let Some(runs) = self.runs.get_mut(&container.name) {
            *runs.last_mut().unwrap() = Some(exit_code);
        }
        Event::Ended
    }

    /// The next action of a step runner, or the kubelet reports its end or stops it.
    fn turn(&mut self, key: PodKey, at: usize, which: usize, now: Timestamp) -> Event {
        let name = self.pods[&key].containers[at].name.clone();
        let outcome = self.outcome(&name);
        let pod = self.pods.get_mut(&key).unwrap();
        let runners = self.runners.get_mut(&key).unwrap();
        let container = &mut pod.containers[at];
        let exit_code = match runners.turn(&name) {
            Turn::IsTold => {
                container.state = ContainerState::Ended(runners.last_words(&name));
                return Event::Ended;
            }
            _ if is_ending(pod) => runners.stop(&name, which.is_multiple_of(3), now),
            Turn::Starts => {
                runners.start(&name, now);
                self.runs.entry(name.clone()).or_default().push(None);
                return Event::Started(name);
            }
            Turn::Ends if runners.repeats(&name, outcome.unwrap()) => Some(1),
            Turn::Ends => runners.end(&name, outcome.unwrap(), now),
            Turn::Nothing => unreachable!("it has no turn"),
        };
        if exit_code.is_some() {
            *self.runs.get_mut(&name).unwrap().last_mut().unwrap() = exit_code;
        }
        Event::Ended
    }

    /// The phase follows the containers.
    fn finish(&mut self, key: PodKey) -> Option<Event> {
        let pod = self.pods.get_mut(&key)?;
        if pod.is_quiet() || pod.stopped {
            let good = |container: &ObservedContainer| matches!(&container.state, ContainerState::Ended(end) if end.exit_code == 0);
            let all = pod.containers.iter().all(good);
            pod.phase = if all {
                PodPhase::Succeeded
            } else {
                PodPhase::Failed
            };
            if pod.stopped && !all {
                pod.reason = Some("DeadlineExceeded".into());
            }
            return Some(Event::Ended);
        }
        self.remove_deleted(key)
    }

    fn remove_deleted(&mut self, key: PodKey) -> Option<Event> {
        self.pods.get(&key).filter(|pod| pod.deleting)?;
        self.pods.remove(&key);
        Some(Event::Removed)
    }
}

/// Whether the kubelet stops its containers and starts no more.
fn is_ending(pod: &ObservedPod) -> bool {
    pod.deleting || pod.stopped
}

fn positions(pod: &ObservedPod, matches: impl Fn(&ContainerState) -> bool) -> Vec<usize> {
    let containers = pod.containers.iter().enumerate();
    containers
        .filter(|(_, container)| matches(&container.state))
        .map(|(at, _)| at)
        .collect()
}

/// The next init container, or all other containers after the init containers and the step runner.
fn startable(pod: &ObservedPod) -> Vec<usize> {
    let completed =
        |state: &ContainerState| matches!(state, ContainerState::Ended(end) if end.exit_code == 0);
    let init = pod.containers.iter().position(|container| {
        container.kind == ContainerKind::Init && !completed(&container.state)
    });
    let runner = pod
        .containers
        .iter()
        .position(|it| it.name == RUNNER_CONTAINER);
    let untouched = |at: &usize| pod.containers[*at].state == ContainerState::Unknown;
    let all = (0..pod.containers.len()).filter(untouched);
    let all = all.filter(|at| pod.containers[*at].kind != ContainerKind::Init);
    match (init, runner.map(|at| (at, &pod.containers[at].state))) {
        (Some(at), _) | (None, Some((at, ContainerState::Unknown))) => {
            [at].into_iter().filter(untouched).collect()
        }
        (None, Some((_, ContainerState::Running { .. }))) => Vec::new(),
        // The kubelet starts the other containers if an image cannot be pulled, and retries the pull.
        (None, Some((at, ContainerState::Waiting { .. }))) => all.chain([at]).collect(),
        (None, Some((_, ContainerState::Ended(_))) | None) => all.collect(),
    }
}

fn lacks_runner(pod: &ObservedPod) -> bool {
    let mut containers = pod.containers.iter();
    containers
        .any(|it| it.name == RUNNER_CONTAINER && matches!(it.state, ContainerState::Waiting { .. }))
}
