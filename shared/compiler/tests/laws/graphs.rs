//! Random graphs of steps, and what their definition says of them without any reduction.

use kubeci_api::{Approval, Step, Task};
use proptest::collection::vec;
use proptest::prelude::*;

/// Steps `s0..`, each depending on the listed ones, isolated where said.
pub fn steps(dependencies: &[Vec<usize>], isolated: &[bool]) -> Vec<Step> {
    let step = |(at, dependencies): (usize, &Vec<usize>)| Step {
        name: format!("s{at}"),
        image: "alpine".to_owned(),
        dependency: dependencies
            .iter()
            .map(|dependency| format!("s{dependency}"))
            .collect(),
        isolate: isolated.get(at).copied().unwrap_or_default(),
        ..Step::default()
    };
    dependencies.iter().enumerate().map(step).collect()
}

/// Steps `s0..`, each with a command, depending on the listed ones.
pub fn with_commands(dependencies: &[Vec<usize>]) -> Vec<Step> {
    let mut steps = steps(dependencies, &[]);
    for step in &mut steps {
        step.commands = vec!["sh".to_owned()];
    }
    steps
}

/// The index in the name of a step.
pub fn index(step: &Step) -> usize {
    step.name[1..].parse().unwrap()
}

pub fn indices(steps: &[Step]) -> Vec<usize> {
    steps.iter().map(index).collect()
}

/// The steps that are in a task.
pub fn members(task: &Task) -> Vec<usize> {
    task.steps().map(index).collect()
}

/// What each step depends on.
pub fn dependencies(steps: &[Step]) -> Vec<Vec<usize>> {
    let place = |name: &String| steps.iter().position(|step| step.name == *name).unwrap();
    steps
        .iter()
        .map(|step| step.dependency.iter().map(place).collect())
        .collect()
}

/// `closure[a][b]`: a depends on b, directly or through others.
pub fn closure(dependencies: &[Vec<usize>]) -> Vec<Vec<bool>> {
    let count = dependencies.len();
    let row = |dependencies: &Vec<usize>| {
        (0..count)
            .map(|step| dependencies.contains(&step))
            .collect()
    };
    let mut closure: Vec<Vec<bool>> = dependencies.iter().map(row).collect();
    for through in 0..count {
        let beyond = closure[through].clone();
        for from in closure.iter_mut().filter(|from| from[through]) {
            from.iter_mut()
                .zip(&beyond)
                .for_each(|(step, beyond)| *step |= beyond);
        }
    }
    closure
}

/// Acyclic graphs of `sizes` steps that are written in any order, from chains and trees to dense ones.
pub fn graphs(sizes: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<Vec<usize>>> {
    (sizes, 0..=4_u8).prop_flat_map(|(count, shape)| {
        let entries = match shape {
            0 => 0..=1_usize,
            1 => 1..=1,
            2 => 0..=2,
            3 => 0..=3,
            _ => 0..=count,
        };
        let rows = vec(vec(any::<prop::sample::Index>(), entries), count);
        (rows, Just((0..count).collect::<Vec<_>>()).prop_shuffle()).prop_map(|(rows, written)| {
            let mut dependencies = vec![Vec::new(); written.len()];
            for (at, row) in rows.iter().enumerate().filter(|&(at, _)| at > 0) {
                let mut row: Vec<usize> =
                    row.iter().map(|entry| written[entry.index(at)]).collect();
                row.sort_unstable();
                row.dedup();
                dependencies[written[at]] = row;
            }
            dependencies
        })
    })
}

/// Makes a step an approval.
fn approve(step: &mut Step) {
    step.approval = Some(Approval::default());
    step.image.clear();
    step.commands.clear();
    step.isolate = false;
}

/// A step with a container, in place of an approval.
pub fn with_container(step: Step) -> Step {
    let image = "alpine".to_owned();
    match step.approval {
        Some(_) => Step {
            approval: None,
            image,
            ..step
        },
        None => step,
    }
}

/// Whether a step shares no pod.
pub fn is_alone(step: &Step) -> bool {
    step.isolate || step.approval.is_some()
}

/// Graphs with a few isolated steps, a few with a time limit, and a few approvals.
pub fn graphs_with_isolated(
    sizes: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<Step>> {
    let few = || vec(prop::bool::weighted(0.15), *sizes.end());
    let all = (graphs(sizes.clone()), few(), few(), few());
    all.prop_map(|(dependencies, isolated, timed, approvals)| {
        let mut steps = steps(&dependencies, &isolated);
        for (step, _) in steps.iter_mut().zip(&timed).filter(|(_, timed)| **timed) {
            step.timeout = Some(std::time::Duration::from_mins(1).into());
        }
        let written = steps.iter_mut().zip(&approvals);
        written
            .filter(|(_, it)| **it)
            .for_each(|(step, _)| approve(step));
        steps
    })
}

/// Graphs of steps with commands, but for a few without, a few isolated ones and a few approvals.
pub fn graphs_to_relay(sizes: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<Step>> {
    let kinds = || prop_oneof![Just(vec![0_u8]), vec(0..8_u8, 1..8)];
    (graphs(sizes), kinds()).prop_map(|(dependencies, kinds)| {
        let mut steps = steps(&dependencies, &[]);
        for (step, kind) in steps.iter_mut().zip(kinds.iter().cycle()) {
            step.isolate = *kind == 7;
            step.commands = if *kind == 6 {
                vec![]
            } else {
                vec!["sh".to_owned()]
            };
            if *kind == 5 {
                approve(step);
            }
        }
        steps
    })
}
