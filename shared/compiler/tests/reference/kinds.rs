//! Edges of all kinds, from steps that depend on each other.

use std::collections::BTreeSet;

use kubeci_api::Step;

/// The steps without whose success, and without whose failure, a step does not start.
#[derive(Clone, Default)]
struct Needed {
    completed: BTreeSet<String>,
    failed: BTreeSet<String>,
}

impl Needed {
    fn is_possible(&self) -> bool {
        self.completed.is_disjoint(&self.failed)
    }
}

/// Makes some dependencies edges of other kinds, and allows some failures, by random numbers. A step that could never
/// start goes on after a step in any case instead.
pub fn with_kinds(steps: &mut [Step], dice: &[u8]) {
    for (step, dice) in steps.iter_mut().zip(dice) {
        step.allow_failure = dice.is_multiple_of(7);
    }
    let mut needed: Vec<Option<Needed>> = vec![None; steps.len()];
    while let Some(at) = next(steps, &needed) {
        let mut of_step = Needed::default();
        let names = std::mem::take(&mut steps[at].dependency);
        for (position, name) in names.into_iter().enumerate() {
            let from = place(steps, &name);
            let of_from = needed[from].clone().unwrap_or_default();
            let mut with_edge = of_step.clone();
            with_edge.completed.extend(of_from.completed);
            with_edge.failed.extend(of_from.failed);
            let dice = dice.get((at * 5 + position * 3 + from) % dice.len().max(1));
            let list = match dice.map_or(0, |dice| dice / 8 % 6) {
                0..=2 => {
                    if !steps[from].allow_failure {
                        with_edge.completed.insert(name.clone());
                    }
                    &mut steps[at].dependency
                }
                3 if !steps[from].allow_failure => {
                    with_edge.failed.insert(name.clone());
                    &mut steps[at].on_failure
                }
                _ => {
                    steps[at].after.push(name);
                    continue;
                }
            };
            if with_edge.is_possible() {
                list.push(name);
                of_step = with_edge;
            } else {
                steps[at].after.push(name);
            }
        }
        needed[at] = Some(of_step);
    }
}

/// A step that waits for none that has not been visited.
fn next(steps: &[Step], visited: &[Option<Needed>]) -> Option<usize> {
    (0..steps.len()).find(|&at| {
        let mut names = steps[at].dependency.iter();
        visited[at].is_none() && names.all(|name| visited[place(steps, name)].is_some())
    })
}

fn place(steps: &[Step], name: &str) -> usize {
    let place = steps.iter().position(|step| step.name == name);
    place.unwrap_or_default()
}
