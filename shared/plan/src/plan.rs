use std::num::NonZeroUsize;
use std::ops::Range;

use fixedbitset::FixedBitSet;

use crate::contradiction::{Contradiction, contradictions, needed};
use crate::cycles::Cycle;
use crate::edge::{Edge, EdgeKind, NamedEdge, Outcome};
use crate::error::{PlanError, ResolveError};
use crate::expressions::{ExpressionTexts, Expressions};
use crate::graph::{Graph, topological};
use crate::names::StepNames;
use crate::readiness::{Readiness, readiness};
use crate::retry::RetryPolicy;

/// How the tasks of a plan follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Each task starts when the one before has ended.
    Linear,
    /// A task starts when the steps outside it that its own steps wait for have ended.
    Graph,
    /// As `Graph`; inside a task each step starts by the edges to it.
    Relay,
}

impl Order {
    /// Whether the steps of a task of so many steps start each other. A single step has no other.
    #[must_use]
    pub fn is_relay(self, steps: usize) -> bool {
        self == Self::Relay && steps > 1
    }
}

/// A step as it is written.
#[derive(Clone, Debug)]
pub struct StepSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// The edges to it.
    pub edges: Vec<NamedEdge<&'a str>>,
    /// When it is attempted again after it has failed; never if absent.
    pub retry: Option<RetryPolicy>,
    /// Whether its failure counts as success for the steps that depend on it, and for the plan.
    pub allow_failure: bool,
    /// Its condition, and the expressions of its environment variables.
    pub expressions: ExpressionTexts<'a>,
    /// Whether it starts when all steps that are not final have ended, in whatever way.
    pub is_final: bool,
    /// Whether it waits for a user, and nothing runs.
    pub is_approval: bool,
}

/// A task as it is written.
#[derive(Clone, Debug)]
pub struct TaskSpec<'a> {
    /// Steps that run one after the other.
    pub serial: Vec<StepSpec<'a>>,
    /// Steps that start after the serial ones.
    pub parallel: Vec<StepSpec<'a>>,
}

/// The steps of a Workplan and the tasks that they are in. It can run: all edges are resolved, and no steps and no
/// tasks wait for each other.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// How the tasks follow each other.
    pub order: Order,
    /// The maximum number of steps that run at the same time; `None` without a limit.
    pub max_parallel: Option<NonZeroUsize>,
    /// The steps through all tasks, the serial ones of each task first.
    pub steps: Vec<PlanStep<'a>>,
    /// The steps of each task.
    pub tasks: Vec<Range<usize>>,
}

/// A step of a plan.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each alone or with others
pub struct PlanStep<'a> {
    /// Its name.
    pub name: &'a str,
    /// The task that it is in.
    pub task: usize,
    /// Whether it is a serial step of that task.
    pub serial: bool,
    /// Whether its failure counts as success for the plan. For other steps the kinds of their edges say so.
    pub allow_failure: bool,
    /// Whether it starts when all steps that are not final have ended, in whatever way.
    pub is_final: bool,
    /// Whether it waits for a user, and nothing runs. It is the only step of its task.
    pub is_approval: bool,
    /// The edges to it, by the step that they come from, each once. A final step has edges from steps that are not final,
    /// too, unless others imply them.
    pub edges: Vec<Edge>,
    /// When it is attempted again after it has failed; never if absent.
    pub retry: Option<RetryPolicy>,
    /// Its condition, and the expressions of its environment variables.
    pub expressions: Expressions<'a>,
}

impl<'a> Plan<'a> {
    /// Validates tasks.
    ///
    /// # Errors
    /// The first reason why they cannot run: names first, then the edges to each step and its expressions, then cycles.
    pub fn new(
        order: Order,
        tasks: impl IntoIterator<Item = TaskSpec<'a>>,
    ) -> Result<Self, PlanError> {
        let mut plan = Self {
            order,
            max_parallel: None,
            steps: Vec::new(),
            tasks: Vec::new(),
        };
        let mut written = Vec::new();
        for task in tasks {
            let start = plan.steps.len();
            plan.push(&task);
            plan.tasks.push(start..plan.steps.len());
            written.extend(task.serial.into_iter().chain(task.parallel));
        }
        let names = plan.names()?;
        plan.refuse_shared_approvals()?;
        for (step, written) in written.into_iter().enumerate() {
            plan.steps[step].edges = plan.edges_to(step, &written.edges, &names)?;
            plan.steps[step].expressions = plan.expressions_of(step, &written.expressions)?;
            plan.steps[step].retry = written.retry;
        }
        plan.add_final_edges()?;
        plan.refuse_cycles()?;
        plan.refuse_contradictions()?;
        Ok(plan)
    }

    fn push(&mut self, written: &TaskSpec<'a>) {
        let task = self.tasks.len();
        let serial = written.serial.iter().map(|step| (step, true));
        let parallel = written.parallel.iter().map(|step| (step, false));
        let steps = serial.chain(parallel).map(|(step, serial)| PlanStep {
            name: step.name,
            task,
            serial,
            allow_failure: step.allow_failure,
            is_final: step.is_final,
            is_approval: step.is_approval,
            edges: Vec::new(),
            retry: None,
            expressions: Expressions::default(),
        });
        self.steps.extend(steps);
    }

    fn names(&self) -> Result<StepNames<'a>, PlanError> {
        let names: StepNames = self.steps.iter().map(|step| step.name).collect();
        let first = |step| Some((step, names.first_of_same_name(step)?));
        if let Some((step, first)) = (0..self.steps.len()).find_map(first) {
            return Err(PlanError::DuplicateName { step, first });
        }
        let steps = 0..self.steps.len();
        Ok(names.allowing_failure(steps.filter(|&it| self.steps[it].allow_failure)))
    }

    fn refuse_shared_approvals(&self) -> Result<(), PlanError> {
        let shares = |step: &PlanStep| step.is_approval && self.tasks[step.task].len() > 1;
        match self.steps.iter().position(shares) {
            Some(step) => Err(PlanError::ApprovalInTask { step }),
            None => Ok(()),
        }
    }

    fn edges_to(
        &self,
        step: usize,
        written: &[NamedEdge<&str>],
        names: &StepNames,
    ) -> Result<Vec<Edge>, PlanError> {
        if self.order == Order::Relay && self.steps[step].serial {
            return Err(PlanError::SerialInRelay { step });
        }
        if self.steps[step].allow_failure && self.failure_ends_task(step) {
            return Err(PlanError::AllowedFailureEndsTask { step });
        }
        let mut edges = Vec::with_capacity(written.len());
        let resolved = names.resolve(step, written.iter().copied());
        for (position, resolved) in resolved.enumerate() {
            let edge = position;
            match resolved {
                Ok(resolved) => {
                    self.refuse_mixed(resolved, edge)?;
                    self.refuse_late(resolved, edge)?;
                    edges.push(resolved);
                }
                Err(ResolveError::Unknown) => return Err(PlanError::UnknownStep { step, edge }),
                Err(ResolveError::ToItself) => return Err(PlanError::EdgeToItself { step, edge }),
                Err(ResolveError::FailureAllowed) => {
                    return Err(PlanError::FailureAllowed { step, edge });
                }
                Err(ResolveError::Repeated { .. }) => {}
            }
        }
        edges.sort_unstable();
        Ok(edges)
    }

    /// Whether a final step may name a step because that is not final.
    fn is_main_of_final(&self, step: usize, name: &str) -> bool {
        let mut steps = self.steps.iter();
        self.steps[step].is_final && steps.any(|other| other.name == name && !other.is_final)
    }

    /// The expressions of a step, which name only steps that it waits for. Outside a relay these are steps of other
    /// tasks, because the values are known when the pod is created.
    fn expressions_of(
        &self,
        step: usize,
        written: &ExpressionTexts<'a>,
    ) -> Result<Expressions<'a>, PlanError> {
        let parsed = Expressions::parse(written)
            .map_err(|invalid| PlanError::InvalidExpressions { step, invalid })?;
        for (field, expression) in parsed.all() {
            for named in expression.steps() {
                if self.is_main_of_final(step, named) {
                    continue;
                }
                let mut edges = self.steps[step].edges.iter();
                match edges.find(|edge| self.steps[edge.from].name == named) {
                    Some(edge) if self.is_known_too_late(edge) => {
                        let named = edge.from;
                        return Err(PlanError::NamedInTask { step, field, named });
                    }
                    Some(_) => {}
                    None => {
                        let named = named.to_owned();
                        return Err(PlanError::NamedWithoutEdge { step, field, named });
                    }
                }
            }
        }
        Ok(parsed)
    }

    fn is_known_too_late(&self, edge: &Edge) -> bool {
        let (from, to) = (&self.steps[edge.from], &self.steps[edge.to]);
        from.task == to.task && !self.is_relay(to.task)
    }

    /// In a task only serial steps end before others start, unless it is a relay. In `Linear` order no task waits
    /// for a later one.
    fn refuse_late(&self, edge: Edge, position: usize) -> Result<(), PlanError> {
        let Edge { from, to: step, .. } = edge;
        let edge = position;
        if !self.ends_before_in_task(from, step) {
            return Err(PlanError::NotEarlierInTask { step, edge, from });
        }
        if self.is_in_later_task(from, step) {
            return Err(PlanError::InLaterTask { step, edge, from });
        }
        Ok(())
    }

    /// Whether a step of the same task can wait for a step. Steps of different tasks can.
    pub(crate) fn ends_before_in_task(&self, from: usize, step: usize) -> bool {
        let (earlier, later) = (&self.steps[from], &self.steps[step]);
        let ends_before = self.is_relay(later.task) || earlier.serial && from < step;
        earlier.task != later.task || ends_before
    }

    /// Whether a step is in a task that only starts after that of another step has ended.
    pub(crate) fn is_in_later_task(&self, from: usize, step: usize) -> bool {
        self.order == Order::Linear && self.steps[from].task > self.steps[step].task
    }

    /// Whether a step is serial and not the last of its task: where it fails, its pod ends without the steps after it.
    fn failure_ends_task(&self, step: usize) -> bool {
        let steps = &self.tasks[self.steps[step].task];
        self.steps[step].serial && step + 1 < steps.end
    }

    fn refuse_contradictions(&self) -> Result<(), PlanError> {
        let edges: Vec<Edge> = self.edges().collect();
        if edges.iter().all(|edge| edge.kind == EdgeKind::OnSuccess) {
            return Ok(());
        }
        let mut predecessors = vec![Vec::new(); self.steps.len()];
        for edge in &edges {
            predecessors[edge.to].push(edge.from);
        }
        let order = topological(&predecessors).unwrap_or_default();
        if let Some(&Contradiction { step, of }) = contradictions(&order, &edges).first() {
            return Err(PlanError::NeverStarts { step, of });
        }
        let needed = needed(&order, &edges);
        let is_lost = |edge: &&Edge| {
            let (from, to) = (&self.steps[edge.from], &self.steps[edge.to]);
            from.serial && from.task == to.task && !needed[edge.to].completed.contains(edge.from)
        };
        match edges.iter().find(is_lost) {
            Some(&Edge { from, to: step, .. }) => Err(PlanError::FailureEndsTask { step, from }),
            None => Ok(()),
        }
    }

    /// The steps as a graph; without edges if they wait for each other.
    pub(crate) fn graph(&self) -> Graph {
        let has_condition = |step: usize| self.steps[step].expressions.when.is_some();
        let graph = Graph::of_steps(self.steps.len(), self.edges(), has_condition);
        graph.unwrap_or_else(|_| Graph::without_edges(self.steps.len()))
    }

    /// The edges to all steps.
    pub(crate) fn edges(&self) -> impl Iterator<Item = Edge> {
        self.steps.iter().flat_map(|step| &step.edges).copied()
    }

    /// Steps of different tasks can only wait for each other if their tasks do.
    fn refuse_cycles(&self) -> Result<(), PlanError> {
        let steps = topological(&self.predecessors_in_task());
        steps.map_err(|cycles| PlanError::StepCycle(first(cycles)))?;
        if self.order != Order::Linear {
            let tasks = topological(&self.predecessors_of_tasks());
            tasks.map_err(|cycles| PlanError::TaskCycle(first(cycles)))?;
        }
        Ok(())
    }

    /// For each step those of its own task that it waits for.
    pub(crate) fn predecessors_in_task(&self) -> Vec<Vec<usize>> {
        let of_step = |step: &PlanStep| {
            let steps = step.edges.iter().map(|edge| edge.from);
            steps
                .filter(|&from| self.steps[from].task == step.task)
                .collect()
        };
        self.steps.iter().map(of_step).collect()
    }

    /// For each task the other ones that its steps wait for.
    pub(crate) fn predecessors_of_tasks(&self) -> Vec<Vec<usize>> {
        let of_task = |task: usize| {
            let steps = self.steps_waited_for(task);
            let mut tasks: Vec<usize> = steps.ones().map(|step| self.steps[step].task).collect();
            tasks.sort_unstable();
            tasks.dedup();
            tasks
        };
        (0..self.tasks.len()).map(of_task).collect()
    }

    /// The steps outside a task that its own wait for.
    pub(crate) fn steps_waited_for(&self, task: usize) -> FixedBitSet {
        let own = self.tasks[task].clone();
        let mut steps = FixedBitSet::with_capacity(self.steps.len());
        let edges = self.steps[own.clone()].iter().flat_map(|it| &it.edges);
        steps.extend(edges.map(|edge| edge.from));
        steps.remove_range(own);
        steps
    }

    /// Whether the steps of a task start each other inside their pod.
    #[must_use]
    pub fn is_relay(&self, task: usize) -> bool {
        let steps = self.tasks.get(task).map_or(0, ExactSizeIterator::len);
        self.order.is_relay(steps)
    }

    /// Whether the step of a task waits for a user. Such a task runs nothing.
    #[must_use]
    pub fn is_approval(&self, task: usize) -> bool {
        let steps = self.tasks.get(task).cloned().unwrap_or_default();
        self.steps[steps].iter().any(|step| step.is_approval)
    }

    /// What a step that has not started does next, given how others ended. One that is skipped names the position
    /// of the broken edge among the edges to it.
    pub fn readiness(&self, step: usize, outcome: impl Fn(usize) -> Option<Outcome>) -> Readiness {
        let edges = self.steps[step].edges.iter();
        let by_edges = readiness(edges.map(|edge| (edge.kind, outcome(edge.from))));
        // In a plan that is ended early, steps are skipped in any order.
        let has_ended = |step| outcome(step).is_some();
        match by_edges {
            Readiness::Start if self.steps[step].is_final && !self.main_have_ended(has_ended) => {
                Readiness::Wait
            }
            other => other,
        }
    }

    /// Whether all that a task waits for has ended.
    pub fn task_may_start(&self, task: usize, has_ended: impl Fn(usize) -> bool) -> bool {
        let steps = self.tasks[task].clone();
        if self.order == Order::Linear {
            return (0..steps.start).all(has_ended);
        }
        let mut open = steps.clone().filter(|&step| !has_ended(step));
        let is_in_task_or_ended = |step: usize| steps.contains(&step) || has_ended(step);
        open.all(|step| {
            let mut edges = self.steps[step].edges.iter();
            edges.all(|edge| is_in_task_or_ended(edge.from))
                && (!self.steps[step].is_final || self.main_have_ended(is_in_task_or_ended))
        })
    }
}

fn first(cycles: Vec<Cycle>) -> Cycle {
    cycles.into_iter().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Tasks in short: `"a | b:a c!:a.failed,x"` has the serial step `a` and two parallel ones with edges, of
    /// which one may fail. `a?` is an approval.
    fn plan<'a>(order: Order, tasks: &[&'a str]) -> Result<Plan<'a>, PlanError> {
        let step = |text: &'a str| {
            let (name, edges) = text.split_once(':').unwrap_or((text, ""));
            let edges = edges.split(',').filter(|name| !name.is_empty());
            let (allowed, approval) = (name.strip_suffix('!'), name.strip_suffix('?'));
            let name = allowed.or(approval).unwrap_or(name);
            StepSpec {
                name,
                edges: edges.map(NamedEdge::parse).collect(),
                retry: None,
                allow_failure: allowed.is_some(),
                expressions: ExpressionTexts::default(),
                is_final: name.starts_with(char::is_uppercase),
                is_approval: approval.is_some(),
            }
        };
        let steps = |text: &'a str| text.split_whitespace().map(step).collect();
        let task = |text: &&'a str| {
            let (serial, parallel) = text.split_once('|').unwrap_or((text, ""));
            TaskSpec {
                serial: steps(serial),
                parallel: steps(parallel),
            }
        };
        Plan::new(order, tasks.iter().map(task))
    }

    #[test]
    fn edges_are_sorted_each_once() {
        let plan = plan(Order::Linear, &["a | b", "c:b,a,b"]).unwrap();
        let from: Vec<usize> = plan.steps[2].edges.iter().map(|edge| edge.from).collect();
        assert_eq!(from, [0, 1]);
    }

    #[rstest]
    #[case::duplicate(Order::Graph, &["| a b", "| b"], PlanError::DuplicateName { step: 2, first: 1 })]
    #[case::serial(Order::Relay, &["a | b"], PlanError::SerialInRelay { step: 0 })]
    #[case::unknown(Order::Linear, &["a", "b:a,x"], PlanError::UnknownStep { step: 1, edge: 1 })]
    #[case::itself(Order::Linear, &["a:a"], PlanError::EdgeToItself { step: 0, edge: 0 })]
    #[case::sibling(Order::Graph, &["| a b:a"], PlanError::NotEarlierInTask { step: 1, edge: 0, from: 0 })]
    #[case::later_task(Order::Linear, &["a:b", "b"], PlanError::InLaterTask { step: 0, edge: 0, from: 1 })]
    #[case::allowed_failure(Order::Graph, &["a!", "b:a.failed"], PlanError::FailureAllowed { step: 1, edge: 0 })]
    #[case::ended_pod(Order::Graph, &["a | b:a.ended"], PlanError::FailureEndsTask { step: 1, from: 0 })]
    #[case::ended_pod_by_failure(Order::Linear, &["a b:a.failed"], PlanError::FailureEndsTask { step: 1, from: 0 })]
    #[case::allowed_in_chain(Order::Linear, &["a! | b"], PlanError::AllowedFailureEndsTask { step: 0 })]
    #[case::never(Order::Relay, &["| a b:a c:b,a.failed"], PlanError::NeverStarts { step: 2, of: 0 })]
    #[case::steps(Order::Relay, &["| a b:c c:b"], PlanError::StepCycle(vec![1, 2]))]
    #[case::tasks(Order::Graph, &["a", "| b c:d", "d:b"], PlanError::TaskCycle(vec![1, 2]))]
    fn invalid_tasks_are_refused(
        #[case] order: Order,
        #[case] tasks: &[&str],
        #[case] expected: PlanError,
    ) {
        assert_eq!(plan(order, tasks).unwrap_err(), expected);
    }

    #[test]
    fn dependency_on_allowed_failure_needs_run() {
        let plan = plan(Order::Graph, &["a!", "b:a c:a.ended"]).unwrap();
        let kinds: Vec<_> = plan.edges().map(|edge| edge.kind).collect();
        assert_eq!(kinds, [EdgeKind::OnRun, EdgeKind::OnEnd]);
    }

    #[rstest]
    #[case::linear(Order::Linear, &[], false)]
    #[case::linear_in_turn(Order::Linear, &["a", "b"], true)]
    #[case::graph(Order::Graph, &["b"], false)]
    #[case::graph_at_once(Order::Graph, &["a"], true)]
    #[case::graph_with_ended_steps(Order::Graph, &["d"], true)]
    fn task_starts_after_what_it_waits_for(
        #[case] order: Order,
        #[case] ended: &[&str],
        #[case] expected: bool,
    ) {
        let plan = plan(order, &["| a", "| b", "c | d:a"]).unwrap();
        let has_ended = |step: usize| ended.contains(&plan.steps[step].name);
        assert_eq!(plan.task_may_start(2, has_ended), expected);
    }
}
