//! Random plans on a random cluster: for every sequence of events the plan ends with the expected result.

mod cluster;
mod plans;
#[path = "../../../../../shared/compiler/tests/reference/outcomes.rs"]
mod reference;
mod runner;

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};
use kubeci_api::{StepPhase, StepStatus};
use proptest::prelude::*;

use super::*;
use crate::plan::validate;
use cluster::{Cluster, Event};
use plans::{Outcome, Scenario, compiled, scenario};

/// The operator. It remembers only what it has observed of the pods, which a restart would lose.
struct Operator {
    seen: BTreeMap<usize, ObservedPod>,
    sweep: SweepState,
}

struct Simulation {
    workplan: Workplan,
    cluster: Cluster,
    operator: Operator,
    now: Timestamp,
}

impl Simulation {
    fn new(scenario: &Scenario) -> Self {
        Self {
            workplan: scenario.workplan.clone(),
            cluster: Cluster::new(scenario.outcomes.clone(), scenario.has_sidecar),
            operator: Operator {
                seen: BTreeMap::new(),
                sweep: SweepState::NotAsked,
            },
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    /// One random event.
    fn happen(&mut self, dice: u32, disturbed: bool) {
        self.now += jiff::SignedDuration::from_secs(1);
        let (what, rest) = (dice % 16, (dice / 16) as usize);
        match what {
            0..=3 => self.observe(rest),
            4..=6 => self.reconcile(Some(rest % 4)),
            7 => self.restart(),
            8 if disturbed && rest.is_multiple_of(3) => self.disturb(rest / 3),
            9 if disturbed && rest.is_multiple_of(40) => self.delete(),
            10 => self.sweep(rest.is_multiple_of(2)),
            _ => {
                self.kubelet(rest);
            }
        }
    }

    /// All possible events, until there are none.
    fn settle(&mut self) {
        for _ in 0..400 {
            self.now += jiff::SignedDuration::from_mins(6);
            while self.kubelet(0) {}
            self.sweep(true);
            self.operator.seen = self.cluster.pods();
            self.reconcile(None);
            if self.is_over() {
                return;
            }
        }
        panic!("the plan does not end: {:#?}", self.workplan.status);
    }

    /// Whether nothing remains to be done for the plan.
    fn is_over(&self) -> bool {
        let status = self.workplan.status.as_ref();
        let ended = status.is_some_and(|status| status.phase.is_some_and(Phase::is_final));
        let gives_up = || !self.cluster.is_quiet();
        !has_finalizer(&self.workplan) && (holds_folder(&self.workplan) || (ended && !gives_up()))
    }

    /// The watch returns the current state of one more pod. The others are observed in their previous state.
    fn observe(&mut self, which: usize) {
        let task = which % self.workplan.spec.tasks.len();
        match self.cluster.pods().remove(&task) {
            Some(pod) => self.operator.seen.insert(task, pod),
            None => self.operator.seen.remove(&task),
        };
    }

    fn restart(&mut self) {
        self.operator = Operator {
            seen: self.cluster.pods(),
            sweep: SweepState::NotAsked,
        };
    }

    fn sweep(&mut self, succeeds: bool) {
        if self.operator.sweep == SweepState::NotAsked || self.operator.sweep == SweepState::Done {
            return;
        }
        self.operator.sweep = if succeeds {
            self.cluster.sweep();
            SweepState::Done
        } else {
            SweepState::Failed("busy".into())
        };
    }

    /// Stops one pod, but only after its node and the steps that ran are recorded. Without the record and the pod they
    /// would be unknown.
    fn disturb(&mut self, which: usize) {
        let status = self.workplan.status.clone().unwrap_or_default();
        let node_is_known = status.node.is_some();
        let recorded = |step: &str| {
            let mut known = status.steps.iter().filter(|known| known.name == step);
            known.any(|known| known.phase != StepPhase::Pending)
        };
        self.cluster
            .disturb(which, node_is_known, recorded, self.now);
    }

    /// Without a finalizer it would be gone at once.
    fn delete(&mut self) {
        if !has_finalizer(&self.workplan) {
            return;
        }
        let now = self.now;
        let deleted = &mut self.workplan.meta_mut().deletion_timestamp;
        deleted.get_or_insert(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
    }

    fn kubelet(&mut self, which: usize) -> bool {
        let Some(event) = self.cluster.step(which, self.now) else {
            return false;
        };
        if let Event::Started(step) = event {
            self.check_start(&step);
        }
        true
    }

    /// Law 1: a step starts after all that it depends on. Law 5: never in a folder that is gone.
    fn check_start(&self, step: &str) {
        let plan = validate(&self.workplan.spec).unwrap();
        let known = plan.steps.iter().find(|known| known.name == step).unwrap();
        for edge in &known.edges {
            let name = plan.steps[edge.from].name;
            assert_eq!(
                self.cluster.runs(name),
                Some(0),
                "law 1: {step} starts before {name} has completed"
            );
        }
        assert!(
            !self.cluster.swept,
            "law 5: {step} starts after the folder was removed"
        );
    }

    /// One reconciliation. Law 6: it may be killed after any number of its actions.
    fn reconcile(&mut self, killed_after: Option<usize>) {
        if self.is_over() {
            return;
        }
        let mut state = ObservedState {
            pods: self.operator.seen.clone(),
            certainty: Certainty::Watched,
            refusals: BTreeMap::new(),
            refused_since: None,
            warnings: BTreeMap::new(),
            node: NodeState::Ready,
            sweep: self.operator.sweep.clone(),
            limits: Limits::NONE,
            sidecar_grace: jiff::SignedDuration::from_secs(30),
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
        self.record(decision.status.clone());
        for action in others {
            if left == 0 {
                return self.restart();
            }
            left -= 1;
            self.act(action, &decision.status, &state);
        }
    }

    fn decide(&self, state: &ObservedState) -> Decision {
        let decision = decide(&self.workplan, state);
        let mut next = self.workplan.clone();
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
                let node = assigned_node(&self.workplan, &state.pods);
                let placement = crate::pod_builder::Placement {
                    node,
                    fresh: !status.steps.iter().any(|step| step.phase.has_started()),
                    room: None,
                    image: "operator",
                    limits: &state.limits,
                };
                let pod = crate::pod_builder::build(&self.workplan, task, left, placement);
                self.cluster.create(task, &pod);
            }
            Action::DeletePod(task) => self.cluster.delete_as_seen(task, &state.pods[&task]),
            Action::Sweep => {
                assert!(holds_folder(&self.workplan), "nothing lies on the node");
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
            Action::AddFinalizer | Action::ListPods => unreachable!("{action:?}"),
        }
    }

    /// Writes the status. What was final stays as it was.
    fn record(&mut self, status: WorkplanStatus) {
        let before = self.workplan.status.clone().unwrap_or_default();
        for (old, new) in before.steps.iter().zip(&status.steps) {
            assert!(
                !old.phase.is_final() || old == new,
                "a final step changed: {old:?} {new:?}"
            );
            let back = old.phase == StepPhase::Running && new.phase == StepPhase::Pending;
            assert!(!back, "a step went back: {old:?} {new:?}");
        }
        let ended = before.phase.is_some_and(Phase::is_final);
        assert!(
            !ended || before.phase == status.phase,
            "a final phase changed"
        );
        self.workplan.status = Some(status);
    }

    fn steps(&self) -> &[StepStatus] {
        &self.workplan.status.as_ref().unwrap().steps
    }
}

fn is_left(status: &WorkplanStatus, name: &str) -> bool {
    let mut steps = status.steps.iter();
    steps
        .find(|step| step.name == name)
        .is_none_or(|step| !step.phase.is_final())
}

/// The results of the steps without disturbances.
fn expected(scenario: &Scenario) -> BTreeMap<String, StepPhase> {
    let plan = validate(&scenario.workplan.spec).unwrap();
    let mut phases: BTreeMap<usize, StepPhase> = BTreeMap::new();
    while phases.len() < plan.steps.len() {
        for (at, step) in plan.steps.iter().enumerate() {
            let chain =
                (plan.tasks[step.task].start..at).filter(|before| plan.steps[*before].serial);
            let before = chain
                .clone()
                .map(|at| phases.get(&at))
                .collect::<Option<Vec<_>>>();
            let needs = step
                .edges
                .iter()
                .map(|edge| phases.get(&edge.from))
                .collect::<Option<Vec<_>>>();
            if let (Some(before), Some(needs)) = (before, needs) {
                let lost = needs.iter().any(|phase| **phase != StepPhase::Completed)
                    || before.iter().any(|phase| **phase == StepPhase::Failed);
                let phase = match scenario.outcomes[step.name] {
                    _ if lost => StepPhase::Skipped,
                    Outcome::Completes => StepPhase::Completed,
                    _ => StepPhase::Failed,
                };
                phases.insert(at, phase);
            }
        }
    }
    phases
        .into_iter()
        .map(|(at, phase)| (plan.steps[at].name.to_owned(), phase))
        .collect()
}

/// The results of the steps of a plan without disturbances, in any order of events.
fn undisturbed(scenario: &Scenario, dice: &[u32]) -> BTreeMap<String, StepPhase> {
    let mut simulation = Simulation::new(scenario);
    for dice in dice {
        simulation.happen(*dice, false);
    }
    simulation.settle();
    for step in simulation.steps() {
        let fate = scenario.outcomes[&step.name];
        let starts = !matches!(fate, Outcome::HasNoImage | Outcome::CannotStart);
        let runs = starts && step.phase != StepPhase::Skipped;
        let times = simulation.cluster.times(&step.name);
        assert_eq!(times, usize::from(runs), "{} runs once", step.name);
    }
    let steps = simulation.steps().iter();
    steps.map(|step| (step.name.clone(), step.phase)).collect()
}

proptest! {
    #[test]
    fn undisturbed_plans_end_as_the_reference_says(
        scenario in scenario(),
        dice in prop::collection::vec(any::<u32>(), 0..250),
    ) {
        prop_assert_eq!(undisturbed(&scenario, &dice), expected(&scenario));
    }

    #[test]
    fn steps_end_alike_in_pods_and_relay(
        compiled in compiled(),
        dice in prop::collection::vec(any::<u32>(), 0..250),
    ) {
        let outcomes = &compiled.pods.outcomes;
        let expected = reference::outcomes(&compiled.steps, |step| outcomes[&step.name] != Outcome::Completes);
        prop_assert_eq!(undisturbed(&compiled.pods, &dice), expected.clone());
        prop_assert_eq!(undisturbed(&compiled.relay, &dice), expected);
    }

    #[test]
    fn disturbed_plans_end_and_leave_nothing(
        scenario in scenario(),
        dice in prop::collection::vec(any::<u32>(), 0..400),
    ) {
        let mut simulation = Simulation::new(&scenario);
        for dice in dice {
            simulation.happen(dice, true);
        }
        simulation.settle();
        for name in scenario.outcomes.keys() {
            prop_assert!(simulation.cluster.times(name) <= 1, "{} ran twice", name);
        }
        if simulation.workplan.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        for step in simulation.steps() {
            prop_assert!(step.phase.is_final());
            match step.phase {
                StepPhase::Completed => prop_assert_eq!(simulation.cluster.runs(&step.name), Some(0), "{} ran well", step.name),
                StepPhase::Skipped => prop_assert_eq!(simulation.cluster.times(&step.name), 0, "{} never ran", step.name),
                _ => {}
            }
        }
    }
}
