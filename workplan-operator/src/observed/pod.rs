//! Pods and their containers, reduced to what decisions need.

use jiff::Timestamp;
use kubeci_api::names::{OPENER_CONTAINER, RUNNER_CONTAINER};

/// One pod of a Workplan, as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedPod {
    pub name: String,
    pub uid: Option<String>,
    pub version: Option<String>,
    pub owner: Owner,
    pub node: Option<String>,
    pub deleting: bool,
    /// Whether the operator has stopped it. Its containers end, and it is kept.
    pub stopped: bool,
    pub phase: PodPhase,
    /// Why the whole pod failed, or is about to be removed from its node.
    pub reason: Option<String>,
    pub message: Option<String>,
    pub created: Option<Timestamp>,
    /// When the kubelet took it.
    pub started: Option<Timestamp>,
    /// Since when its volumes are mounted and its sandbox is there, so that its containers can start.
    pub prepared: Option<Timestamp>,
    /// What holds the scheduler back.
    pub gates: Vec<String>,
    /// Why the scheduler has not placed it.
    pub unschedulable: Option<String>,
    /// Init containers in their order, then the others.
    pub containers: Vec<ObservedContainer>,
    /// The pods that its task had before, the oldest first.
    pub earlier: Vec<ObservedPod>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The Workplan itself.
    Workplan,
    /// A deleted Workplan of the same name. The garbage collector will remove the pod.
    Former,
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ObservedContainer {
    pub name: String,
    pub image: String,
    pub kind: ContainerKind,
    pub state: ContainerState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    Init,
    /// An init container that runs beside the others, is started again when it ends, and ended after them.
    Sidecar,
    Main,
    /// Added to the pod as it ran; ended with it.
    Ephemeral,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ContainerState {
    Unknown,
    Waiting { reason: String, message: String },
    Running { since: Option<Timestamp> },
    Ended(Ended),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
}

impl ObservedPod {
    /// Puts a pod before it, with those before that one. A pod of the same name is replaced.
    pub fn succeed(&mut self, mut before: Self) {
        self.earlier = std::mem::take(&mut before.earlier);
        if before.name != self.name {
            self.earlier.push(before);
        }
    }

    /// Whether a pod of this name is the pod itself or one of those before it.
    #[must_use]
    pub fn is_or_succeeds(&self, name: &str) -> bool {
        let mut earlier = self.earlier.iter();
        self.name == name || earlier.any(|pod| pod.name == name)
    }

    /// Whether no container of it runs or will run.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.has_ended()
            || self.containers.iter().all(ObservedContainer::has_ended)
            || (self.stopped_early() && !self.containers.iter().any(ObservedContainer::runs))
    }

    /// Whether nothing of it runs, by its phase.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, PodPhase::Succeeded | PodPhase::Failed)
    }

    #[must_use]
    pub fn has(&self, container: &str) -> bool {
        self.containers.iter().any(|known| known.name == container)
    }

    /// Whether an init container failed, after which the kubelet starts no other.
    fn stopped_early(&self) -> bool {
        self.containers.iter().any(|container| {
            container.kind == ContainerKind::Init
                && matches!(&container.state, ContainerState::Ended(end) if end.exit_code != 0)
        })
    }

    /// When the last of its containers that have ended did, or the pod itself started. A container that is
    /// started again and again is no progress.
    #[must_use]
    pub fn last_progress(&self) -> Option<Timestamp> {
        let once = self.containers.iter().filter(|it| it.runs_once());
        let ends = once.filter_map(|container| match &container.state {
            ContainerState::Ended(end) => end.finished,
            _ => None,
        });
        ends.chain(self.started).max()
    }
}

impl ObservedContainer {
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, ContainerState::Ended(_))
    }

    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }

    /// Whether it is one of kubeci's own containers, which precede those of the steps.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.name == OPENER_CONTAINER || self.name == RUNNER_CONTAINER
    }

    /// Whether it runs once: it is not restarted, and not stopped by the end of other containers.
    #[must_use]
    pub fn runs_once(&self) -> bool {
        matches!(self.kind, ContainerKind::Init | ContainerKind::Main)
    }
}
