//! The outputs of steps: in the termination messages of containers, and in the records of step runners.

use kubeci_api::{Order, StepStatus};
use rstest::rstest;
use serde_json::json;

use super::fixtures::{decided, observed, phases, pod, summary};
use super::*;
use crate::testing::{relay, workplan, workplan_of};

/// The pod of the first task, whose containers have these termination messages.
fn with_messages(containers: &str, messages: &[(&str, &str)]) -> ObservedPod {
    let mut pod = pod(0, containers);
    for (name, message) in messages {
        let mut named = pod.containers.iter_mut().filter(|it| it.name == *name);
        let Some(ContainerState::Ended(end)) = named.next().map(|it| &mut it.state) else {
            panic!("{name} has not ended");
        };
        end.message = (*message).to_owned();
    }
    pod
}

/// The first step, and the summary of the plan.
fn first(plan: &Workplan, pod: ObservedPod) -> (StepStatus, String) {
    let decision = decided(plan, &observed([(0, pod)]));
    let summary = summary(&decision).to_owned();
    (decision.status.steps[0].clone(), summary)
}

fn outputs(step: &StepStatus) -> String {
    serde_json::to_string(&step.outputs).unwrap()
}

#[rstest]
#[case::none("0", "", "{}", "", "")]
#[case::line("0", "version=1.2\n", r#"{"version":"1.2"}"#, "", "")]
#[case::block("0", "a<<E\n1\n2\nE\nb=\n", r#"{"a":"1\n2","b":""}"#, "", "")]
#[case::message("0", "All passed.\n", "{}", "", "")]
#[case::malformed(
    "0",
    "a=1\nAll passed.\n",
    "{}",
    "a: InvalidOutput",
    "line 2 of the outputs"
)]
#[case::failed(
    "3",
    "a=1\n",
    r#"{"a":"1"}"#,
    "a: exit code 3",
    "the step wrote outputs"
)]
#[case::failed_with_message("3", "no route: code=5\n", "{}", "a: exit code 3", "no route: code=5")]
#[case::failed_half("3", "a=1\nno route\n", "{}", "a: exit code 3", "a=1\nno route")]
fn termination_message_is_outputs_or_message(
    #[case] exit_code: &str,
    #[case] written: &str,
    #[case] expected: &str,
    #[case] why: &str,
    #[case] message: &str,
) {
    let plan = workplan(Order::Linear, &["| a"]);
    let pod = with_messages(&format!("| a={exit_code}"), &[("a", written)]);
    let (step, summary) = first(&plan, pod);
    assert_eq!(outputs(&step), expected);
    assert_eq!(summary, why);
    let said = step.message.clone().unwrap_or_default();
    assert!(said.starts_with(message), "{said}");
    assert_eq!(step.exit_code, exit_code.parse().ok());
}

/// The kubelet keeps the last 4 KiB of a message, then the first bytes of them.
#[rstest]
#[case::alone("| a=0", 4094, "")]
#[case::alone_cut("| a=0", 4096, "a: OutputTooLarge")]
#[case::twelve("| a=0 b c d e f g h i j k l", 1023, "")]
#[case::twelve_cut("| a=0 b c d e f g h i j k l", 1024, "a: OutputTooLarge")]
fn cut_outputs_fail_the_step(
    #[case] containers: &str,
    #[case] bytes: usize,
    #[case] expected: &str,
) {
    let plan = workplan(Order::Linear, &["| a"]);
    let written = format!("a={}", "x".repeat(bytes - 2));
    let (step, summary) = first(&plan, with_messages(containers, &[("a", &written)]));
    assert_eq!(summary, expected);
    assert_eq!(step.outputs.is_empty(), !expected.is_empty());
    let said = step.message.unwrap_or_default();
    assert_eq!(
        said.contains(&format!("have {bytes} or more bytes")),
        !expected.is_empty(),
        "{said}"
    );
    let tail = "x".repeat(bytes);
    let (_, summary) = first(&plan, with_messages(containers, &[("a", &tail)]));
    assert_eq!(
        summary.is_empty(),
        bytes < 4096,
        "a message, if its beginning is known"
    );
}

#[test]
fn refused_outputs_of_serial_step_stop_its_pod() {
    let plan = workplan(Order::Linear, &["a b:a | c:b", "d"]);
    let pod = with_messages("a=0 b=run | c", &[("a", "9=1")]);
    let decision = decided(&plan, &observed([(0, pod)]));
    assert_eq!(phases(&decision.status), "fssp");
    assert!(
        decision.actions.contains(&Action::DeletePod(0)),
        "{:?}",
        decision.actions
    );
    // The operator was away for as long.
    let pod = with_messages("a=0 b=0 | c=run", &[("a", "9=1")]);
    let decision = decided(&plan, &observed([(0, pod)]));
    assert_eq!(phases(&decision.status), "fcsp");
    assert!(
        decision.actions.contains(&Action::DeletePod(0)),
        "{:?}",
        decision.actions
    );
}

#[rstest]
#[case::completed(
    "0",
    "completed",
    "",
    "\u{1e}a=1\n2\u{1e}b=\u{4}",
    r#"{"a":"1\n2","b":""}"#,
    "",
    Some(0)
)]
#[case::cut_between_outputs(
    "0",
    "completed",
    "",
    "\u{1e}a=1\u{1e}",
    "{}",
    "a: OutputTooLarge",
    Some(0)
)]
#[case::cut("0", "completed", "", "\u{1e}a=1", "{}", "a: OutputTooLarge", Some(0))]
#[case::failed(
    "3",
    "failed",
    "exit=3",
    "disk full\u{1e}a=1\u{4}",
    r#"{"a":"1"}"#,
    "a: exit code 3",
    Some(3)
)]
#[case::failed_cut(
    "3",
    "failed",
    "exit=3",
    "disk full\u{1e}a=1",
    "{}",
    "a: exit code 3",
    Some(3)
)]
#[case::invalid(
    "123",
    "failed",
    "output=invalid",
    "line 1",
    "{}",
    "a: InvalidOutput",
    Some(0)
)]
#[case::too_large(
    "123",
    "failed",
    "output=too-large",
    "",
    "{}",
    "a: OutputTooLarge",
    Some(0)
)]
#[case::lies("3", "failed", "output=too-large", "", "{}", "a: exit code 3", Some(3))]
#[case::control_character(
    "0",
    "completed",
    "",
    "\u{1e}a=\u{1b}[2J\u{4}",
    "{}",
    "a: OutputTooLarge",
    Some(0)
)]
fn outputs_are_in_the_record(
    #[case] exit_code: &str,
    #[case] phase: &str,
    #[case] result: &str,
    #[case] tail: &str,
    #[case] expected: &str,
    #[case] why: &str,
    #[case] reported: Option<i32>,
) {
    let plan = workplan_of(relay(&["| a b"]));
    let head = format!("kubeci/1 {phase} up=2026-01-01T00:00:01Z started=1.500000 ended=2.250000");
    let record = format!("{head} {result}: {tail}");
    let pod = with_messages(&format!("| a={exit_code} b=0"), &[("a", &record)]);
    let (step, summary) = first(&plan, pod);
    assert_eq!(outputs(&step), expected);
    assert_eq!(summary, why);
    assert_eq!(step.exit_code, reported);
    let started = json!(step.started_at);
    assert_eq!(started, json!("2026-01-01T00:00:02.500000Z"));
}
