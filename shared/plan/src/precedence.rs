use fixedbitset::FixedBitSet;

use crate::edge::Edge;
use crate::graph::{Graph, topological};
use crate::plan::{Order, Plan};

impl Plan<'_> {
    /// The tasks, each after those that have surely ended before it starts, however long each step takes and however it
    /// ends.
    #[must_use]
    pub fn precedence(&self) -> Graph {
        match self.order {
            Order::Linear => Graph::chain(self.tasks.len()),
            Order::Graph | Order::Relay => Graph::of_relation(&self.surely_ended_tasks()),
        }
    }

    /// For each task those of which all steps have ended before it starts.
    fn surely_ended_tasks(&self) -> Vec<FixedBitSet> {
        let of_task = |ended: FixedBitSet| {
            let tasks = self.tasks.iter().enumerate();
            let over = tasks.filter(|(_, steps)| {
                !steps.is_empty() && ended.contains_all_in_range((*steps).clone())
            });
            let mut tasks = FixedBitSet::with_capacity(self.tasks.len());
            tasks.extend(over.map(|(task, _)| task));
            tasks
        };
        self.surely_ended_steps().into_iter().map(of_task).collect()
    }

    /// For each task the steps that have surely ended before it starts.
    fn surely_ended_steps(&self) -> Vec<FixedBitSet> {
        let graph = self.graph();
        let mut ended = vec![FixedBitSet::with_capacity(self.steps.len()); self.tasks.len()];
        let order = topological(&self.predecessors_of_tasks());
        // A plan has no cycles.
        for task in order.unwrap_or_default() {
            ended[task] = self.ended_before_task(task, &graph, &ended);
        }
        ended
    }

    /// A task starts when the steps outside it have ended that those of its own steps wait for that are not skipped. One
    /// of these has surely ended if each of its steps implies it, or if one does, skipped or not.
    fn ended_before_task(&self, task: usize, graph: &Graph, ended: &[FixedBitSet]) -> FixedBitSet {
        let steps = self.tasks[task].clone();
        let mut of_steps = vec![FixedBitSet::with_capacity(self.steps.len()); steps.len()];
        let in_order = graph.topological.iter().filter(|step| steps.contains(step));
        for &step in in_order {
            let mut of_step = FixedBitSet::with_capacity(self.steps.len());
            for edge in &self.steps[step].edges {
                if !steps.contains(&edge.from) {
                    of_step.union_with(&self.implied(*edge, graph, ended));
                } else if edge.kind.needs_run() {
                    of_step.union_with(&of_steps[edge.from - steps.start]);
                }
            }
            of_steps[step - steps.start] = of_step;
        }
        let always = steps.clone().zip(&of_steps);
        let always = always.map(|(step, of_step)| of_step & &graph.ended_with[step]);
        let always: Vec<FixedBitSet> = always.collect();
        let by_all = of_steps.into_iter().reduce(|all, of_step| &all & &of_step);
        let none = FixedBitSet::with_capacity(self.steps.len());
        let by_all = by_all.unwrap_or(none);
        always.iter().fold(by_all, |all, of_step| &all | of_step)
    }

    /// The steps that have ended where an edge from a step of another task holds. If that step has run, its task had
    /// started, and the steps before it in that task have ended.
    fn implied(&self, edge: Edge, graph: &Graph, ended: &[FixedBitSet]) -> FixedBitSet {
        let from = edge.from;
        let mut implied = graph.ended_with[from].clone();
        if edge.kind.needs_run() {
            let task = self.steps[from].task;
            let before = self.tasks[task].start..from;
            implied.union_with(&graph.ancestors[from]);
            implied.union_with(&ended[task]);
            implied.extend(before.filter(|&step| self.steps[step].serial));
        }
        implied
    }
}
