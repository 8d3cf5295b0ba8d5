//! The laws as they hold for edges of all kinds and allowed failures.

use std::ops::RangeInclusive;

use kubeci_api::Step;
use kubeci_compiler::{Plan, compile, edges_to, read_plan};
use kubeci_plan::{Edge, EdgeKind, Graph};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::graphs::{graphs_to_relay, index};
use crate::reference::conditions::with_conditions;
use crate::relay::plan_within;

pub mod minimal;
mod run;

use run::{Run, Span, alone, run};

/// Graphs with edges of all kinds, and with conditions.
pub fn graphs(sizes: RangeInclusive<usize>) -> impl Strategy<Value = Vec<Step>> {
    let dice = vec(any::<u8>(), *sizes.end());
    let conditions = prop_oneof![Just(Vec::new()), vec(any::<u8>(), *sizes.end())];
    (graphs_to_relay(sizes), dice, conditions).prop_map(|(mut steps, dice, conditions)| {
        crate::reference_kinds::with_kinds(&mut steps, &dice);
        with_conditions(&mut steps, &conditions);
        steps
    })
}

/// The edges between steps, as they hold if failures are allowed.
fn edges(steps: &[Step]) -> Vec<Edge> {
    let place = |name: &str| steps.iter().position(|step| step.name == name).unwrap();
    let of_step = |(to, step): (usize, &Step)| {
        let edges = edges_to(step).map(|edge| {
            let from = place(edge.from);
            let kind = match edge.kind {
                EdgeKind::OnSuccess if steps[from].allow_failure => EdgeKind::OnRun,
                kind => kind,
            };
            Edge { from, to, kind }
        });
        edges.collect::<Vec<_>>()
    };
    steps.iter().enumerate().flat_map(of_step).collect()
}

fn graph(steps: &[Step]) -> Graph {
    let has_condition = |step: usize| steps[step].when.is_some();
    Graph::of_steps(steps.len(), edges(steps), has_condition).unwrap()
}

/// Whether the pod of each task never runs more steps at the same time than its width.
fn is_within_widths(plan: &Plan, run: &Run) -> bool {
    let widths = read_plan(plan.order, &plan.tasks, &plan.finally)
        .unwrap()
        .widths(|_| true);
    let tasks = plan.tasks.iter().zip(widths);
    let mut pods = tasks.filter(|(task, _)| task.has_pod());
    pods.all(|(task, width)| {
        let spans = || task.steps().map(|step| run[&step.name]);
        let mut starts = spans().filter_map(|span| span.start);
        let runs =
            |span: &Span, now| span.start.is_some_and(|start| start <= now) && now < span.end;
        starts.all(|now| spans().filter(|span| runs(span, now)).count() <= width)
    })
}

/// Whether no step starts before the tasks have ended that come surely before its own.
fn follows_precedence(plan: &Plan, run: &Run) -> bool {
    let spans = |task: usize| plan.tasks[task].steps().map(|step| run[&step.name]);
    let ended = |task: usize| spans(task).map(|span| span.end).max();
    let started = |task: usize| spans(task).filter_map(|span| span.start).min();
    let precedence = read_plan(plan.order, &plan.tasks, &plan.finally)
        .unwrap()
        .precedence();
    let mut pairs = precedence.ancestors.iter().enumerate();
    pairs.all(|(task, before)| {
        let start = started(task);
        before
            .ones()
            .all(|before| start.is_none() || ended(before) <= start)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn law_1_steps_of_pods_start_at_once(
        steps in prop_oneof![20 => graphs(1..=10), 1 => graphs(50..=100)],
        durations in vec(0..1000_u64, 100),
        fails in vec(any::<bool>(), 100),
    ) {
        let plan = compile(&steps).unwrap();
        let ends = |step: &Step| (durations[index(step)], fails[index(step)]);
        let run = run(&steps, plan.order, &plan.tasks, ends);
        prop_assert!(follows_precedence(&plan, &run));
        prop_assert!(is_within_widths(&plan, &run));
        prop_assert_eq!(run, alone(&steps, ends));
    }

    #[test]
    fn law_1_steps_of_relay_start_at_once(
        (steps, containers) in prop_oneof![
            20 => (graphs(1..=10), 1..=6_usize),
            1 => (graphs(50..=100), 20..=100_usize),
        ],
        durations in vec(0..1000_u64, 100),
        fails in vec(any::<bool>(), 100),
    ) {
        let plan = plan_within(&steps, containers);
        let graph = graph(&steps);
        for task in &plan.tasks {
            let pod: Vec<usize> = task.steps().map(index).collect();
            prop_assert!(minimal::is_relay(&steps, &graph, &pod), "{:?}", pod);
        }
        let ends = |step: &Step| (durations[index(step)], fails[index(step)]);
        let run = run(&steps, plan.order, &plan.tasks, ends);
        prop_assert!(follows_precedence(&plan, &run));
        prop_assert!(is_within_widths(&plan, &run));
        prop_assert_eq!(run, alone(&steps, ends));
    }
}
