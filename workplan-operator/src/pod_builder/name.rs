//! The names of pods. A task has one pod after the other, as long as its steps are attempted again.

use kube::ResourceExt;
use kubeci_api::{StepStatus, Workplan};

/// The name of a pod of a task. From the second pod of the task on it has a number, behind a letter: the pod of another
/// Workplan, whose name may end in a number, has no such name.
#[must_use]
pub fn name(workplan: &Workplan, task: usize, number: u32) -> String {
    let first = format!("{}-{task}", workplan.name_any());
    match number {
        0 | 1 => first,
        number => format!("{first}-a{number}"),
    }
}

/// The task of a pod, and the number of the pod in it.
#[must_use]
pub fn parse(workplan: &Workplan, pod: &str) -> Option<(usize, u32)> {
    let rest = pod.strip_prefix(&workplan.name_any())?.strip_prefix('-')?;
    let (task, number) = rest.split_once("-a").unwrap_or((rest, "1"));
    let (task, number) = (task.parse().ok()?, number.parse().ok()?);
    (name(workplan, task, number) == pod).then_some((task, number))
}

/// The number of the pod that has the open steps of a task, or gets them next: the last pod that its steps name, or the
/// pod after it if a step has left that one.
#[must_use]
pub fn number(workplan: &Workplan, task: usize, steps: &[StepStatus]) -> u32 {
    let tasks = workplan.spec.tasks.iter();
    let mut counts = tasks.map(|it| it.serial_steps.len() + it.parallel_steps.len());
    let before = counts.by_ref().take(task).sum();
    let count = counts.next().unwrap_or_default();
    let of_task = steps.iter().skip(before).take(count);
    let number = |pod: &str| parse(workplan, pod).map_or(1, |(_, number)| number);
    let numbers = of_task.flat_map(|step| {
        let left = left_pods(step).map(|pod| number(pod).saturating_add(1));
        left.chain(step.pod.as_deref().map(number))
    });
    numbers.max().unwrap_or(1)
}

/// The pods in which attempts of a step have ended, other than the pod of its current attempt.
fn left_pods(step: &StepStatus) -> impl Iterator<Item = &str> {
    let earlier = step.attempts.len().saturating_sub(1);
    let pods = step.attempts.iter().take(earlier);
    let pods = pods.filter_map(|attempt| attempt.pod.as_deref());
    pods.filter(|pod| step.pod.as_deref() != Some(pod))
}

/// Whether an attempt of a step has ended in a pod, and its current one is in another.
#[must_use]
pub fn has_left(step: &StepStatus, pod: &str) -> bool {
    left_pods(step).any(|left| left == pod)
}

#[cfg(test)]
mod tests {
    use kubeci_api::Order;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::workplan;

    fn steps(changes: &Value) -> Vec<StepStatus> {
        let step = |name: &str| {
            let mut step = json!({"name": name, "phase": "pending"});
            let fields = changes[name].as_object().cloned().unwrap_or_default();
            step.as_object_mut().unwrap().extend(fields);
            serde_json::from_value(step).unwrap()
        };
        ["a", "b", "c", "d"].map(step).into()
    }

    #[rstest]
    #[case::first(json!({}), 1)]
    #[case::runs(json!({"c": {"pod": "plan-1"}}), 1)]
    #[case::second(json!({"c": {"attempts": [{"number": 1, "pod": "plan-1"}, {"number": 2}]}}), 2)]
    #[case::runs_again(json!({"c": {"pod": "plan-1-a2", "attempts": [{"number": 1, "pod": "plan-1"}, {"number": 2}]}}), 2)]
    #[case::repeated_in_place(json!({"c": {"pod": "plan-1", "attempts": [{"number": 1, "pod": "plan-1"}, {"number": 2}]}}), 1)]
    #[case::later_step(json!({
        "c": {"pod": "plan-1-a2", "attempts": [{"number": 1, "pod": "plan-1"}, {"number": 2}]},
        "d": {"attempts": [{"number": 1, "pod": "plan-1-a2"}, {"number": 2}]},
    }), 3)]
    fn pod_number_follows_the_last_pod(#[case] changes: Value, #[case] expected: u32) {
        let workplan = workplan(Order::Linear, &["a | b", "c d"]);
        assert_eq!(number(&workplan, 0, &steps(&changes)), 1);
        assert_eq!(number(&workplan, 1, &steps(&changes)), expected);
    }

    #[rstest]
    #[case::first("plan-3", Some((3, 1)))]
    #[case::second("plan-3-a2", Some((3, 2)))]
    #[case::unusual("plan-3-a1", None)]
    #[case::leading_zero("plan-03", None)]
    #[case::other_plan("plan-0-3", None)]
    #[case::other_name("plans-0", None)]
    fn pod_name_is_read_back(#[case] pod: &str, #[case] expected: Option<(usize, u32)>) {
        let workplan = workplan(Order::Linear, &["a"]);
        assert_eq!(parse(&workplan, pod), expected);
        if let Some((task, number)) = expected {
            assert_eq!(name(&workplan, task, number), pod);
        }
    }
}
