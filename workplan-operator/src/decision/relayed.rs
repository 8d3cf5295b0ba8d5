//! The condition `Relayed`: how many steps of a plan start each other inside pods, and what these pods request.

use std::num::NonZeroUsize;

use kubeci_api::{Order, Task};
use kubeci_compiler::{Limits, Room, is_relay, relay_apart, relay_room};

/// The maximum number of pods, and of steps with their own pods, that the message names.
const NAMED_MAX: usize = 5;

/// A condition in parts.
pub struct Relayed {
    pub value: &'static str,
    pub reason: &'static str,
    pub message: String,
}

pub fn relayed(
    tasks: &[Task],
    finally: &[String],
    max_parallel: Option<NonZeroUsize>,
    limits: &Limits,
) -> Relayed {
    let relays = || {
        let relays = tasks.iter().enumerate();
        relays.filter(|(_, task)| is_relay(Order::Relay, task))
    };
    let inside: usize = relays().map(|(_, task)| task.steps().count()).sum();
    let pods = tasks.iter().filter(|task| task.has_pod());
    let all: usize = pods.clone().map(|task| task.steps().count()).sum();
    let count = pods.count();
    let (value, reason) = match (count, inside) {
        (1, _) => ("True", "OnePod"),
        (_, 0) => ("False", "NoRelay"),
        _ => ("True", "SeveralPods"),
    };
    let pods = if count == 1 { "pod" } else { "pods" };
    let summary = format!("{count} {pods}; {inside} of {all} steps start each other inside a pod");
    let rooms: Vec<(usize, Room)> = relays()
        .map(|(task, steps)| {
            let room = relay_room(&limits.complete(steps.clone()), finally, max_parallel);
            (task, room)
        })
        .collect();
    let rooms = [Room::AsWritten, Room::Spread]
        .into_iter()
        .filter_map(|room| {
            let pods = rooms.iter().filter(|(_, known)| *known == room);
            let pods: Vec<String> = pods.map(|(task, _)| task.to_string()).collect();
            (!pods.is_empty()).then(|| format!("Task {}: {room}", listed(pods)))
        });
    let sentences: Vec<String> = [summary]
        .into_iter()
        .chain(rooms)
        .chain(apart(tasks, finally))
        .collect();
    Relayed {
        value,
        reason,
        message: sentences.join(". "),
    }
}

/// The steps that have their own pods, and why.
fn apart(tasks: &[Task], finally: &[String]) -> Option<String> {
    let apart = relay_apart(tasks, finally);
    let named = apart.iter().map(|(step, why)| format!("{step} {why}"));
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| format!("Steps with their own pods: {}", listed(named)))
}

fn listed(mut named: Vec<String>) -> String {
    let more = named.len().saturating_sub(NAMED_MAX);
    named.truncate(NAMED_MAX);
    let named = named.join(", ");
    match more {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::relay;

    #[rstest]
    #[case::one(&["| a b:a"], "OnePod", "1 pod; 2 of 2 steps start each other inside a pod. Task 0: its containers have the requests of the steps")]
    #[case::two(&["| a b:a", "| x:a"], "SeveralPods", "2 pods; 2 of 3 steps start each other inside a pod. Task 0: its containers have the requests of the steps. Steps with their own pods: x has no `commands`")]
    #[case::none(&["| x"], "OnePod", "1 pod; 0 of 1 steps start each other inside a pod. Steps with their own pods: x has no `commands`")]
    fn condition_counts_steps_that_hand_over(
        #[case] tasks: &[&str],
        #[case] reason: &str,
        #[case] message: &str,
    ) {
        let mut tasks = relay(tasks).tasks;
        for task in &mut tasks {
            for step in task
                .parallel_steps
                .iter_mut()
                .filter(|step| step.name == "x")
            {
                step.commands.clear();
            }
        }
        let condition = relayed(&tasks, &[], None, &Limits::NONE);
        assert_eq!(
            (condition.reason, condition.message.as_str()),
            (reason, message)
        );
    }
}
