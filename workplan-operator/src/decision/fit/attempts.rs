use std::collections::HashSet;

use kubeci_api::{RetryOn, StepAttempt, StepStatus, Task};

/// The number of attempts at the end of a list that keep their details: the current one, and the last that has failed.
const LAST: usize = 2;
/// The reason of an attempt without details, as that of one whose details the kubelet has cut.
const RECORD_CUT: &str = "RecordCut";

/// Leaves out the details of the attempts of each step, except the first and the last ones.
pub fn cut(tasks: &[Task], steps: &mut [StepStatus]) {
    let mut rest = steps;
    for task in tasks {
        let count = task.steps().count().min(rest.len());
        let (of_task, after) = rest.split_at_mut(count);
        let has_ended = of_task.iter().all(|step| step.phase.is_final());
        for step in of_task {
            cut_middle(&mut step.attempts, has_ended);
        }
        rest = after;
    }
}

/// Leaves out the messages of all attempts. That of the last one is the message of its step.
pub fn silence(steps: &mut [StepStatus]) {
    let attempts = steps.iter_mut().flat_map(|step| &mut step.attempts);
    attempts.for_each(|attempt| attempt.message = None);
}

/// Keeps what the next decision needs: whether an attempt counts for the limit of its step, and, while the task runs,
/// in which pods the step has been.
fn cut_middle(attempts: &mut [StepAttempt], has_ended: bool) {
    let end = attempts.len().saturating_sub(LAST);
    let Some((first, middle)) = attempts[..end].split_first() else {
        return;
    };
    let mut named: HashSet<Option<String>> = [None, first.pod.clone()].into();
    named.extend(attempts[end..].iter().map(|it| it.pod.clone()));
    let middle = 1..=middle.len();
    for attempt in &mut attempts[middle] {
        let is_needed = !has_ended && named.insert(attempt.pod.clone());
        *attempt = without_details(attempt, is_needed);
    }
}

fn without_details(attempt: &StepAttempt, with_pod: bool) -> StepAttempt {
    let may_be_lost = attempt.failure == Some(RetryOn::Infrastructure);
    StepAttempt {
        number: attempt.number,
        failure: attempt.failure,
        reason: Some(RECORD_CUT.into()),
        started_at: attempt.started_at.clone().filter(|_| may_be_lost),
        pod: attempt.pod.clone().filter(|_| with_pod),
        container: attempt.container.clone().filter(|_| with_pod),
        ..StepAttempt::default()
    }
}

#[cfg(test)]
mod tests {
    use kubeci_api::{Order, StepPhase, Workplan, WorkplanStatus};
    use kubeci_compiler::{STORED_MAX, stored_bytes};
    use kubeci_engine::failed_attempts;
    use rstest::rstest;

    use super::*;
    use crate::decision::fit::shorten;
    use crate::pod_builder::has_left;
    use crate::testing::workplan;

    const ATTEMPTS: u32 = 21;

    fn attempt(step: &str, number: u32, pod: String) -> StepAttempt {
        let is_lost = number == 7;
        let time = || serde_json::from_str("\"2026-01-01T00:10:00.000000Z\"").ok();
        StepAttempt {
            number,
            pod: Some(pod),
            container: Some(step.to_owned()),
            started_at: if is_lost { None } else { time() },
            finished_at: time(),
            exit_code: Some(75),
            reason: Some("Error".into()),
            message: Some("the server does not answer; ".repeat(9)),
            failure: Some(if is_lost {
                RetryOn::Infrastructure
            } else {
                RetryOn::Failure
            }),
        }
    }

    /// 500 steps in five tasks, each with as many attempts as it may have.
    fn many(phase: StepPhase, pod: impl Fn(usize, u32) -> String) -> (Workplan, WorkplanStatus) {
        let text = |task: usize| {
            let names: Vec<String> = (0..100).map(|at| format!("s{task}x{at}")).collect();
            format!("| {}", names.join(" "))
        };
        let texts: Vec<String> = (0..5).map(text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let plan = workplan(Order::Graph, &texts);
        let tasks = plan.spec.tasks.iter().enumerate();
        let steps = tasks.flat_map(|(task, it)| it.steps().map(move |step| (task, step)));
        let steps = steps.map(|(task, step)| StepStatus {
            name: step.name.clone(),
            phase,
            attempts: (1..=ATTEMPTS)
                .map(|number| attempt(&step.name, number, pod(task, number)))
                .collect(),
            ..StepStatus::default()
        });
        let steps = steps.collect();
        (
            plan,
            WorkplanStatus {
                steps,
                ..WorkplanStatus::default()
            },
        )
    }

    #[rstest]
    #[case::in_place(StepPhase::Running, |task, _| format!("my-workflow-7c2f9kx4bq-{task}"))]
    #[case::in_own_pods(StepPhase::Failed, |task, number| format!("my-workflow-7c2f9kx4bq-{task}-a{number}"))]
    #[case::in_own_pods_still(StepPhase::Running, |task, number| format!("my-workflow-7c2f9kx4bq-{task}-a{number}"))]
    fn largest_number_of_attempts_fits(
        #[case] phase: StepPhase,
        #[case] pod: fn(usize, u32) -> String,
    ) {
        let (plan, before) = many(phase, pod);
        let mut after = before.clone();
        shorten(&plan, &mut after);
        let stored = stored_bytes(&after) + stored_bytes(&plan.spec);
        assert!(stored < STORED_MAX, "{stored}");
        for (before, after) in before.steps.iter().zip(&after.steps) {
            let numbers = after.attempts.iter().map(|it| it.number);
            assert!(numbers.eq(1..=ATTEMPTS));
            let (first, last) = (&after.attempts[0], &after.attempts[ATTEMPTS as usize - 1]);
            assert_eq!((first.exit_code, last.exit_code), (Some(75), Some(75)));
            assert_eq!(failed_attempts(after), failed_attempts(before));
            let pods = before.attempts.iter().filter_map(|it| it.pod.as_deref());
            for pod in pods.filter(|_| !phase.is_final()) {
                assert_eq!(has_left(after, pod), has_left(before, pod), "{pod}");
            }
        }
        let again = after.clone();
        cut(&plan.spec.tasks, &mut after.steps);
        assert_eq!(after, again);
    }

    #[test]
    fn few_attempts_keep_their_details() {
        let (plan, mut status) = many(StepPhase::Failed, |task, number| format!("{task}-{number}"));
        for step in &mut status.steps {
            step.attempts.truncate(1 + LAST);
        }
        let before = status.clone();
        cut(&plan.spec.tasks, &mut status.steps);
        assert_eq!(status, before);
    }
}
