//! A model of a scheduler and a kubelet: pods are placed, containers start and end in order.

mod disturb;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kubeci_api::names::RUNNER_CONTAINER;

use super::plans::Outcome;
use super::runner::{Runners, Turn};
use crate::observed::{
    ContainerKind, ContainerState, Ended, ObservedContainer, ObservedPod, Owner, PodPhase,
};
use crate::pod_builder::RUNNER;

pub struct Cluster {
    pods: BTreeMap<usize, ObservedPod>,
    /// The step runners of each pod.
    runners: BTreeMap<usize, Runners>,
    outcomes: BTreeMap<String, Outcome>,
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
    pub fn new(outcomes: BTreeMap<String, Outcome>, has_sidecar: bool) -> Self {
        Self {
            pods: BTreeMap::new(),
            runners: BTreeMap::new(),
            outcomes,
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

    pub fn pods(&self) -> BTreeMap<usize, ObservedPod> {
        self.pods.clone()
    }

    /// The exit code of a step's last container, if it has ended.
    pub fn runs(&self, step: &str) -> Option<i32> {
        self.runs
            .get(step)
            .and_then(|runs| runs.last().copied().flatten())
    }

    pub fn times(&self, step: &str) -> usize {
        self.runs.get(step).map_or(0, Vec::len)
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
    pub fn create(&mut self, task: usize, pod: &Pod) {
        let spec = pod.spec.clone().unwrap();
        let placed = self.pods.values().any(|pod| pod.node.is_some());
        let pinned = spec.affinity.is_some();
        assert!(
            self.pods.contains_key(&task) || pinned || !placed,
            "law 4: pods go to the first one's node"
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
        if !self.pods.contains_key(&task) {
            self.runners.insert(task, Runners::of(&spec.containers));
        }
        self.pods.entry(task).or_insert_with(|| ObservedPod {
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
        });
    }

    /// Deletes a pod unless it was placed since it was seen.
    pub fn delete_as_seen(&mut self, task: usize, seen: &ObservedPod) {
        let pod = self.pods.get(&task);
        if pod.is_some_and(|pod| seen.node == pod.node) {
            self.delete(task);
        }
    }

    /// The kubelet stops the containers of the pod, and keeps it.
    pub fn stop_pod(&mut self, task: usize) {
        if let Some(pod) = self.pods.get_mut(&task) {
            pod.stopped = true;
        }
    }

    fn delete(&mut self, task: usize) {
        match self.pods.get_mut(&task) {
            Some(pod) if pod.node.is_some() => pod.deleting = true,
            _ => {
                self.pods.remove(&task);
            }
        }
    }

    /// One action of the scheduler or the kubelet on one pod.
    pub fn step(&mut self, which: usize, now: Timestamp) -> Option<Event> {
        let mut tasks: Vec<usize> = self.pods.keys().copied().collect();
        let first = which % tasks.len().max(1);
        tasks.rotate_left(first);
        tasks
            .into_iter()
            .find_map(|task| self.step_pod(task, which, now))
    }

    fn step_pod(&mut self, task: usize, which: usize, now: Timestamp) -> Option<Event> {
        let pod = self.pods.get_mut(&task)?;
        if pod.node.is_none() {
            pod.node = Some("n1".into());
            pod.started = Some(now);
            self.placed = true;
            return Some(Event::Placed);
        }
        if matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed) {
            return self.remove_deleted(task);
        }
        let mut running: Vec<usize> =
            positions(pod, |state| matches!(state, ContainerState::Running { .. }));
        let runners = &self.runners[&task];
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
            return Some(self.start(task, can_start[which % can_start.len()], now));
        }
        if !running.is_empty() {
            let at = running[which % running.len()];
            return Some(self.end_or_turn(task, at, which, now));
        }
        self.finish(task)
    }

    fn start(&mut self, task: usize, at: usize, now: Timestamp) -> Event {
        let pod = self.pods.get_mut(&task).unwrap();
        let lacks_runner = lacks_runner(pod);
        let container = &mut pod.containers[at];
        let name = container.name.clone();
        match self.outcomes.get(&name) {
            None if name == RUNNER_CONTAINER && std::mem::take(&mut self.has_no_runner) => {
                container.state = ContainerState::Waiting {
                    reason: "ErrImagePull".into(),
                    message: "the registry is away".into(),
                };
                return Event::Placed;
            }
            Some(outcome) if lacks_runner && *outcome != Outcome::HasNoImage => {
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
        let runners = self.runners.get_mut(&task).unwrap();
        if runners.has(&name) {
            runners.come_up(&name, now);
            return Event::Placed;
        }
        self.runs.entry(name.clone()).or_default().push(None);
        Event::Started(name)
    }

    fn end_or_turn(&mut self, task: usize, at: usize, which: usize, now: Timestamp) -> Event {
        if self.runners[&task].has(&self.pods[&task].containers[at].name) {
            self.turn(task, at, which, now)
        } else {
            self.end(task, at, now)
        }
    }

    fn end(&mut self, task: usize, at: usize, now: Timestamp) -> Event {
        let pod = self.pods.get_mut(&task).unwrap();
        let killed = is_ending(pod);
        let container = &mut pod.containers[at];
        let exit_code = match self.outcomes.get(&container.name) {
            _ if killed => 137,
            Some(Outcome::Completes) | None => 0,
            Some(Outcome::IsKilled) => 137,
            Some(Outcome::Fails | Outcome::HasNoImage | Outcome::CannotStart) => 1,
        };
        let ContainerState::Running { since } = container.state else {
            unreachable!("only running containers end");
        };
        container.state = ContainerState::Ended(Ended {
            exit_code,
            started: since,
            finished: Some(now),
            ..Ended::default()
        });
        if let Some(runs) = self.runs.get_mut(&container.name) {
            *runs.last_mut().unwrap() = Some(exit_code);
        }
        Event::Ended
    }

    /// The next action of a step runner, or the kubelet reports its end or stops it.
    fn turn(&mut self, task: usize, at: usize, which: usize, now: Timestamp) -> Event {
        let pod = self.pods.get_mut(&task).unwrap();
        let runners = self.runners.get_mut(&task).unwrap();
        let container = &mut pod.containers[at];
        let name = container.name.clone();
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
            Turn::Ends => runners.end(&name, self.outcomes[&name], now),
            Turn::Nothing => unreachable!("it has no turn"),
        };
        if exit_code.is_some() {
            *self.runs.get_mut(&name).unwrap().last_mut().unwrap() = exit_code;
        }
        Event::Ended
    }

    /// The phase follows the containers.
    fn finish(&mut self, task: usize) -> Option<Event> {
        let pod = self.pods.get_mut(&task)?;
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
        self.remove_deleted(task)
    }

    fn remove_deleted(&mut self, task: usize) -> Option<Event> {
        self.pods.get(&task).filter(|pod| pod.deleting)?;
        self.pods.remove(&task);
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
