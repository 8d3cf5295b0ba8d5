use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;

use jiff::Timestamp;
use kubeci_api::{StepPhase, StepStatus};
use kubeci_expression::Context;
use kubeci_plan::{BrokenEdge, Edge, NamedEdge, Plan, Readiness};

use crate::expressions::{Turn, Verdict};
use crate::finals::WAITS_FOR_MAIN_STEPS;
use crate::halt::Halt;
use crate::observation::{Lost, Observation, PlanObservation, Standby, TaskObservation};
use crate::retry::RetryRules;
use crate::step::{Edges, Step, StepReadiness};
use crate::waiting::Waiting;

/// The steps of a plan.
#[derive(Clone, Debug)]
#[allow(clippy::struct_field_names)] // a plan's steps, beside the plan
pub struct Steps<'a> {
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) steps: Vec<Step>,
    /// Why the plan ends before all its steps have ended. It does not concern the final steps.
    pub(crate) halt: Option<Halt>,
    /// What expressions name besides steps.
    pub(crate) values: Context,
    /// For each step what its expressions decide, once they were evaluated.
    pub(crate) verdicts: Vec<OnceLock<Verdict>>,
    /// Why the final steps end.
    pub(crate) final_halt: Option<Halt>,
}

impl<'a> Steps<'a> {
    /// The steps of a plan as they were last recorded.
    #[must_use]
    pub fn read(plan: &'a Plan<'a>, recorded: &[StepStatus]) -> Self {
        let steps = plan.steps.iter().enumerate().map(|(at, step)| {
            let recorded = recorded.get(at).filter(|it| it.name == step.name);
            Step {
                allow_failure: step.allow_failure,
                is_final: step.is_final,
                ..Step::read(step.name, recorded)
            }
        });
        Self {
            plan,
            steps: steps.collect(),
            halt: None,
            values: Context::new(),
            verdicts: vec![OnceLock::new(); plan.steps.len()],
            final_halt: None,
        }
    }

    /// What is recorded of them.
    #[must_use]
    pub fn status(&self) -> Vec<StepStatus> {
        self.steps.iter().map(Step::status).collect()
    }

    /// All of them, in the plan's order.
    #[must_use]
    pub fn all(&self) -> &[Step] {
        &self.steps
    }

    /// Those of a task; none where there is no such task.
    #[must_use]
    pub fn of_task(&self, task: usize) -> &[Step] {
        let range = self.plan.tasks.get(task).cloned();
        range.map_or(&[], |range| &self.steps[range])
    }

    /// Whether a step of a task has not ended.
    #[must_use]
    pub fn is_open(&self, task: usize) -> bool {
        self.of_task(task).iter().any(Step::is_open)
    }

    /// Applies the observations to the steps, and repeats this until no step changes, because a step may depend on
    /// steps of later tasks. Returns why the plan waits.
    pub fn settle(&mut self, observed: &PlanObservation, now: Timestamp) -> Waiting {
        let phase = |step: &Step| (step.phase(), step.attempt_number());
        loop {
            let before: Vec<_> = self.steps.iter().map(phase).collect();
            let waiting = self.settle_once(observed, now);
            if self.steps.iter().map(phase).eq(before) {
                self.end_halt();
                return waiting;
            }
        }
    }

    fn settle_once(&mut self, observed: &PlanObservation, now: Timestamp) -> Waiting {
        let mut waiting = Waiting::default();
        let is_folder_in_executor = observed.is_folder_in_executor;
        let tasks = 0..self.plan.tasks.len();
        for (task, observed) in tasks.zip(&observed.tasks) {
            let rules = self.retry_rules(task, observed, is_folder_in_executor, now);
            self.observe_task(task, observed, &rules, &mut waiting);
        }
        if let Some(lost) = &observed.lost {
            self.lose(0..self.steps.len(), lost, &RetryRules::never(now));
        }
        if self.steps.iter().any(Step::is_open) {
            waiting.merge(&observed.waiting);
        }
        self.skip(observed, now, &mut waiting);
        for (range, observed) in self.plan.tasks.iter().zip(&observed.tasks) {
            // The steps that are left open start in the next executor, if there is one.
            let is_last = !self.has_left(range.clone(), observed.executor.as_deref());
            if let Some(cause) = observed.left_open.clone().filter(|_| is_last) {
                let lost = Lost { cause, ended: None };
                self.lose(range.clone(), &lost, &RetryRules::never(now));
            }
        }
        self.skip(observed, now, &mut waiting);
        self.apply_halt(observed, now);
        self.add_retries(&mut waiting, now);
        waiting
    }

    fn observe_task(
        &mut self,
        task: usize,
        observed: &TaskObservation,
        rules: &RetryRules,
        waiting: &mut Waiting,
    ) {
        let known = observed
            .steps
            .iter()
            .filter(|(at, _)| *at < self.steps.len());
        let mut open: Vec<&(usize, Observation)> = known.collect();
        // The end of a step may decide about the steps that depend on it.
        let mut before = usize::MAX;
        while open.len() < before {
            before = open.len();
            open.retain(|(at, observation)| {
                if self.has_left(*at..*at + 1, rules.executor) {
                    return false;
                }
                if let Some(cause) = self.unseen_end(task, *at, observed) {
                    let step_rules = self.rules_of(rules, *at);
                    self.steps[*at].fail_unseen(cause, &step_rules);
                    return false;
                }
                let observation = self.of_final(*at, observation, observed);
                let observation = self.in_time(*at, observation, rules);
                let edges = self.edges(*at);
                let rules = self.rules_of(rules, *at);
                self.steps[*at].observe(&observation, &edges, &rules);
                self.steps[*at].is_open()
            });
        }
        if !self.is_open(task) {
            return;
        }
        waiting.merge(&observed.waiting);
        for (at, observation) in open {
            self.add_waiting(*at, observation, waiting);
        }
        if let Some(lost) = &observed.lost {
            self.lose(self.plan.tasks[task].clone(), lost, rules);
        }
    }

    /// The observation of a step whose executor starts no other step, or not yet: it may start in the next executor.
    fn in_time<'o>(
        &self,
        at: usize,
        observation: Cow<'o, Observation>,
        rules: &RetryRules,
    ) -> Cow<'o, Observation> {
        let has_failed = |at: usize| {
            let step = self.steps.get(at);
            step.is_some_and(|step| step.phase() == StepPhase::Failed)
        };
        let starts_later = match observation.as_ref() {
            Observation::Excluded { by, .. } => !has_failed(*by),
            Observation::Postponed { .. } => {
                let task = self.plan.tasks[self.plan.steps[at].task].clone();
                self.has_left(task, rules.executor)
            }
            Observation::NotStarted { .. } | Observation::Skipped { .. } => {
                let task = self.plan.tasks[self.plan.steps[at].task].clone();
                self.readiness(at) == Readiness::Wait && self.has_left(task, rules.executor)
            }
            _ => false,
        };
        if !starts_later {
            return observation;
        }
        let message = String::new();
        match self.readiness(at) {
            Readiness::Wait => Cow::Owned(Observation::Standby(Standby::Down { message })),
            Readiness::Start | Readiness::Skip { .. } => Cow::Owned(Observation::Waiting),
        }
    }

    /// Adds the problem that prevents the start of an open step, if there is one.
    fn add_waiting(&self, at: usize, observation: &Observation, waiting: &mut Waiting) {
        let name = self.steps[at].name();
        match (observation, self.readiness(at)) {
            (Observation::Blocked { cause, until, .. }, _)
            | (Observation::Standby(Standby::Blocked { cause, until }), Readiness::Start) => {
                waiting.add_blocked(name, cause, *until);
            }
            (Observation::Standby(Standby::Blocked { cause, .. }), Readiness::Wait) => {
                waiting.add_blocked_later(name, &cause.sentence(None));
            }
            (
                Observation::NotStarted {
                    cause,
                    run,
                    came_up: false,
                },
                Readiness::Wait,
            ) => {
                waiting.add_blocked_later(name, &cause.sentence(run.exit_code));
            }
            _ => {}
        }
    }

    /// Loses the open steps of a range: steps that run or would start next fail, and the steps that depend on them are
    /// skipped. Steps that wait for open steps outside the range continue to wait, as do those that start again in
    /// another executor.
    fn lose(&mut self, range: Range<usize>, lost: &Lost, rules: &RetryRules) {
        for at in range.clone() {
            if self.steps[at].phase() == StepPhase::Running {
                let rules = self.rules_of(rules, at);
                self.steps[at].lose(&lost.of_step(&rules), &rules);
            }
        }
        let mut changed = true;
        while changed {
            changed = false;
            for at in range
                .clone()
                .filter(|&at| self.steps[at].is_open())
                .filter(|&at| !self.has_left(at..at + 1, rules.executor))
                .collect::<Vec<_>>()
            {
                match (self.turn(at), self.halt_of(at)) {
                    (Turn::Wait, _) => continue,
                    (Turn::Start, Some(halt)) => {
                        let message = halt.skipped();
                        self.steps[at].give_up(message);
                    }
                    (Turn::Start, None) => {
                        let rules = self.rules_of(rules, at);
                        self.steps[at].lose(&lost.of_step(&rules), &rules);
                    }
                    (Turn::Skip(message), _) => self.steps[at].give_up(message),
                    (Turn::Fail(cause), _) => {
                        self.steps[at].fail(cause, &RetryRules::never(rules.now));
                    }
                }
                changed = true;
            }
        }
    }

    /// Ends the steps that do not run, because an edge to them is broken or by their expressions, unless their executor
    /// does. One that is deadlocked still evaluates the expressions.
    fn skip(&mut self, observed: &PlanObservation, now: Timestamp, waiting: &mut Waiting) {
        let tasks = (0..self.plan.tasks.len()).zip(&observed.tasks);
        let goes_on = tasks
            .filter(|(task, observed)| !self.is_deadlocked(*task, observed, now, waiting))
            .flat_map(|(_, observed)| &observed.held);
        let held: BTreeSet<usize> = goes_on.copied().collect();
        let mut changed = true;
        while changed {
            changed = false;
            for at in (0..self.steps.len()).filter(|at| !held.contains(at)) {
                if self.steps[at].phase() != StepPhase::Pending {
                    continue;
                }
                let is_held = observed.tasks.iter().any(|task| task.held.contains(&at));
                match (self.turn(at), self.broken_edge(at)) {
                    (_, Some(message)) => self.steps[at].give_up(message),
                    (Turn::Skip(message), None) if !is_held => self.steps[at].give_up(message),
                    (Turn::Fail(cause), None) if !is_held => {
                        self.steps[at].fail(cause, &RetryRules::never(now));
                    }
                    _ => continue,
                }
                changed = true;
            }
        }
    }

    pub(crate) fn readiness(&self, at: usize) -> Readiness {
        self.plan.readiness(at, |from| self.steps[from].outcome())
    }

    fn edges(&self, at: usize) -> Edges {
        let edges = &self.plan.steps[at].edges;
        let readiness = match self.turn(at) {
            Turn::Start if self.awaits_tasks(at) => {
                StepReadiness::Wait("waiting for the tasks before it".into())
            }
            Turn::Start => StepReadiness::Start,
            Turn::Skip(message) => StepReadiness::Skip(message),
            Turn::Fail(cause) => StepReadiness::Fail(cause),
            Turn::Wait if self.plan.steps[at].is_final && self.has_open_main_step() => {
                StepReadiness::Wait(WAITS_FOR_MAIN_STEPS.into())
            }
            Turn::Wait => {
                let from = edges.iter().map(|edge| &self.steps[edge.from]);
                let open: Vec<&str> = from.filter(|it| it.is_open()).map(Step::name).collect();
                StepReadiness::Wait(format!("waiting for {}", open.join(", ")))
            }
        };
        let ends = edges.iter().map(|edge| self.steps[edge.from].ended_here());
        let main_ended = self.main_ended().filter(|_| self.plan.steps[at].is_final);
        let ends = ends.chain([main_ended]);
        Edges {
            readiness,
            ended: ends.max().flatten().max(self.slot_since(at)),
            slot: self.slot_message(at),
            halt: self.halt_of(at).cloned(),
        }
    }

    /// Why a step is skipped to which an edge is broken.
    pub(crate) fn broken_edge(&self, at: usize) -> Option<String> {
        match self.readiness(at) {
            Readiness::Skip { because } => Some(self.broken(self.plan.steps[at].edges[because])),
            Readiness::Start | Readiness::Wait => None,
        }
    }

    /// Why a step is skipped to which this edge is broken.
    pub(crate) fn broken(&self, edge: Edge) -> String {
        let from = self.steps[edge.from].name();
        let kind = edge.kind;
        BrokenEdge(NamedEdge { from, kind }).to_string()
    }
}
