//! Runs of steps by themselves and in a plan, on a clock that counts nothing but the steps.

use std::collections::BTreeMap;

use kubeci_api::{Order, Step, Task};
use kubeci_plan::{EdgeKind, EdgeState, Outcome};

use super::edges;
use crate::reference::conditions::{Ended, Verdict, verdict};

/// When a step started, if it did, when it ended or was skipped, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: Option<u64>,
    pub end: u64,
    outcome: Outcome,
}

impl Span {
    /// What expressions find out about the step.
    fn ended(self) -> Ended {
        Ended {
            phase: self.outcome.phase(),
            exit_code: self
                .start
                .map(|_| i32::from(self.outcome == Outcome::Failed)),
        }
    }
}

pub type Run = BTreeMap<String, Span>;

/// The edges to each step, by its name.
type Edges = BTreeMap<String, Vec<(String, EdgeKind)>>;

fn edges_by_name(steps: &[Step]) -> Edges {
    let mut by_name: Edges = steps.iter().map(|it| (it.name.clone(), vec![])).collect();
    for edge in edges(steps) {
        let edges = by_name.get_mut(&steps[edge.to].name).unwrap();
        edges.push((steps[edge.from].name.clone(), edge.kind));
    }
    by_name
}

fn ran(start: u64, (duration, fails): (u64, bool)) -> Span {
    let outcome = if fails {
        Outcome::Failed
    } else {
        Outcome::Completed
    };
    Span {
        start: Some(start),
        end: start + duration,
        outcome,
    }
}

fn skipped(end: u64) -> Span {
    Span {
        start: None,
        end,
        outcome: Outcome::Skipped,
    }
}

/// The end of a step whose edges hold since this moment, and which does not run because of its expressions.
fn refused(step: &Step, run: &Run, since: u64) -> Option<Span> {
    match verdict(step, |name| run[name].ended()) {
        Verdict::Runs => None,
        Verdict::IsSkipped => Some(skipped(since)),
        Verdict::Fails => Some(Span {
            outcome: Outcome::Failed,
            ..skipped(since)
        }),
    }
}

/// When the last edge to a step has ended; none if one has not.
fn last_end(edges: &[(String, EdgeKind)], run: &Run) -> Option<u64> {
    let ends = edges.iter().map(|(from, _)| Some(run.get(from)?.end));
    let ends: Option<Vec<u64>> = ends.collect();
    Some(ends?.into_iter().max().unwrap_or(0))
}

/// When the first edge to a step breaks, of those from steps that have ended.
fn broken(edges: &[(String, EdgeKind)], run: &Run) -> Option<u64> {
    let ended = edges
        .iter()
        .filter_map(|(from, kind)| Some((run.get(from)?, kind)));
    let broken = ended.filter(|(span, kind)| kind.state(Some(span.outcome)) == EdgeState::Broken);
    broken.map(|(span, _)| span.end).min()
}

/// The run of a step that waits for nothing but its edges, from a moment on; none if a step before it has not ended.
fn by_edges(
    step: &Step,
    edges: &[(String, EdgeKind)],
    run: &Run,
    since: u64,
    ends: (u64, bool),
) -> Option<Span> {
    let last = last_end(edges, run)?;
    let span = broken(edges, run)
        .map(skipped)
        .or_else(|| refused(step, run, last));
    Some(span.unwrap_or_else(|| ran(last.max(since), ends)))
}

/// When each step runs if nothing but the edges hold it up.
pub fn alone(steps: &[Step], ends: impl Fn(&Step) -> (u64, bool)) -> Run {
    let edges = edges_by_name(steps);
    let mut run = Run::new();
    while run.len() < steps.len() {
        for step in steps {
            let span = by_edges(step, &edges[&step.name], &run, 0, ends(step));
            run.extend(span.map(|span| (step.name.clone(), span)));
        }
    }
    run
}

/// When each step runs in the pods of a plan.
pub fn run(
    steps: &[Step],
    order: Order,
    tasks: &[Task],
    ends: impl Fn(&Step) -> (u64, bool),
) -> Run {
    let edges = edges_by_name(steps);
    let mut run = Run::new();
    for task in tasks {
        let first = match order {
            Order::Linear => run.values().map(|span| span.end).max().unwrap_or(0),
            Order::Graph | Order::Relay => 0,
        };
        let (start, left_out) = start(task, &edges, &run, first);
        run.extend(left_out);
        let left = |step: &&Step| !run.contains_key(&step.name);
        let chain: Vec<&Step> = task.serial_steps.iter().filter(left).collect();
        let parallel: Vec<&Step> = task.parallel_steps.iter().filter(left).collect();
        if order == Order::Relay {
            relay(&parallel, &edges, start, &ends, &mut run);
        } else {
            containers(&chain, &parallel, start, &ends, &mut run);
        }
    }
    run
}

/// When the pod of a task is created, and the steps that end before without running.
fn start(task: &Task, edges: &Edges, run: &Run, first: u64) -> (u64, Run) {
    let inside = |name: &String| task.steps().any(|step| step.name == *name);
    let mut times: Vec<u64> = run
        .values()
        .map(|span| span.end)
        .chain([0, first])
        .collect();
    times.sort_unstable();
    for time in times.into_iter().filter(|&time| time >= first) {
        let mut known: Run = run.clone();
        known.retain(|_, span| span.end <= time);
        let ended_outside = known.clone();
        loop {
            let before = known.len();
            for step in task.steps().filter(|step| !run.contains_key(&step.name)) {
                let edges = &edges[&step.name];
                let refused = || refused(step, &known, last_end(edges, &known)?);
                let ends = broken(edges, &known).map(skipped).or_else(refused);
                known.extend(ends.map(|span| (step.name.clone(), span)));
            }
            if known.len() == before {
                break;
            }
        }
        let mut open = task.steps().filter(|step| !known.contains_key(&step.name));
        let has_ended = |(from, _): &(String, EdgeKind)| inside(from) || known.contains_key(from);
        if open.all(|step| edges[&step.name].iter().all(has_ended)) {
            known.retain(|name, _| !ended_outside.contains_key(name));
            return (time, known);
        }
    }
    unreachable!("all steps of earlier tasks end")
}

/// The kubelet starts what is left of a chain, until one fails, then the other containers. A step that does not run
/// because of its expressions has no container.
fn containers(
    chain: &[&Step],
    parallel: &[&Step],
    start: u64,
    ends: impl Fn(&Step) -> (u64, bool),
    run: &mut Run,
) {
    // Without parallel steps the last one of the chain is a container.
    let mut clock = start;
    let mut goes_on = true;
    let span = |step: &Step, clock: u64, goes_on: bool, run: &Run| match refused(step, run, clock) {
        _ if !goes_on => skipped(clock),
        Some(refused) => refused,
        None => ran(clock, ends(step)),
    };
    for step in chain {
        let span = span(step, clock, goes_on, run);
        (clock, goes_on) = (span.end, span.outcome == Outcome::Completed);
        run.insert(step.name.clone(), span);
    }
    for step in parallel {
        let span = span(step, clock, goes_on, run);
        run.insert(step.name.clone(), span);
    }
}

/// The steps start each other, in the order of their containers.
fn relay(
    steps: &[&Step],
    edges: &Edges,
    start: u64,
    ends: impl Fn(&Step) -> (u64, bool),
    run: &mut Run,
) {
    for step in steps {
        let span = by_edges(step, &edges[&step.name], run, start, ends(step));
        run.insert(
            step.name.clone(),
            span.expect("a step comes after those that it waits for"),
        );
    }
}
