//! The operator in the simulation: it observes, decides, and may be killed at any moment.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};
use kubeci_api::StepPhase;

use super::*;
use crate::admission::{Caps, Place, Recorded};
use crate::refusal::{Refusal, Verdict};
use crate::status_change::StatusChange;

/// The operator. A restart loses all that it remembers.
pub struct Operator {
    pub seen: BTreeMap<usize, ObservedPod>,
    pub sweep: SweepState,
    /// A status whose write is delayed.
    dirty: Option<StatusChange>,
}

impl Operator {
    pub fn started(seen: BTreeMap<usize, ObservedPod>) -> Self {
        Self {
            seen,
            sweep: SweepState::NotAsked,
            dirty: None,
        }
    }
}

/// What makes the plan slower, but does not change its result.
#[derive(Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)] // each alone or with others
pub struct Obstacles {
    /// A quota refuses new pods.
    pub quota_is_full: bool,
    pub node_is_not_ready: bool,
    /// Status writes are delayed if nothing depends on them.
    pub writes_are_delayed: bool,
    /// Other Workplans have reached the caps.
    pub cap_is_reached: bool,
}

impl Simulation {
    /// One reconciliation. Law 6: it may be killed after any number of its actions.
    pub fn reconcile(&mut self, killed_after: Option<usize>) {
        if self.is_over() {
            return;
        }
        let mut state = ObservedState {
            pods: self.operator.seen.clone(),
            certainty: Certainty::Watched,
            refusals: BTreeMap::new(),
            refused_since: None,
            warnings: BTreeMap::new(),
            node: if self.obstacles.node_is_not_ready {
                NodeState::NotReady
            } else {
                NodeState::Ready
            },
            sweep: self.operator.sweep.clone(),
            origin: None,
            holder: None,
            user: crate::observed::FolderUse::Unused,
            admission: self.admission(),
            limits: Limits::NONE,
            sidecar_grace: jiff::SignedDuration::from_secs(30),
            pending_timeout: jiff::SignedDuration::from_hours(1),
            now: self.now,
        };
        let mut decision = self.decide(&state);
        if decision.actions.contains(&Action::ListPods) {
            state.pods = self.cluster.pods();
            state.certainty = Certainty::Listed;
            decision = self.decide(&state);
            assert!(
                !decision.actions.contains(&Action::ListPods),
                "an answer is enough"
            );
        }
        let mut left = killed_after.unwrap_or(usize::MAX);
        if self.obstacles.quota_is_full {
            decision = self.refuse_pods(decision, &mut state);
        }
        let (creates, others): (Vec<_>, Vec<_>) = decision
            .actions
            .iter()
            .copied()
            .partition(|action| matches!(action, Action::CreatePod(_)));
        for action in creates {
            if left == 0 {
                return self.restart();
            }
            left -= 1;
            self.act(action, &decision.status, &state);
        }
        if left == 0 {
            return self.restart();
        }
        let ended = decision.status.phase.is_some_and(Phase::is_final);
        if self.obstacles.writes_are_delayed && !ended && others.is_empty() {
            let stored = self.workplan.status.clone().unwrap_or_default();
            self.operator.dirty = Some(StatusChange::between(&stored, &decision.status));
            return;
        }
        self.record(decision.status.clone());
        for action in others {
            if left == 0 {
                return self.restart();
            }
            left -= 1;
            self.act(action, &decision.status, &state);
        }
    }

    /// A Workplan that was admitted does not wait again. Every second plan may have one pod at a time.
    fn admission(&self) -> Admission {
        let status = self.known().status.unwrap_or_default();
        let recorded = Recorded::of(status.phase, status.reason.as_deref());
        let was_admitted = recorded == Recorded::Admitted || !self.cluster.pods().is_empty();
        if self.obstacles.cap_is_reached && !was_admitted {
            return Admission::Queued(Some(Place {
                number: 2,
                count: 3,
                caps: Caps::default(),
            }));
        }
        let is_narrow = self.workplan.spec.tasks.len().is_multiple_of(2);
        Admission::Admitted {
            pods: if is_narrow { 1 } else { usize::MAX },
        }
    }

    /// The API server refuses all pods of a decision. It is made again with the refusals, until it creates no pod: other
    /// tasks may get the slots of those that are refused.
    fn refuse_pods(&self, mut decision: Decision, state: &mut ObservedState) -> Decision {
        loop {
            let refused = decision.actions.iter().filter_map(|action| match action {
                Action::CreatePod(task) => Some(*task),
                _ => None,
            });
            let refused: Vec<usize> = refused.collect();
            if refused.is_empty() {
                return decision;
            }
            for task in refused {
                let refusal = Refusal {
                    verdict: Verdict::Later,
                    reason: "QuotaExceeded",
                    message: "exceeded quota".into(),
                };
                let known = state.refusals.insert(task, refusal);
                assert!(known.is_none(), "a refused pod is not waited for");
            }
            decision = self.decide(state);
            let (reason, message) = (&decision.status.reason, &decision.status.message);
            let texts = reason.iter().chain(message);
            // The reason of a plan that ends stays, while its final steps wait.
            let is_said = texts.into_iter().any(|text| text.contains("QuotaExceeded"));
            assert!(is_said, "{reason:?}: {message:?}");
        }
    }

    /// The Workplan as the operator knows it, with the status that is not written yet.
    fn known(&self) -> Workplan {
        let mut workplan = self.workplan.clone();
        if let Some(dirty) = &self.operator.dirty {
            let stored = workplan.status.unwrap_or_default();
            workplan.status = Some(dirty.apply(&stored));
        }
        workplan
    }

    fn decide(&self, state: &ObservedState) -> Decision {
        let decision = decide(&self.known(), state);
        let mut next = self.known();
        let written = serde_json::to_string(&decision.status).unwrap();
        next.status = Some(serde_json::from_str(&written).unwrap());
        assert_eq!(
            next.status.as_ref(),
            Some(&decision.status),
            "what is written is what is read"
        );
        assert_eq!(
            decide(&next, state).status,
            decision.status,
            "the same state is decided alike again"
        );
        decision
    }

    fn act(&mut self, action: Action, status: &WorkplanStatus, state: &ObservedState) {
        match action {
            Action::CreatePod(task) => {
                assert!(
                    self.workplan.meta().deletion_timestamp.is_none(),
                    "a deleted plan creates no pod"
                );
                let left = |step: &kubeci_api::Step| is_left(status, &step.name);
                let known = self.known();
                let node = assigned_node(&known, &state.pods);
                let number = crate::pod_builder::number(&known, task, &status.steps);
                let placement = crate::pod_builder::Placement {
                    node,
                    number,
                    steps: &status.steps,
                    nothing_has_run: !status.steps.iter().any(crate::pod_creator::has_run),
                    room: None,
                    image: "operator",
                    limits: &state.limits,
                };
                let pod = crate::pod_builder::build(&self.workplan, task, left, placement);
                self.cluster.create((task, number), &pod);
            }
            Action::StopPod(task) => self.cluster.stop_pod(&state.pods[&task].name),
            Action::DeletePod(task) => self.cluster.delete_as_seen(&state.pods[&task]),
            Action::Sweep => {
                assert!(holds_folder(&self.workplan), "nothing lies on the node");
                assert!(
                    self.has_keep_passed(),
                    "law 5: a kept folder is removed too early"
                );
                assert!(
                    self.cluster.is_quiet(),
                    "law 5: the folder is removed while a container may run"
                );
                self.operator.sweep = SweepState::Underway;
            }
            Action::RemoveFinalizer => {
                assert!(self.cluster.is_clean(), "law 5: a folder is left");
                self.workplan.finalizers_mut().clear();
            }
            Action::AddFinalizer | Action::ListPods | Action::UseFolder | Action::SetTasks => {
                unreachable!("{action:?}")
            }
        }
    }

    /// Whether the folder may be removed as far as `keep` is concerned.
    fn has_keep_passed(&self) -> bool {
        let status = self.workplan.status.clone().unwrap_or_default();
        let kept_for = status
            .phase
            .and_then(|phase| self.workplan.spec.workspace.kept_for(phase));
        let Some(kept_for) = kept_for else {
            return true;
        };
        let deleted = self.workplan.meta().deletion_timestamp.is_some();
        deleted
            || status
                .finished_at
                .is_some_and(|it| it.0 + kept_for <= self.now)
    }

    /// Writes the status. What was final stays as it was.
    fn record(&mut self, status: WorkplanStatus) {
        let before = self.workplan.status.clone().unwrap_or_default();
        for (old, new) in before.steps.iter().zip(&status.steps) {
            assert!(
                !old.phase.is_final() || old == new,
                "a final step changed: {old:?} {new:?}"
            );
            let back = old.phase == StepPhase::Running
                && new.phase == StepPhase::Pending
                && old.attempt() == new.attempt();
            assert!(!back, "a step went back: {old:?} {new:?}");
        }
        assert_eq!(
            before.approvals, status.approvals,
            "what users have written stays"
        );
        let ended = before.phase.is_some_and(Phase::is_final);
        assert!(
            !ended || before.phase == status.phase,
            "a final phase changed"
        );
        self.workplan.status = Some(status);
        self.operator.dirty = None;
    }
}

fn is_left(status: &WorkplanStatus, name: &str) -> bool {
    let mut steps = status.steps.iter();
    steps
        .find(|step| step.name == name)
        .is_none_or(|step| !step.phase.is_final())
}
