//! Plans with a maximum number of steps that run at the same time.

use std::num::NonZeroUsize;

use kubeci_api::{Order, Step, Task};
use kubeci_compiler::{
    Plan, Requests, compile_limited, compile_relay, read_plan, relay_pod_requests, widest_moment,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::graphs::{dependencies, graphs_to_relay, graphs_with_isolated, index};
use crate::relay::requesting;
use crate::simulation::{critical_path, run};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn limited_pods_are_as_narrow_and_exact(
        steps in prop_oneof![graphs_with_isolated(1..=10), graphs_with_isolated(100..=300)],
        durations in vec(0..1000_u64, 300),
        max_parallel in 1..=9_usize,
    ) {
        let plan = compile_limited(&steps, NonZeroUsize::new(max_parallel).unwrap()).unwrap();
        prop_assert!(plan.tasks.iter().all(|task| task.parallel_steps.len() <= max_parallel));
        let run = run(plan.order, &plan.tasks, |step| durations[index(step)]);
        let expected = critical_path(&dependencies(&steps), |step| durations[step]);
        for (step, expected) in steps.iter().zip(expected) {
            prop_assert_eq!(run.steps[&step.name], expected, "{}", step.name);
        }
    }

    #[test]
    fn limited_run_ends_within_its_requests(
        steps in graphs_to_relay(1..=60),
        cpus in vec(0..9_u32, 60),
        durations in vec(1..100_u64, 60),
        containers in 1..=30_usize,
        max_parallel in 1..=9_usize,
    ) {
        let steps = requesting(steps, |at| vec![("cpu", cpus[at].to_string())]);
        let max_parallel = NonZeroUsize::new(max_parallel).unwrap();
        let containers = NonZeroUsize::new(containers).unwrap();
        let plans = [compile_limited(&steps, max_parallel), compile_relay(&steps, containers)];
        for plan in plans {
            Run::new(&plan.unwrap(), max_parallel).end(|step| durations[index(step)]);
        }
    }
}

/// A plan that runs within the maximum: a task starts when its whole width is free, the steps of a relay share slots.
struct Run<'a> {
    plan: kubeci_plan::Plan<'a>,
    order: Order,
    steps: Vec<&'a Step>,
    room: Room,
    max_parallel: NonZeroUsize,
    started: Vec<bool>,
    /// When each step ends, once it has started.
    ends: Vec<Option<u64>>,
    now: u64,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, max_parallel: NonZeroUsize) -> Self {
        let read = read_plan(plan.order, &plan.tasks, &plan.finally).unwrap();
        let steps: Vec<&Step> = plan.tasks.iter().flat_map(Task::steps).collect();
        Self {
            plan: read.limited(Some(max_parallel)).unwrap(),
            order: plan.order,
            room: Room::of(plan.order, &plan.tasks, max_parallel),
            max_parallel,
            started: vec![false; plan.tasks.len()],
            ends: vec![None; steps.len()],
            steps,
            now: 0,
        }
    }

    fn end(mut self, duration: impl Fn(&Step) -> u64) {
        while (0..self.steps.len()).any(|step| !self.has_ended(step)) {
            self.start_tasks();
            for step in 0..self.steps.len() {
                if self.starts(step) {
                    self.ends[step] = Some(self.now + duration(self.steps[step]));
                }
            }
            self.check();
            let ends = self.ends.iter().flatten().filter(|end| **end > self.now);
            self.now = *ends.min().expect("a step runs");
        }
    }

    fn has_ended(&self, step: usize) -> bool {
        self.ends[step].is_some_and(|end| end <= self.now)
    }

    fn is_running(&self, step: usize) -> bool {
        self.ends[step].is_some_and(|end| end > self.now)
    }

    fn start_tasks(&mut self) {
        let widths = self.plan.widths(|step| !self.has_ended(step));
        let active = (0..widths.len()).filter(|&task| self.started[task]);
        let mut used: usize = active.map(|task| widths[task]).sum();
        for (task, width) in widths.iter().enumerate() {
            let may_start = self.plan.task_may_start(task, |step| self.has_ended(step));
            if !self.started[task] && may_start && used + width <= self.max_parallel.get() {
                self.started[task] = true;
                used += width;
            }
        }
    }

    fn starts(&self, step: usize) -> bool {
        let planned = &self.plan.steps[step];
        let task = self.plan.tasks[planned.task].clone();
        let ended = |at: usize| self.has_ended(at);
        let is_next = if self.order == Order::Relay {
            let running = task.filter(|&at| self.is_running(at)).count();
            running < self.max_parallel.get() && planned.edges.iter().all(|it| ended(it.from))
        } else {
            (task.start..step).all(|at| !self.plan.steps[at].serial || ended(at))
        };
        self.started[planned.task] && self.ends[step].is_none() && is_next
    }

    /// No more steps run than may, in no more than their pods request, which is no more than the plan does.
    fn check(&self) {
        let running = (0..self.steps.len()).filter(|&step| self.is_running(step));
        assert!(running.count() <= self.max_parallel.get());
        let mut together = 0;
        for (task, steps) in self.plan.tasks.iter().enumerate() {
            let is_over = steps.clone().all(|step| self.has_ended(step));
            if self.started[task] && !is_over {
                let running = steps.clone().filter(|&step| self.is_running(step));
                let needed: u128 = running.map(|step| self.room.steps[step]).sum();
                assert!(needed <= self.room.pods[task]);
                together += self.room.pods[task];
            }
        }
        assert!(together <= self.room.plan);
    }
}

/// What is requested of the processor.
struct Room {
    plan: u128,
    pods: Vec<u128>,
    steps: Vec<u128>,
}

impl Room {
    fn of(order: Order, tasks: &[Task], max_parallel: NonZeroUsize) -> Self {
        let max_parallel = Some(max_parallel);
        let of_pod = |task: &Task| match order {
            Order::Relay => relay_pod_requests(task, &[], max_parallel).unwrap_or_default(),
            Order::Linear | Order::Graph => Requests::of_task(task),
        };
        let of_step = |step: &Step| {
            Requests::of_task(&Task {
                parallel_steps: vec![step.clone()],
                ..Task::default()
            })
        };
        let cpu = |requests: Requests| requests.milli("cpu");
        let steps = tasks.iter().flat_map(Task::steps);
        Self {
            plan: cpu(widest_moment(order, tasks, &[], max_parallel)),
            pods: tasks.iter().map(of_pod).map(cpu).collect(),
            steps: steps.map(of_step).map(cpu).collect(),
        }
    }
}
