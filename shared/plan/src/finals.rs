//! Final steps: they start when all other steps, the main ones, have ended.

use crate::edge::{Edge, EdgeKind};
use crate::error::PlanError;
use crate::graph::Graph;
use crate::plan::Plan;

impl Plan<'_> {
    /// Whether all steps that are not final have ended.
    pub fn main_have_ended(&self, has_ended: impl Fn(usize) -> bool) -> bool {
        self.main_steps().all(has_ended)
    }

    /// Whether the plan has final steps.
    #[must_use]
    pub fn has_final_steps(&self) -> bool {
        self.steps.iter().any(|step| step.is_final)
    }

    fn main_steps(&self) -> impl Iterator<Item = usize> {
        let steps = self.steps.iter().enumerate();
        steps.filter(|(_, step)| !step.is_final).map(|(at, _)| at)
    }

    /// An edge between steps of which one is final.
    pub(crate) fn refuse_mixed(&self, edge: Edge, position: usize) -> Result<(), PlanError> {
        let Edge { from, to: step, .. } = edge;
        let edge = position;
        match (self.steps[from].is_final, self.steps[step].is_final) {
            (true, false) => Err(PlanError::MainNeedsFinal { step, edge }),
            (false, true) => Err(PlanError::FinalNeedsMain { step, edge }),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Adds the edges from main steps to the final ones.
    pub(crate) fn add_final_edges(&mut self) -> Result<(), PlanError> {
        let steps = 0..self.steps.len();
        let finals: Vec<usize> = steps.filter(|&step| self.steps[step].is_final).collect();
        if finals.len() == self.steps.len() && !finals.is_empty() {
            return Err(PlanError::OnlyFinal);
        }
        self.refuse_early(&finals)?;
        let edges: Vec<Edge> = self.edges().collect();
        let has_condition = |step: usize| self.steps[step].expressions.when.is_some();
        let is_final = |step: usize| self.steps[step].is_final;
        let count = self.steps.len();
        for edge in final_edges(count, is_final, &edges, has_condition) {
            self.steps[edge.to].edges.push(edge);
        }
        Ok(())
    }

    /// A serial step that fails ends its pod, and parallel steps start together. So a final step shares no task with a
    /// main one, unless the task is a relay.
    fn refuse_early(&self, finals: &[usize]) -> Result<(), PlanError> {
        for &step in finals {
            let task = self.steps[step].task;
            let shares = |from: &usize| self.steps[*from].task == task && !self.is_relay(task);
            if let Some(from) = self.main_steps().find(shares) {
                return Err(PlanError::FinalSharesTask { step, from });
            }
            let is_later = |from: &usize| self.is_in_later_task(*from, step);
            if let Some(from) = self.main_steps().find(is_later) {
                return Err(PlanError::FinalInEarlierTask { step, from });
            }
        }
        Ok(())
    }
}

/// The edges from main steps to the final ones among so many steps, besides the edges between steps of one kind. If steps
/// wait for each other, there are none.
#[must_use]
pub fn final_edges(
    count: usize,
    is_final: impl Fn(usize) -> bool,
    edges: &[Edge],
    has_condition: impl Fn(usize) -> bool,
) -> Vec<Edge> {
    let has_edge = |&step: &usize| edges.iter().any(|edge| edge.to == step);
    let finals = (0..count).filter(|&step| is_final(step) && !has_edge(&step));
    let finals: Vec<usize> = finals.collect();
    if finals.is_empty() {
        return Vec::new();
    }
    let main = (0..count).filter(|&step| !is_final(step));
    let last = last_to_end(count, main, edges, |step| {
        step < count && has_condition(step)
    });
    let to_final = |to: usize| last.iter().map(move |&from| ended(from, to));
    finals.into_iter().flat_map(to_final).collect()
}

/// When these steps have ended, all main ones surely have.
fn last_to_end(
    count: usize,
    main: impl Iterator<Item = usize>,
    edges: &[Edge],
    has_condition: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let to_end = main.map(|from| ended(from, count));
    let edges = edges.iter().copied().chain(to_end);
    let graph = Graph::of_steps(count + 1, edges, has_condition);
    graph.map_or_else(|_| Vec::new(), |mut graph| graph.parents.swap_remove(count))
}

const fn ended(from: usize, to: usize) -> Edge {
    let kind = EdgeKind::OnEnd;
    Edge { from, to, kind }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::edge::{NamedEdge, Outcome};
    use crate::expressions::ExpressionTexts;
    use crate::plan::{Order, StepSpec, TaskSpec};
    use crate::readiness::Readiness;

    /// Tasks in short: `"a | b:a F G:F"`. The steps with capitals are final.
    fn plan<'a>(order: Order, tasks: &[&'a str]) -> Result<Plan<'a>, PlanError> {
        let step = |text: &'a str| {
            let (name, edges) = text.split_once(':').unwrap_or((text, ""));
            let edges = edges.split(',').filter(|name| !name.is_empty());
            StepSpec {
                name,
                edges: edges.map(NamedEdge::parse).collect(),
                retry: None,
                allow_failure: false,
                is_final: name.starts_with(char::is_uppercase),
                is_approval: false,
                expressions: ExpressionTexts::default(),
            }
        };
        let steps = |text: &'a str| text.split_whitespace().map(step).collect();
        let task = |text: &&'a str| {
            let (serial, parallel) = text.split_once('|').unwrap_or(("", text));
            TaskSpec {
                serial: steps(serial),
                parallel: steps(parallel),
            }
        };
        Plan::new(order, tasks.iter().map(task))
    }

    fn edges(plan: &Plan, name: &str) -> Vec<String> {
        let step = plan.steps.iter().find(|it| it.name == name).unwrap();
        let edges = step.edges.iter().map(|edge| NamedEdge {
            from: plan.steps[edge.from].name,
            kind: edge.kind,
        });
        edges.map(|edge| edge.to_string()).collect()
    }

    #[test]
    fn final_step_waits_for_the_last_main_steps() {
        let tasks = ["a b:a c:a d x:b,c y:b.failed F G:F H"];
        let plan = plan(Order::Relay, &tasks).unwrap();
        let expected = ["c.ended", "d.ended", "x.ended", "y.ended"];
        assert_eq!(edges(&plan, "F"), expected);
        assert_eq!(edges(&plan, "H"), expected);
        assert_eq!(edges(&plan, "G"), ["F"]);
    }

    #[rstest]
    #[case::parallel(Order::Graph, &["a F"], PlanError::FinalSharesTask { step: 1, from: 0 })]
    #[case::serial(Order::Linear, &["a | F"], PlanError::FinalSharesTask { step: 1, from: 0 })]
    #[case::earlier(Order::Linear, &["F", "a"], PlanError::FinalInEarlierTask { step: 0, from: 1 })]
    #[case::main(Order::Relay, &["a b:F F"], PlanError::MainNeedsFinal { step: 1, edge: 0 })]
    #[case::end_of_main(Order::Graph, &["a", "F", "G:F,a.ended"], PlanError::FinalNeedsMain { step: 2, edge: 1 })]
    #[case::only_final(Order::Graph, &["F"], PlanError::OnlyFinal)]
    #[case::tasks(Order::Relay, &["a F", "b:a"], PlanError::TaskCycle(vec![0, 1]))]
    #[case::steps(Order::Relay, &["a b:c c:b F"], PlanError::StepCycle(vec![1, 2]))]
    fn invalid_final_steps_are_refused(
        #[case] order: Order,
        #[case] tasks: &[&str],
        #[case] expected: PlanError,
    ) {
        assert_eq!(plan(order, tasks).unwrap_err(), expected);
    }

    #[test]
    fn final_step_waits_for_skipped_predecessors() {
        let plan = plan(Order::Relay, &["a b:a F"]).unwrap();
        assert_eq!(edges(&plan, "F"), ["b.ended"]);
        let readiness = |a| plan.readiness(2, |from| [a, Some(Outcome::Skipped)][from]);
        assert_eq!(readiness(None), Readiness::Wait);
        assert_eq!(readiness(Some(Outcome::Failed)), Readiness::Start);
    }

    #[test]
    fn final_task_starts_after_all_main_steps() {
        let plan = plan(Order::Graph, &["F", "a", "b:a"]).unwrap();
        assert!(!plan.task_may_start(0, |step| step == 2));
        assert!(plan.task_may_start(0, |step| step > 0));
    }
}
