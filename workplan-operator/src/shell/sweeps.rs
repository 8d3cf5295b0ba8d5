//! Carries out the sweeps of the nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{LimitRange, Node, Pod};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use kubeci_compiler::Limits;

use super::act::said;
use super::key::Key;
use super::metrics::{Metrics, SweepResult};
use super::pod_events::PodEvents;
use super::queue::Queue;
use super::reconcile::now;
use crate::observed::{SweepState, is_ready};
use crate::sweep::pod::{self, ObservedSweepPod, SweepPodState};
use crate::sweep::round::{Next, Round, Turn};
use crate::workspace::Folder;

/// How often is looked at a sweep that is under way, should its pod not start.
const LOOKS_APART: SignedDuration = SignedDuration::from_secs(6);

/// The rounds of all nodes.
pub struct Sweeps {
    rounds: Mutex<HashMap<String, Round>>,
    nodes: Arc<Queue<String>>,
}

impl Sweeps {
    pub fn new(nodes: Arc<Queue<String>>) -> Self {
        Self {
            rounds: Mutex::default(),
            nodes,
        }
    }

    /// Asks for a folder to be removed from a node.
    pub fn ask(&self, node: &str, folder: Folder) {
        if self.round(node, |round| round.ask(folder)) {
            self.nodes.push(node.to_owned());
        }
    }

    pub fn state(&self, node: &str, folder: &Folder) -> SweepState {
        let rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        rounds
            .get(node)
            .map_or(SweepState::NotAsked, |round| round.state(folder))
    }

    pub fn forget(&self, node: &str, folder: &Folder) {
        self.round(node, |round| round.forget(folder));
    }

    fn round<T>(&self, node: &str, change: impl FnOnce(&mut Round) -> T) -> T {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let round = rounds.entry(node.to_owned()).or_default();
        let changed = change(round);
        if round.is_idle() {
            rounds.remove(node);
        }
        changed
    }
}

/// Sweeps nodes.
pub struct Sweeper {
    pub client: Client,
    pub namespace: String,
    pub image: String,
    pub pods: Store<Pod>,
    pub limit_ranges: Store<LimitRange>,
    pub pod_events: Arc<PodEvents>,
    pub sweeps: Arc<Sweeps>,
    pub workplans: Arc<Queue<Key>>,
    pub metrics: Metrics,
}

impl Sweeper {
    /// Does what is next for a node, and says when to look again.
    pub async fn reconcile(&self, node: &Node) -> Result<Option<Timestamp>, kube::Error> {
        let name = node.name_any();
        let known = ObjectRef::new(&pod::name(&name)).within(&self.namespace);
        let pod = self.pods.get(&known);
        let warning = match &pod {
            Some(pod) if pod::is_stalled(pod, now()) => {
                let uid = pod.uid().unwrap_or_default();
                self.pod_events.warning(&self.namespace, &uid).await
            }
            _ => None,
        };
        let facts = pod.map(|pod| ObservedSweepPod::of(&pod, warning.as_ref()));
        let is_underway =
            matches!(&facts, Some(facts) if matches!(facts.state, SweepPodState::Underway(_)));
        let turn = |round: &mut Round| round.turn(facts.as_ref(), is_ready(node), now());
        let Turn { next, news } = self.sweeps.round(&name, turn);
        self.tell(&news);
        match next {
            Next::Wait(None) if is_underway => Ok(Some(now() + LOOKS_APART)),
            Next::Wait(until) => Ok(until),
            Next::Create(folders) => self.create(&name, &folders).await,
            Next::Clear(uid) => self.clear(&name, uid).await.map(|()| None),
        }
    }

    async fn create(
        &self,
        node: &str,
        folders: &[Folder],
    ) -> Result<Option<Timestamp>, kube::Error> {
        let all = self.limit_ranges.state();
        let own = Some(&self.namespace);
        let limits = all
            .iter()
            .filter(|it| it.metadata.namespace.as_ref() == own);
        let limits = Limits::of(limits.map(|range| &**range));
        let pod = pod::build(node, &self.namespace, &self.image, &limits, folders);
        match self.api().create(&PostParams::default(), &pod).await {
            Ok(created) => {
                tracing::info!(node, folders = folders.len(), "sweep started");
                self.metrics.swept(SweepResult::Started);
                self.sweeps.round(node, |round| {
                    round.created(created.uid().unwrap_or_default(), now());
                });
                Ok(None)
            }
            // The watch will show it.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => {
                tracing::warn!(
                    node,
                    error = said(&error),
                    "the sweep pod cannot be created"
                );
                self.metrics.swept(SweepResult::Refused);
                let text = said(&error);
                let news = self
                    .sweeps
                    .round(node, |round| round.refused(folders, &text, now()));
                self.tell(&news);
                Err(error)
            }
        }
    }

    /// Deletes a sweep pod whose container has ended, at once so that the next can have its name.
    async fn clear(&self, node: &str, uid: String) -> Result<(), kube::Error> {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(uid),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api().delete(&pod::name(node), &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(())
            }
            Err(error) => {
                self.sweeps.round(node, Round::not_cleared);
                Err(error)
            }
        }
    }

    fn tell(&self, folders: &[Folder]) {
        for folder in folders {
            let [namespace, _, name] = folder.parts();
            self.workplans.push(Key::new(namespace, name));
        }
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}
