use fixedbitset::FixedBitSet;

use crate::graph::{Graph, topological};
use crate::plan::{Order, Plan};

impl Plan<'_> {
    /// The tasks, each after those that have surely ended before it starts, however long each step takes.
    #[must_use]
    pub fn precedence(&self) -> Graph {
        let tasks = self.tasks.len();
        match self.order {
            Order::Linear => Graph::chain(tasks),
            Order::Graph | Order::Relay => Graph::new(&self.surely_ended_tasks())
                .unwrap_or_else(|_| Graph::without_edges(tasks)),
        }
    }

    /// For each task those of which all steps have ended before it starts.
    fn surely_ended_tasks(&self) -> Vec<Vec<usize>> {
        let ended = self.surely_ended_steps();
        let of_task = |ended: &FixedBitSet| {
            let tasks = self.tasks.iter().enumerate();
            let over = tasks.filter(|(_, steps)| {
                !steps.is_empty() && ended.contains_all_in_range((*steps).clone())
            });
            over.map(|(task, _)| task).collect()
        };
        ended.iter().map(of_task).collect()
    }

    /// For each task the steps that have ended before it starts. It starts when the steps outside it that its own
    /// wait for have ended. By then those have ended that these waited for: the steps before them in their tasks,
    /// and what their tasks waited for.
    fn surely_ended_steps(&self) -> Vec<FixedBitSet> {
        let before = self.ended_before_in_task();
        let mut ended = vec![FixedBitSet::with_capacity(self.steps.len()); self.tasks.len()];
        let order = topological(&self.predecessors_of_tasks());
        // A plan has no cycles.
        for task in order.unwrap_or_default() {
            let waited_for = self.steps_waited_for(task);
            let mut done = waited_for.clone();
            for step in waited_for.ones() {
                done.union_with(&ended[self.steps[step].task]);
                done.union_with(&before[step]);
            }
            ended[task] = done;
        }
        ended
    }

    /// For each step those of its task that have ended before it starts.
    fn ended_before_in_task(&self) -> Vec<FixedBitSet> {
        if self.order == Order::Relay {
            let graph = Graph::new(&self.predecessors_in_task());
            let graph = graph.unwrap_or_else(|_| Graph::without_edges(self.steps.len()));
            return graph.ancestors;
        }
        let of_step = |step: usize| {
            let start = self.tasks[self.steps[step].task].start;
            let mut before = FixedBitSet::with_capacity(self.steps.len());
            before.extend((start..step).filter(|&earlier| self.steps[earlier].serial));
            before
        };
        (0..self.steps.len()).map(of_step).collect()
    }
}
