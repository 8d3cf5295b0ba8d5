//! Random plans that can run.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::core::Duration;
use kubeci_api::{
    Backoff, Execution, Keep, KeepOn, Order, Retry, RetryOn, Step, Task, WorkflowSpec, Workplan,
    WorkplanSpec, Workspace,
};
use kubeci_compiler::{Settings, compile_workflow};
use proptest::prelude::*;

use super::approvals::{add_approvals, make_approval};
use super::kinds::with_kinds;
use super::reference::conditions::{named, with_conditions};
use crate::plan::validate;
use crate::testing::{step, workplan};

/// The fates of the steps, by name.
type Fates = BTreeMap<String, Fate>;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub workplan: Workplan,
    pub fates: Fates,
    /// Whether each pod has another container that never ends.
    pub has_sidecar: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Completes,
    Fails,
    HasNoImage,
    CannotStart,
    /// Out of memory, with all processes of its container.
    IsKilled,
    /// It runs nothing, and a user approves it.
    Approved,
    Rejected,
}

/// How the attempts of a step end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The outcome of the first attempts.
    pub outcome: Outcome,
    /// After how many attempts with this outcome it completes, if it can recover at all.
    pub recovers_after: usize,
    /// How many attempts there are after the first one, if it ends in this way.
    pub limit: usize,
    /// How many there are if its pod is lost.
    pub losses: usize,
}

impl Fate {
    /// The outcome of an attempt, by the number of attempts that have started.
    pub fn outcome(self, started: usize) -> Outcome {
        match self.outcome {
            Outcome::Fails | Outcome::IsKilled if started > self.recovers_after => {
                Outcome::Completes
            }
            outcome => outcome,
        }
    }

    /// How often the step may start. A pod that is gone before it was observed takes the record of the attempts in
    /// place with it.
    pub fn starts_max(self, order: Order) -> usize {
        let in_place = match order {
            Order::Relay => 1 + self.limit,
            Order::Linear | Order::Graph => 1,
        };
        in_place * (1 + self.limit.max(self.losses))
    }

    /// How often the step starts in a plan without disturbances.
    pub fn starts(self) -> usize {
        match self.outcome {
            Outcome::Completes => 1,
            Outcome::Fails | Outcome::IsKilled => self.limit.min(self.recovers_after) + 1,
            Outcome::HasNoImage | Outcome::CannotStart | Outcome::Approved | Outcome::Rejected => 0,
        }
    }

    /// Whether the step completes in a plan without disturbances.
    pub fn completes(self) -> bool {
        let ends_well = || self.outcome(self.starts()) == Outcome::Completes;
        self.outcome == Outcome::Approved || self.starts() > 0 && ends_well()
    }
}

/// The random choices for one step: its dependencies, its result and its retries.
type StepDice = (u16, u8, u8);

/// Scenarios with time limits of a few seconds, and with `failFast`.
pub fn limited() -> impl Strategy<Value = Scenario> {
    let limit = || prop::option::weighted(0.3, 1..60_u64);
    let steps = prop::collection::vec(limit(), 1..8);
    let limits = (steps, limit(), limit(), any::<bool>());
    (scenario(), limits).prop_map(|(mut scenario, (steps, plan, pending, fail_fast))| {
        let seconds = |limit: u64| std::time::Duration::from_secs(limit).into();
        let spec = &mut scenario.workplan.spec;
        spec.timeout = plan.map(seconds);
        spec.pending_timeout = pending.map(seconds);
        spec.fail_fast = fail_fast;
        let created = "2026-01-01T00:00:00Z".parse().unwrap();
        scenario.workplan.metadata.creation_timestamp = Some(Time(created));
        let spec = &mut scenario.workplan.spec;
        let mut limits = steps.into_iter().cycle();
        for task in &mut spec.tasks {
            let shares = task.parallel_steps.len() > 1 && spec.order != Order::Relay;
            let parallel = task.parallel_steps.iter_mut().filter(|_| !shares);
            for step in task.serial_steps.iter_mut().chain(parallel) {
                step.timeout = limits.next().flatten().map(seconds);
            }
        }
        scenario
    })
}

pub fn scenario() -> impl Strategy<Value = Scenario> {
    let steps = || prop::collection::vec(any::<StepDice>(), 0..4);
    let task = (steps(), steps());
    let tasks = prop::collection::vec(task, 1..5);
    let order = prop::sample::select(&[Order::Linear, Order::Graph, Order::Relay]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let kinds = prop::collection::vec(any::<u8>(), 0..24);
    (tasks, order, flags, kinds).prop_map(|(tasks, order, flags, kinds)| {
        let max_parallel = max_parallel(&kinds);
        let (reversed, empty_dir, has_sidecar) = flags;
        let mut scenario = match order {
            Order::Relay => relay(&tasks, reversed),
            Order::Linear | Order::Graph => build(&tasks, order, reversed),
        };
        add_kinds(&mut scenario, &kinds);
        add_finally(&mut scenario, &kinds);
        add_approvals(&mut scenario, &kinds);
        add_conditions(&mut scenario, &conditions(&kinds));
        scenario.has_sidecar = has_sidecar;
        let spec = &mut scenario.workplan.spec;
        let wide = |task: &Task| u16::try_from(task.parallel_steps.len()).unwrap();
        let widest = spec.tasks.iter().map(wide).max().unwrap();
        spec.max_parallel = NonZeroU16::new(match order {
            Order::Linear | Order::Graph if max_parallel > 0 => max_parallel.max(widest),
            _ => max_parallel,
        });
        scenario.workplan.spec.workspace = Workspace::HostPath { keep: keep(&kinds) };
        with_folder(scenario, empty_dir)
    })
}

/// Up to 5, or 0 without a limit. It takes no random numbers, so that earlier failures are found again.
fn max_parallel(dice: &[u8]) -> u16 {
    u16::from(dice.iter().fold(0, |sum: u8, dice| sum.wrapping_add(*dice)) % 6)
}

/// Every third folder is kept for some time. It takes no random numbers, as `max_parallel`.
fn keep(dice: &[u8]) -> Option<Keep> {
    let on = if dice.len().is_multiple_of(2) {
        KeepOn::Always
    } else {
        KeepOn::Failure
    };
    let duration = std::time::Duration::from_mins(30).into();
    dice.len()
        .is_multiple_of(3)
        .then_some(Keep { on, duration })
}

/// The random numbers for conditions, of half of the plans. It takes none of its own, so that earlier failures are found
/// again.
fn conditions(dice: &[u8]) -> Vec<u8> {
    let has_conditions = dice.iter().any(|dice| dice.is_multiple_of(3));
    let dice = dice.iter().rev().filter(|_| has_conditions);
    dice.map(|dice| dice.wrapping_mul(77)).collect()
}

/// Removes expressions that need the exit code of a step that may have none, or that of an approval or its outputs.
fn without_uncertain_values(step: &mut Step, fates: &Fates) {
    let outcomes: Vec<Outcome> = named(step).iter().map(|it| fates[it].outcome).collect();
    let runs = |outcome: &Outcome| !matches!(outcome, Outcome::Approved | Outcome::Rejected);
    let has_code = |outcome: &Outcome| matches!(outcome, Outcome::Completes | Outcome::Fails);
    let when = step.when.clone().unwrap_or_default();
    let needs_run = when.contains("exitCode") || when.contains("outputs");
    let needs_code = when.ends_with("exitCode == 0");
    if needs_run && !outcomes.iter().all(runs) || needs_code && !outcomes.iter().all(has_code) {
        step.when = None;
    }
    if step.approval.is_some() || !outcomes.iter().all(runs) {
        step.env.clear();
    }
}

/// Gives steps conditions and expressions, where the plan is then valid.
fn add_conditions(scenario: &mut Scenario, dice: &[u8]) {
    let spec = &mut scenario.workplan.spec;
    let mut dice = dice.iter();
    for task in 0..spec.tasks.len() {
        for list in [0, 1] {
            let mut at = 0;
            while let Some(step) = listed(spec, task, list).get_mut(at) {
                let before = step.clone();
                let dice: Vec<u8> = dice.next().copied().into_iter().collect();
                with_conditions(std::slice::from_mut(step), &dice);
                without_uncertain_values(step, &scenario.fates);
                if validate(spec).is_err() {
                    listed(spec, task, list)[at] = before;
                }
                at += 1;
            }
        }
    }
}

fn listed(spec: &mut WorkplanSpec, task: usize, list: usize) -> &mut [Step] {
    let task = &mut spec.tasks[task];
    match list {
        0 => &mut task.serial_steps,
        _ => &mut task.parallel_steps,
    }
}

/// The same steps as they are compiled for either execution.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub steps: Vec<Step>,
    pub pods: Scenario,
    pub relay: Scenario,
}

pub fn compiled() -> impl Strategy<Value = Compiled> {
    let dice = prop::collection::vec((any::<StepDice>(), 0..12_u8), 1..9);
    let kinds = prop::collection::vec(any::<u8>(), 0..9);
    (dice, any::<bool>(), 1..9_usize, any::<bool>(), kinds).prop_map(
        |(dice, reversed, containers, empty_dir, kinds)| {
            let mut fates = Fates::new();
            let mut steps: Vec<Step> = Vec::new();
            for (dice, kind) in dice {
                let before: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
                let mut step = build_step(dice, &before, &mut fates);
                step.isolate = kind == 0;
                if kind != 1 {
                    step.commands = vec!["run".into()];
                }
                if kind == 2 {
                    let fate = fates.get_mut(&step.name).unwrap();
                    make_approval(&mut step, fate);
                }
                steps.push(step);
            }
            with_kinds(&mut steps, &kinds);
            with_conditions(&mut steps, &conditions(&kinds));
            for step in &mut steps {
                without_uncertain_values(step, &fates);
            }
            if steps.iter().any(goes_on_after_failure) {
                // In a relay pod nobody observes that a container has not started.
                for fate in fates.values_mut() {
                    fate.outcome.start();
                }
            }
            let mut finally = split_finally(&mut steps, &kinds);
            if reversed {
                steps.reverse();
                finally.reverse();
            }
            let max_parallel = NonZeroU16::new(max_parallel(&kinds));
            let scenario = |execution| {
                let workflow = WorkflowSpec {
                    steps: steps.clone(),
                    finally: finally.clone(),
                    execution: Some(execution),
                    max_parallel,
                    ..WorkflowSpec::default()
                };
                let settings = Settings {
                    containers: containers.try_into().unwrap(),
                    ..Settings::default()
                };
                let plan = compile_workflow(&workflow, &settings).unwrap();
                let mut scenario = scenario_of(plan.order, plan.tasks, fates.clone());
                let spec = &mut scenario.workplan.spec;
                (spec.finally, spec.max_parallel) = (plan.finally, max_parallel);
                with_folder(scenario, empty_dir)
            };
            Compiled {
                pods: scenario(Execution::Pods),
                relay: scenario(Execution::Relay),
                steps: with_edges(&steps, finally),
            }
        },
    )
}

/// Takes some of the last steps, which become final.
fn split_finally(steps: &mut Vec<Step>, dice: &[u8]) -> Vec<Step> {
    let count = usize::from(dice.first().copied().unwrap_or_default()) % 4;
    let finally = steps.split_off(steps.len().saturating_sub(count).max(1));
    let names: Vec<String> = finally.iter().map(|step| step.name.clone()).collect();
    finally
        .into_iter()
        .map(|mut step| {
            without_mixed_edges(&mut step, &names);
            step
        })
        .collect()
}

/// All steps, each final one with the edges that it has by being final.
fn with_edges(steps: &[Step], finally: Vec<Step>) -> Vec<Step> {
    let names: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
    let finally = finally.into_iter().map(|mut step| {
        step.after.extend(names.clone());
        step
    });
    steps.iter().cloned().chain(finally).collect()
}

impl Outcome {
    fn start(&mut self) {
        if matches!(self, Self::HasNoImage | Self::CannotStart) {
            *self = Self::Fails;
        }
    }
}

fn goes_on_after_failure(step: &Step) -> bool {
    step.allow_failure || !step.on_failure.is_empty() || !step.after.is_empty()
}

/// Makes edges ones of other kinds, where the plan is then valid.
fn add_kinds(scenario: &mut Scenario, dice: &[u8]) {
    let mut spec = scenario.workplan.spec.clone();
    let mut steps: Vec<Step> = spec.tasks.iter().flat_map(Task::steps).cloned().collect();
    with_kinds(&mut steps, dice);
    let mut steps = steps.into_iter();
    for task in &mut spec.tasks {
        let written = task.serial_steps.iter_mut().chain(&mut task.parallel_steps);
        written
            .zip(&mut steps)
            .for_each(|(step, changed)| *step = changed);
    }
    if validate(&spec).is_ok() {
        scenario.workplan.spec = spec;
    }
}

/// Makes the last steps final, where the plan is then valid. It takes no random numbers, as [`max_parallel`].
fn add_finally(scenario: &mut Scenario, dice: &[u8]) {
    let sum = usize::from(dice.iter().fold(0, |sum: u8, dice| sum.wrapping_add(*dice)) / 6);
    let spec = &scenario.workplan.spec;
    let last_steps = (scenario.fates.len().saturating_sub(sum % 5)..scenario.fates.len()).map(name);
    let last_task = spec.tasks.iter().max_by_key(|task| {
        let numbers = task.steps().map(|step| step.name[1..].parse::<usize>());
        numbers.flatten().max()
    });
    let last_task = last_task.into_iter().flat_map(Task::steps);
    let last_task = last_task.map(|step| step.name.clone());
    let candidates: [Vec<String>; 2] = [last_steps.collect(), last_task.collect()];
    for finally in candidates.into_iter().filter(|_| sum % 5 > 0) {
        let mut spec = scenario.workplan.spec.clone();
        for task in &mut spec.tasks {
            for step in task.serial_steps.iter_mut().chain(&mut task.parallel_steps) {
                without_mixed_edges(step, &finally);
            }
        }
        spec.finally = finally;
        if validate(&spec).is_ok() {
            scenario.workplan.spec = spec;
            return;
        }
    }
}

fn name(number: usize) -> String {
    format!("s{number}")
}

/// Leaves out the edges between final steps and others.
fn without_mixed_edges(step: &mut Step, finally: &[String]) {
    let is_final = finally.contains(&step.name);
    for edges in [&mut step.dependency, &mut step.on_failure, &mut step.after] {
        edges.retain(|from| finally.contains(from) == is_final);
    }
}

fn scenario_of(order: Order, tasks: Vec<Task>, fates: Fates) -> Scenario {
    let mut workplan = workplan(order, &[]);
    workplan.spec.tasks = tasks;
    Scenario {
        workplan,
        fates,
        has_sidecar: false,
    }
}

/// A plan of one pod may have its folder there.
fn with_folder(mut scenario: Scenario, empty_dir: bool) -> Scenario {
    if empty_dir && scenario.workplan.spec.tasks.len() == 1 {
        scenario.workplan.spec.workspace = Workspace::EmptyDir;
        scenario.workplan.finalizers_mut().clear();
        // A new pod has an empty folder, so it depends on the order of events whether there is one.
        let task = &mut scenario.workplan.spec.tasks[0];
        for step in task.serial_steps.iter_mut().chain(&mut task.parallel_steps) {
            step.retry = None;
        }
        for fate in scenario.fates.values_mut() {
            (fate.limit, fate.losses) = (0, 0);
        }
    }
    scenario
}

/// Tasks of steps that may depend on any before them, with containers in any order.
fn relay(dice: &[(Vec<StepDice>, Vec<StepDice>)], reversed: bool) -> Scenario {
    let mut fates = Fates::new();
    let mut before: Vec<String> = Vec::new();
    let mut tasks = Vec::new();
    for (some, others) in dice {
        let mut task = Task::default();
        let dice: Vec<StepDice> = some.iter().chain(others).copied().collect();
        for dice in if dice.is_empty() {
            vec![(0, 0, 0)]
        } else {
            dice
        } {
            let mut step = build_step(dice, &before, &mut fates);
            step.commands = vec!["run".into()];
            before.push(step.name.clone());
            task.parallel_steps.push(step);
        }
        if reversed {
            task.parallel_steps.reverse();
        }
        tasks.push(task);
    }
    if reversed {
        tasks.reverse();
    }
    scenario_of(Order::Relay, tasks, fates)
}

fn build(dice: &[(Vec<StepDice>, Vec<StepDice>)], order: Order, reversed: bool) -> Scenario {
    let mut fates = Fates::new();
    let mut before: Vec<String> = Vec::new();
    let mut tasks = Vec::new();
    for (serial, parallel) in dice {
        let mut task = Task::default();
        for dice in serial {
            let step = build_step(*dice, &before, &mut fates);
            before.push(step.name.clone());
            task.serial_steps.push(step);
        }
        for dice in parallel {
            task.parallel_steps
                .push(build_step(*dice, &before, &mut fates));
        }
        if task.steps().next().is_none() {
            task.parallel_steps
                .push(build_step((0, 0, 0), &before, &mut fates));
        }
        before.extend(task.parallel_steps.iter().map(|step| step.name.clone()));
        tasks.push(task);
    }
    if order == Order::Graph && reversed {
        tasks.reverse();
    }
    scenario_of(order, tasks, fates)
}

fn build_step((needs, end, retries): StepDice, before: &[String], fates: &mut Fates) -> Step {
    let mut step = step(&name(fates.len()));
    let needs = before
        .iter()
        .rev()
        .enumerate()
        .filter(|(at, _)| *at < 16 && needs >> at & 1 == 1 && needs & 0x8000 != 0);
    step.dependency = needs.map(|(_, name)| name.clone()).collect();
    let outcome = match end {
        0..200 => Outcome::Completes,
        200..220 => Outcome::Fails,
        220..232 => Outcome::HasNoImage,
        232..244 => Outcome::CannotStart,
        244.. => Outcome::IsKilled,
    };
    step.retry = retries.is_multiple_of(3).then(|| retry(retries / 3));
    let is_listed = |retry: &&Retry| match outcome {
        Outcome::IsKilled => retry.on.contains(&RetryOn::OomKilled),
        _ => retry.on.contains(&RetryOn::Failure),
    };
    let retry = step.retry.as_ref().filter(is_listed);
    let repeats_losses = |retry: &&Retry| retry.on.contains(&RetryOn::Infrastructure);
    let losses = step.retry.as_ref().filter(repeats_losses);
    let fate = Fate {
        outcome,
        recovers_after: 1 + usize::from(retries / 16) % 3,
        limit: retry.map_or(0, |retry| retry.limit as usize),
        losses: losses.map_or(0, |retry| retry.limit as usize),
    };
    fates.insert(step.name.clone(), fate);
    step
}

fn retry(dice: u8) -> Retry {
    const FAILURES: [RetryOn; 3] = [
        RetryOn::Infrastructure,
        RetryOn::OomKilled,
        RetryOn::Failure,
    ];
    let initial = Duration::from(std::time::Duration::from_secs(20));
    Retry {
        limit: 1 + u32::from(dice) % 3,
        backoff: dice.is_multiple_of(2).then(|| Backoff {
            initial: Some(initial),
            ..Backoff::default()
        }),
        on: FAILURES[usize::from(dice.is_multiple_of(4))..].to_vec(),
        exit_codes: Vec::new(),
    }
}
