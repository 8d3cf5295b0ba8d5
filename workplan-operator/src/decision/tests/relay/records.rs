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
#[case::killed_while_it_waited("137", "Error", "waiting", "f", "exit code 137", None, Some("02"))]
#[case::stopped_while_it_waited(
    "77",
    "Error",
    "skipped ended=2.250000: stopped by SIGTERM",
    "f",
    "exit code 77: stopped by SIGTERM",
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
