//! How many steps of a task can run at the same time.

use std::num::NonZeroUsize;

use fixedbitset::FixedBitSet;

use crate::error::PlanError;
use crate::graph::Graph;
use crate::plan::Plan;

impl Plan<'_> {
    /// The plan with a maximum number of steps that run at the same time.
    ///
    /// # Errors
    /// The first task whose pod would run more. The steps of a relay wait for each other, so none is too wide.
    pub fn limited(mut self, max_parallel: Option<NonZeroUsize>) -> Result<Self, PlanError> {
        self.max_parallel = max_parallel;
        let Some(max_parallel) = max_parallel else {
            return Ok(self);
        };
        let widths = self.widths(|_| true);
        match widths.iter().position(|&steps| steps > max_parallel.get()) {
            Some(task) => Err(PlanError::TooWide {
                task,
                steps: widths[task],
                max_parallel,
            }),
            None => Ok(self),
        }
    }

    /// For each task the maximum number of its open steps that its pod may still run at the same time. An approval has
    /// no pod.
    pub fn widths(&self, is_open: impl Fn(usize) -> bool) -> Vec<usize> {
        let tasks = 0..self.tasks.len();
        let has_relay = tasks.clone().any(|task| self.is_relay(task));
        let graph = has_relay.then(|| self.graph());
        let graph = graph.unwrap_or_else(|| Graph::without_edges(self.steps.len()));
        let width = |task: usize| {
            if self.is_approval(task) {
                return 0;
            }
            let is_in_task = |step: &usize| self.tasks[task].contains(step) && is_open(*step);
            if self.is_relay(task) {
                let in_order = graph.topological.iter().copied();
                return self.relay_width(in_order.filter(is_in_task), &graph.ancestors);
            }
            let open = self.tasks[task].clone().filter(is_in_task);
            let (serial, parallel): (Vec<_>, Vec<_>) =
                open.partition(|&step| self.steps[step].serial);
            parallel.len().max(usize::from(!serial.is_empty()))
        };
        tasks.map(width).collect()
    }

    /// A bound of the steps of a relay that run at the same time: their number in chains of steps of which each starts
    /// after all before it in its chain have ended. The pod has no more slots than the plan allows steps.
    fn relay_width(
        &self,
        in_order: impl Iterator<Item = usize>,
        ended_before: &[FixedBitSet],
    ) -> usize {
        let mut chains: Vec<Vec<usize>> = Vec::new();
        for step in in_order {
            let goes_on = |chain: &&mut Vec<usize>| {
                let mut earlier = chain.iter();
                earlier.all(|&earlier| ended_before[step].contains(earlier))
            };
            match chains.iter_mut().find(goes_on) {
                Some(chain) => chain.push(step),
                None => chains.push(vec![step]),
            }
        }
        self.max_parallel
            .map_or(chains.len(), |max| chains.len().min(max.get()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::edge::NamedEdge;
    use crate::plan::{Order, StepSpec, TaskSpec};

    /// `"a | b:a c:a"` is a task with the serial step `a` and two parallel ones after it.
    fn plan<'a>(
        order: Order,
        tasks: &[&'a str],
        max_parallel: usize,
    ) -> Result<Plan<'a>, PlanError> {
        let step = |text: &'a str| {
            let (name, edges) = text.split_once(':').unwrap_or((text, ""));
            let edges = edges.split(',').filter(|name| !name.is_empty());
            StepSpec {
                name,
                edges: edges.map(NamedEdge::parse).collect(),
                retry: None,
                expressions: crate::ExpressionTexts::default(),
                allow_failure: false,
                is_final: false,
                is_approval: name.ends_with('?'),
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
        Plan::new(order, tasks.iter().map(task))?.limited(NonZeroUsize::new(max_parallel))
    }

    #[rstest]
    #[case::serial(Order::Graph, "a b c", 1)]
    #[case::parallel(Order::Graph, "a b | c d e", 3)]
    #[case::chain(Order::Relay, "| c:b b:a a", 1)]
    #[case::diamond(Order::Relay, "| a b:a c:a d:b,c", 2)]
    #[case::skippable(Order::Relay, "| x y a:x,y b:a.ended", 3)]
    #[case::limited(Order::Relay, "| a b c d e f", 4)]
    #[case::alone(Order::Relay, "| a", 1)]
    #[case::approval(Order::Graph, "| a?", 0)]
    fn task_has_the_width_of_its_pod(
        #[case] order: Order,
        #[case] task: &str,
        #[case] expected: usize,
    ) {
        let plan = plan(order, &[task], 4).unwrap();
        assert_eq!(plan.widths(|_| true), [expected]);
    }

    #[test]
    fn ended_steps_do_not_count() {
        let tasks = plan(Order::Graph, &["a | b c d"], 3).unwrap();
        assert_eq!(tasks.widths(|step| step == 0), [1]);
        assert_eq!(tasks.widths(|step| step > 1), [2]);
        assert_eq!(tasks.widths(|_| false), [0]);
    }

    #[test]
    fn wider_task_is_refused() {
        let error = plan(Order::Graph, &["a", "b | c d e"], 2).unwrap_err();
        let expected = PlanError::TooWide {
            task: 1,
            steps: 3,
            max_parallel: NonZeroUsize::new(2).unwrap(),
        };
        assert_eq!(error, expected);
    }
}
