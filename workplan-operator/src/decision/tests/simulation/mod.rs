//! Random plans on a random cluster: for every sequence of events the plan ends with the expected result.

mod approvals;
mod cluster;
mod expected;
#[path = "../../../../../shared/compiler/tests/reference/kinds.rs"]
mod kinds;
mod operator;
mod plans;
#[path = "../../../../../shared/compiler/tests/reference/outcomes.rs"]
mod reference;
mod runner;

use std::collections::BTreeMap;

use kube::Resource;
use kubeci_api::{RetryOn, StepPhase, StepStatus};
use kubeci_engine::Cause;
use kubeci_plan::EdgeKind;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseResult};

use super::*;
use crate::plan::validate;
use cluster::{Cluster, Event};
use operator::{Obstacles, Operator};
use plans::{Fate, Outcome, Scenario, compiled, limited, scenario};

struct Simulation {
    workplan: Workplan,
    cluster: Cluster,
    operator: Operator,
    obstacles: Obstacles,
    now: Timestamp,
}

impl Simulation {
    fn new(scenario: &Scenario) -> Self {
        Self {
            workplan: scenario.workplan.clone(),
            cluster: Cluster::new(scenario.fates.clone(), scenario.has_sidecar),
            operator: Operator::started(BTreeMap::new()),
            obstacles: Obstacles::default(),
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
            11 => self.obstruct(rest),
            12 if self.has_approvals() => self.answer(rest),
            _ => {
                self.kubelet(rest);
            }
        }
    }

    /// One random event of a plan that may be cancelled and suspended.
    fn happen_in_hand(&mut self, dice: u32, disturbed: bool) {
        let spec = &mut self.workplan.spec;
        match dice % 64 {
            0 => spec.cancel = true,
            1 => spec.suspend = !spec.suspend,
            _ => return self.happen(dice / 64, disturbed),
        }
        self.now += jiff::SignedDuration::from_secs(1);
    }

    fn obstruct(&mut self, which: usize) {
        self.obstacles = Obstacles {
            quota_is_full: which.is_multiple_of(2),
            node_is_not_ready: which.is_multiple_of(3),
            writes_are_delayed: which.is_multiple_of(5),
            cap_is_reached: which.is_multiple_of(4),
        };
    }

    /// All possible events, until there are none.
    fn settle(&mut self) {
        self.obstacles = Obstacles::default();
        self.workplan.spec.suspend = false;
        for _ in 0..400 {
            self.now += jiff::SignedDuration::from_mins(6);
            while self.kubelet(0) {}
            self.answer_all();
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
        self.operator = Operator::started(self.cluster.pods());
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

    /// Whether a step counts as failed, because its pod was lost before its end was observed.
    fn is_lost(&self, step: &str) -> bool {
        let mut steps = self.workplan.status.iter().flat_map(|it| &it.steps);
        steps.any(|it| it.name == step && it.failure == Some(RetryOn::Infrastructure))
    }

    /// Law 1: a step starts after all that it depends on. Law 5: never in a folder that is gone. `maxParallel`: not
    /// beside more steps than may run.
    fn check_start(&self, step: &str) {
        let plan = validate(&self.workplan.spec).unwrap();
        let known = plan.steps.iter().find(|known| known.name == step).unwrap();
        for edge in &known.edges {
            let name = plan.steps[edge.from].name;
            let holds = match (edge.kind, self.cluster.runs(name)) {
                (EdgeKind::OnSuccess, _) if self.is_approval(name) => self.is_approved(name),
                (EdgeKind::OnSuccess, code) => code == Some(0),
                _ if self.is_lost(name) => true,
                (EdgeKind::OnRun | EdgeKind::OnEnd, Some(_)) => true,
                (EdgeKind::OnFailure, Some(code)) => code != 0,
                // Its container may not have started.
                (EdgeKind::OnRun | EdgeKind::OnFailure | EdgeKind::OnEnd, None) => {
                    self.cluster.times(name) == 0
                }
            };
            assert!(
                holds,
                "law 1: {step} starts before {name} has ended as needed"
            );
        }
        for other in plan.steps.iter().filter(|it| it.is_final != known.is_final) {
            let has_ended = || self.cluster.runs(other.name).is_some();
            assert!(
                self.cluster.times(other.name) == 0 || known.is_final && has_ended(),
                "final steps: {step} starts though {} has run",
                other.name
            );
        }
        let max_parallel = plan.max_parallel.map_or(usize::MAX, Into::into);
        assert!(
            self.cluster.running() <= max_parallel,
            "maxParallel: {step} starts beside {max_parallel} steps"
        );
        assert!(
            !self.cluster.swept,
            "law 5: {step} starts after the folder was removed"
        );
    }

    fn steps(&self) -> &[StepStatus] {
        &self.workplan.status.as_ref().unwrap().steps
    }
}

/// The results of the steps, if those that reached their time limit fail.
fn expected_with_timeouts(scenario: &Scenario, steps: &[StepStatus]) -> Vec<StepPhase> {
    let mut reference = scenario.clone();
    let timed_out = steps
        .iter()
        .filter(|it| it.reason.as_deref() == Some("Timeout"));
    for step in timed_out {
        let fate = Fate {
            outcome: Outcome::Fails,
            recovers_after: usize::MAX,
            limit: 0,
            losses: 0,
        };
        reference.fates.insert(step.name.clone(), fate);
    }
    let phases = expected::phases(&reference);
    steps.iter().map(|step| phases[&step.name]).collect()
}

/// Whether something else than the steps may end the plan.
fn ends_early(spec: &kubeci_api::WorkplanSpec) -> bool {
    let has_limit = spec.timeout.is_some() || spec.pending_timeout.is_some();
    spec.cancel || spec.fail_fast || has_limit
}

/// The results of the steps of a plan without disturbances, in any order of events.
fn undisturbed(scenario: &Scenario, dice: &[u32]) -> BTreeMap<String, StepPhase> {
    let mut simulation = Simulation::new(scenario);
    for dice in dice {
        simulation.happen(*dice, false);
    }
    simulation.settle();
    for step in simulation.steps() {
        let reason = step.reason.as_deref().unwrap_or_default();
        let never_starts = [Cause::END_NOT_OBSERVED, Cause::EXPRESSION_FAILED];
        let starts = match step.phase {
            StepPhase::Skipped => 0,
            _ if never_starts.contains(&reason) => 0,
            _ => scenario.fates[&step.name].starts(),
        };
        let times = simulation.cluster.times(&step.name);
        assert_eq!(times, starts, "{} runs once an attempt", step.name);
        if starts > 0 {
            check_attempts(step, starts);
        }
    }
    let steps = simulation.steps().iter();
    steps.map(|step| (step.name.clone(), step.phase)).collect()
}

/// Each attempt is in the status once, however often its pod was observed. A final step that cannot start in a relay
/// has another attempt.
fn check_attempts(step: &StepStatus, starts: usize) {
    let is_unseen = |reason: &Option<String>| reason.as_deref() == Some(Cause::END_NOT_OBSERVED);
    let attempts = step.attempts.iter();
    let unseen = attempts.filter(|it| is_unseen(&it.reason)).count();
    let all = starts + unseen;
    let listed = if all > 1 { all } else { 0 };
    let numbers = step.attempts.iter().map(|attempt| attempt.number as usize);
    assert!(unseen <= 1 && numbers.eq(1..=listed), "{step:?}");
}

/// No step ran more often than it may. Unless the plan is deleted, each step has ended, as its container did.
fn steps_end_as_they_ran(simulation: &Simulation, scenario: &Scenario) -> TestCaseResult {
    for (name, fate) in &scenario.fates {
        let times = simulation.cluster.times(name);
        let spec = &scenario.workplan.spec;
        // The pod of a final step may be stopped because of other steps, once.
        let again = usize::from(spec.finally.contains(name)) + 1;
        let most = fate.starts_max(spec.order) * again;
        prop_assert!(times <= most, "{} ran {} times", name, times);
    }
    if simulation.workplan.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    for step in simulation.steps() {
        let name = &step.name;
        prop_assert!(step.phase.is_final());
        match step.phase {
            StepPhase::Completed if simulation.is_approval(name) => {
                prop_assert!(simulation.is_approved(name), "{} was approved", name);
            }
            StepPhase::Completed => {
                prop_assert_eq!(simulation.cluster.runs(name), Some(0), "{} ran well", name);
            }
            StepPhase::Skipped => {
                prop_assert_eq!(simulation.cluster.times(name), 0, "{} never ran", name);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whatever ends the plan, its final steps run. Only a time limit of their own may end them.
fn final_steps_end_as_expected(simulation: &Simulation, scenario: &Scenario) -> TestCaseResult {
    let steps = simulation.steps();
    let is_late = |step: &StepStatus| {
        let message = step.message.as_deref().unwrap_or_default();
        message.contains("no final step started within")
    };
    if steps.iter().any(is_late) {
        return Ok(());
    }
    let expected = expected_with_timeouts(scenario, steps);
    for (step, phase) in steps.iter().zip(expected) {
        let is_final = scenario.workplan.spec.finally.contains(&step.name);
        let stopped = step.reason.as_deref() == Some("Stopped");
        prop_assert!(
            !is_final || step.phase == phase || stopped,
            "{phase:?}: {step:?}"
        );
    }
    Ok(())
}

/// The same plans in each run, unless `PROPTEST_RNG_SEED` has another seed. `PROPTEST_CASES` is how many.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(7),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    ProptestConfig {
        rng_seed,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn undisturbed_plans_end_as_the_reference_says(
        scenario in scenario(),
        dice in prop::collection::vec(any::<u32>(), 0..250),
    ) {
        prop_assert_eq!(undisturbed(&scenario, &dice), expected::phases(&scenario));
    }

    #[test]
    fn steps_end_alike_in_pods_and_relay(
        compiled in compiled(),
        dice in prop::collection::vec(any::<u32>(), 0..250),
    ) {
        let expected = |scenario: &Scenario| {
            reference::outcomes(&compiled.steps, |step| !scenario.fates[&step.name].completes())
        };
        prop_assert_eq!(undisturbed(&compiled.pods, &dice), expected(&compiled.pods));
        prop_assert_eq!(undisturbed(&compiled.relay, &dice), expected(&compiled.relay));
    }

    #[test]
    fn plans_in_hand_end_as_they_ran(
        scenario in limited(),
        dice in prop::collection::vec(any::<u32>(), 0..400),
        disturbed in any::<bool>(),
    ) {
        let mut simulation = Simulation::new(&scenario);
        for dice in dice {
            simulation.happen_in_hand(dice, disturbed);
        }
        simulation.settle();
        steps_end_as_they_ran(&simulation, &scenario)?;
        if simulation.workplan.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        for step in simulation.steps() {
            let name = &step.name;
            let exceeded = step.reason.as_deref() == Some("DeadlineExceeded");
            prop_assert!(!exceeded, "the engine knows why {} was stopped", name);
        }
        if !disturbed {
            final_steps_end_as_expected(&simulation, &scenario)?;
        }
        if !disturbed && !ends_early(&simulation.workplan.spec) {
            for (step, phase) in simulation.steps().iter().zip(expected_with_timeouts(&scenario, simulation.steps())) {
                // The kubelet may start the next container before it receives the stop of the one before.
                let stopped = step.reason.as_deref() == Some("Stopped");
                prop_assert!(step.phase == phase || stopped, "{phase:?}: {step:?}");
            }
        }
        let status = simulation.workplan.status.as_ref().unwrap();
        let cancelled = status.phase == Some(Phase::Cancelled);
        prop_assert_eq!(cancelled, status.reason.as_deref() == Some("Cancelled"));
        prop_assert!(!cancelled || simulation.workplan.spec.cancel);
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
        steps_end_as_they_ran(&simulation, &scenario)?;
    }
}
