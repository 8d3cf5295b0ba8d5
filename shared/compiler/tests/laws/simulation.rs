//! A plan run on a clock that counts nothing but the steps themselves.

use std::collections::HashMap;

use kubeci_api::{Order, Step, Task};

/// When something runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

/// When the steps and the pods of a plan ran.
pub struct Run {
    pub steps: HashMap<String, Span>,
    pub pods: Vec<Span>,
}

/// Runs the tasks, given how long each step takes.
pub fn run(order: Order, tasks: &[Task], duration: impl Fn(&Step) -> u64) -> Run {
    let mut run = Run {
        steps: HashMap::new(),
        pods: Vec::new(),
    };
    for task in tasks {
        let start = match order {
            Order::Linear => run.pods.last().map_or(0, |pod| pod.end),
            Order::Graph | Order::Relay => outside(task)
                .map(|name| {
                    run.steps
                        .get(name)
                        .expect("a task comes after what it depends on")
                        .end
                })
                .max()
                .unwrap_or(0),
        };
        if order == Order::Relay {
            let end = relay(task, start, &mut run.steps, &duration);
            run.pods.push(Span { start, end });
            continue;
        }
        let mut clock = start;
        for step in &task.serial_steps {
            let span = Span {
                start: clock,
                end: clock + duration(step),
            };
            run.steps.insert(step.name.clone(), span);
            clock = span.end;
        }
        let mut end = clock;
        for step in &task.parallel_steps {
            let span = Span {
                start: clock,
                end: clock + duration(step),
            };
            run.steps.insert(step.name.clone(), span);
            end = end.max(span.end);
        }
        run.pods.push(Span { start, end });
    }
    run
}

/// Runs the steps of a relay pod in the order of its containers; says when the last one ends.
fn relay(
    task: &Task,
    start: u64,
    spans: &mut HashMap<String, Span>,
    duration: impl Fn(&Step) -> u64,
) -> u64 {
    let mut last_end = start;
    for step in task.steps() {
        let ended = |name| -> &Span {
            spans
                .get(name)
                .expect("a step comes after its dependencies")
        };
        let ends = step.dependency.iter().map(|name| ended(name).end);
        let start = ends.max().unwrap_or(0).max(start);
        let end = start + duration(step);
        spans.insert(step.name.clone(), Span { start, end });
        last_end = last_end.max(end);
    }
    last_end
}

/// The dependencies of a task's steps on steps outside it.
fn outside(task: &Task) -> impl Iterator<Item = &String> {
    let inside = |name: &&String| task.steps().any(|step| step.name == **name);
    task.steps()
        .flat_map(|step| &step.dependency)
        .filter(move |name| !inside(name))
}

/// When each step would run if nothing but its dependencies held it up.
pub fn critical_path(dependencies: &[Vec<usize>], duration: impl Fn(usize) -> u64) -> Vec<Span> {
    let mut spans: Vec<Option<Span>> = vec![None; dependencies.len()];
    while spans.iter().any(Option::is_none) {
        for (step, dependencies) in dependencies.iter().enumerate() {
            let ends: Option<Vec<u64>> = dependencies
                .iter()
                .map(|&dependency| Some(spans[dependency]?.end))
                .collect();
            if let Some(ends) = ends {
                let start = ends.into_iter().max().unwrap_or(0);
                spans[step] = Some(Span {
                    start,
                    end: start + duration(step),
                });
            }
        }
    }
    spans.into_iter().flatten().collect()
}
