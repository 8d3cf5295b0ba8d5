//! The effect of the record of a step runner.

use rstest::rstest;

use super::*;

#[rstest]
#[case::completed(
    "0",
    "Completed",
    "completed started=1.500000 ended=2.250000",
    "c",
    "",
    Some("02.5"),
    Some("03.25")
)]
#[case::failed(
    "3",
    "Error",
    "failed started=1.500000 ended=2.250000 exit=3: disk full",
    "f",
    "exit code 3: disk full",
    Some("02.5"),
    Some("03.25")
)]
#[case::killed(
    "143",
    "Error",
    "failed started=1.500000 ended=2.250000 signal=15",
    "f",
    "exit code 143",
    Some("02.5"),
    Some("03.25")
)]
#[case::not_found(
    "127",
    "Error",
    "failed ended=2.250000 exit=127: nope was not found",
    "f",
    "exit code 127: nope was not found",
    None,
    Some("03.25")
)]
#[case::runner_out_of_memory(
    "137",
    "OOMKilled",
    "running started=1.500000",
    "f",
    "OOMKilled: the container used more memory",
    Some("02.5"),
    Some("02")
)]
#[case::runner_killed(
    "137",
    "Error",
    "running started=1.500000",
    "f",
    "RunnerKilled: something on the node killed the step runner",
    Some("02.5"),
    Some("02")
)]
#[case::node_restarted(
    "255",
    "Unknown",
    "running started=1.500000",
    "f",
    "ContainerStatusUnknown: the node does not know how the container ended",
    Some("02.5"),
    Some("02")
)]
#[case::node_restarted_after_end(
    "255",
    "Unknown",
    "completed started=1.500000 ended=2.250000",
    "f",
    "ContainerStatusUnknown: ",
    Some("02.5"),
    Some("03.25")
)]
#[case::killed_by_the_step(
    "137",
    "Error",
    "failed started=1.500000 ended=2.250000 signal=9",
    "f",
    "exit code 137",
    Some("02.5"),
    Some("03.25")
)]
#[case::killed_while_it_waited("137", "Error", "waiting", "f", "RunnerKilled: ", None, Some("02"))]
#[case::lies_about_a_condition(
    "1",
    "Error",
    "skipped ended=2.250000 condition=false",
    "f",
    "exit code 1",
    None,
    Some("03.25")
)]
#[case::lies_about_an_expression(
    "77",
    "Error",
    "failed ended=2.250000 expression=failed",
    "f",
    "exit code 77",
    None,
    Some("03.25")
)]
#[case::lies_to_have_been_skipped(
    "1",
    "Error",
    "skipped ended=2.250000",
    "f",
    "exit code 1",
    None,
    Some("03.25")
)]
#[case::lies_to_have_completed(
    "1",
    "Error",
    "completed started=1.500000 ended=2.250000",
    "f",
    "exit code 1",
    Some("02.5"),
    Some("03.25")
)]
#[case::lies_to_have_failed(
    "0",
    "Completed",
    "failed started=1.500000 ended=2.250000 exit=1",
    "c",
    "",
    Some("02.5"),
    Some("03.25")
)]
fn record_counts_as_far_as_exit_code_allows(
    #[case] exit_code: &str,
    #[case] reason: &str,
    #[case] record: &str,
    #[case] expected: &str,
    #[case] message: &str,
    #[case] started: Option<&str>,
    #[case] ended: Option<&str>,
) {
    let mut pod = with_records(&format!("| a={exit_code} b=run"), &[("a", record)]);
    if let ContainerState::Ended(end) = &mut pod.containers[0].state {
        end.reason = reason.into();
    }
    let status = decided(&plan(&["| a b"]), &observed([(0, pod)])).status;
    assert_eq!(phases(&status), format!("{expected}r"));
    let step = step(&status, "a");
    assert!(
        sentence(&status, "a").starts_with(message),
        "{:?}",
        step.message
    );
    assert_eq!(step.started_at, started.map(time));
    assert_eq!(step.finished_at, ended.map(time));
    assert_eq!(step.exit_code, exit_code.parse().ok());
}

#[rstest]
#[case::condition_is_false(
    77,
    "skipped ended=2.250000 condition=false: the condition is false: 1 > 2",
    StepPhase::Skipped,
    "the condition is false: 1 > 2"
)]
#[case::condition_is_cut(
    77,
    "skipped ended=2.250000 condition=false",
    StepPhase::Skipped,
    "the condition is false"
)]
#[case::expression_failed(
    122,
    "failed ended=2.250000 expression=failed: 1 / 0: column 3: 1 / 0 divides by zero",
    StepPhase::Failed,
    "ExpressionFailed: 1 / 0: column 3: 1 / 0 divides by zero"
)]
#[case::error_is_cut(
    122,
    "failed ended=2.250000 expression=failed",
    StepPhase::Failed,
    "ExpressionFailed: the message does not fit"
)]
fn expression_decides_about_its_step(
    #[case] exit_code: i32,
    #[case] record: &str,
    #[case] phase: StepPhase,
    #[case] message: &str,
    #[values(false, true)] is_removed: bool,
) {
    let mut pod = with_records(&format!("| a={exit_code} b=run"), &[("a", record)]);
    pod.deleting = is_removed;
    let status = decided(&plan(&["| a b"]), &observed([(0, pod)])).status;
    let step = step(&status, "a");
    assert_eq!((step.phase, step.exit_code), (phase, None));
    assert_eq!(step.started_at, None);
    let said = sentence(&status, "a");
    assert!(said.starts_with(message), "{said}");
}

/// A relay of `a` and `b`, in which `a` has a time limit and two retries, and has left this record.
fn limited(exit_code: i32, record: &str) -> WorkplanStatus {
    let mut plan = plan(&["| a b"]);
    let step = &mut plan.spec.tasks[0].parallel_steps[0];
    step.timeout = Some(std::time::Duration::from_secs(90).into());
    step.retry = serde_json::from_value(serde_json::json!({"limit": 2})).unwrap();
    let pod = with_records(&format!("| a={exit_code} b=run"), &[("a", record)]);
    decided(&plan, &observed([(0, pod)])).status
}

#[rstest]
#[case::timed_out(
    124,
    "timeout started=1.500000 ended=2.250000 signal=15",
    "Timeout: the step ran longer than its timeout of 1m 30s"
)]
#[case::with_its_own_message(
    124,
    "timeout started=1.500000 ended=2.250000 signal=15: at 40 %",
    "Timeout: the step ran longer than its timeout of 1m 30s: at 40 %"
)]
#[case::same_exit_code(
    124,
    "failed started=1.500000 ended=2.250000 exit=124",
    "exit code 124"
)]
#[case::lies_to_have_timed_out(
    1,
    "timeout started=1.500000 ended=2.250000 signal=15",
    "exit code 1"
)]
fn timeout_has_its_limit_in_the_message(
    #[case] exit_code: i32,
    #[case] record: &str,
    #[case] message: &str,
) {
    let status = limited(exit_code, record);
    assert_eq!(sentence(&status, "a"), message);
    let step = step(&status, "a");
    assert_eq!(
        (step.started_at.clone(), step.exit_code),
        (Some(time("02.5")), Some(exit_code))
    );
}

/// Number, start, exit code and reason.
type AttemptParts<'a> = (u32, Option<MicroTime>, Option<i32>, Option<&'a str>);

fn attempts(status: &WorkplanStatus) -> Vec<AttemptParts<'_>> {
    let attempts = step(status, "a").attempts.iter();
    let parts = attempts.map(|it| {
        (
            it.number,
            it.started_at.clone(),
            it.exit_code,
            it.reason.as_deref(),
        )
    });
    parts.collect()
}

#[test]
fn attempts_of_step_runner_are_listed() {
    let record = "completed started=3.500000 ended=4.250000 try=3 earlier=0.500/1.000/7,2.000/3.000/timeout,";
    let status = limited(0, record);
    let expected = [
        (1, Some(time("01.5")), Some(7), Some("Error")),
        (2, Some(time("03")), Some(124), Some("Timeout")),
        (3, Some(time("04.5")), Some(0), None),
    ];
    assert_eq!(attempts(&status), expected);
    assert_eq!(step(&status, "a").phase, StepPhase::Completed);
    assert_eq!(step(&status, "a").started_at, Some(time("04.5")));
}

#[test]
fn cut_attempts_are_counted() {
    let record =
        "failed started=3.500000 ended=4.250000 exit=7 try=3 earlier=0.500/1.000/7,2.000/3";
    let status = limited(7, record);
    let expected = [
        (1, Some(time("01.5")), Some(7), Some("Error")),
        (2, None, None, Some("RecordCut")),
        (3, Some(time("04.5")), Some(7), Some("Error")),
    ];
    assert_eq!(attempts(&status), expected);
}

#[test]
fn forged_attempts_are_bounded_by_the_policy() {
    let record = "failed started=3.500000 ended=4.250000 exit=7 try=99 earlier=";
    assert_eq!(attempts(&limited(7, record)).len(), 3);
}
