//! Conditions, and environment variables that are expressions.

use std::fs;

use step_runner::exit_code;
use step_runner::record::{End, HEAD_BYTES};

use crate::relay::{Relay, Running, prepared};

const SKIPPED: i32 = exit_code::SKIPPED as i32;
const EXPRESSION_FAILED: i32 = exit_code::EXPRESSION_FAILED as i32;

impl Relay {
    /// A step with a condition.
    fn when(&self, condition: &str, step: &str, needs: &[&str]) -> Running {
        self.with(&["--when", condition], step, needs, ":")
    }

    /// Asserts that a condition holds in a step after `needs`.
    fn assert_holds(&self, condition: &str, step: &str, needs: &[&str]) {
        let code = self.when(condition, step, needs).code();
        let message = self.termination_message(step);
        assert_eq!(code, 0, "{condition}: {message}");
    }
}

#[test]
fn true_condition_starts_the_command() {
    let relay = Relay::of(&["a", "b"]);
    let a = relay.held("a", &[], "echo found=3 > $KUBECI_OUTPUT");
    let b = relay.when("int(steps.a.outputs.found) > 2", "b", &["a"]);
    b.until_blocked();
    relay.release("a");
    assert_eq!((a.code(), b.code()), (0, 0));
}

#[test]
fn false_condition_skips_the_step() {
    let relay = Relay::of(&["a", "b", "c", "d"]);
    assert_eq!(relay.sh("a", &[], "exit 3").code(), 3);
    let condition = "steps.a.exitCode == 4";
    assert_eq!(relay.when(condition, "b", &["a.failed"]).code(), SKIPPED);
    assert_eq!(relay.end("b"), End::ConditionFalse);
    let message = "the condition is false: steps.a.exitCode == 4";
    assert_eq!(relay.message("b"), message);
    assert_eq!(relay.sh("c", &["b"], ":").code(), SKIPPED);
    assert_eq!(relay.message("c"), "b was skipped");
    assert_eq!(relay.sh("d", &["b.ended"], ":").code(), 0);
}

#[test]
fn values_are_those_of_the_status() {
    let relay = Relay::of(&["ok", "bad", "none", "skip", "lost", "cut", "out", "x"]);
    assert_eq!(relay.sh("ok", &[], "echo x-y=1 > $KUBECI_OUTPUT").code(), 0);
    let bad = relay.sh("bad", &[], "echo found=3 > $KUBECI_OUTPUT; exit 4");
    assert_eq!(bad.code(), 4);
    assert_eq!(relay.start("none", &[], &["/no/such"]).code(), 127);
    assert_eq!(relay.sh("skip", &["bad"], ":").code(), SKIPPED);
    relay.sh("lost", &[], "kill -KILL $PPID").exit();
    let cut = relay.with(&["--timeout", "20ms"], "cut", &[], "sleep 3600");
    assert_eq!(cut.code(), i32::from(exit_code::TIMED_OUT));
    let out = relay.sh("out", &[], "echo x == y > $KUBECI_OUTPUT");
    assert_eq!(out.code(), i32::from(exit_code::OUTPUT_REFUSED));
    let each = [
        r#"steps.ok == {"phase": "completed", "exitCode": 0, "outputs": {"x-y": "1"}}"#,
        r#"steps.bad == {"phase": "failed", "exitCode": 4, "outputs": {"found": "3"}}"#,
        r#"steps.none == {"phase": "failed", "exitCode": 127, "outputs": {}}"#,
        r#"steps.skip == {"phase": "skipped", "outputs": {}}"#,
        r#"steps.lost == {"phase": "failed", "exitCode": 137, "outputs": {}}"#,
        r#"steps.cut == {"phase": "failed", "exitCode": 124, "outputs": {}}"#,
        r#"steps.out == {"phase": "failed", "exitCode": 0, "outputs": {}}"#,
    ];
    let names = ["ok", "bad", "none", "skip", "lost", "cut", "out"];
    let needs = names.map(|step| format!("{step}.ended"));
    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
    relay.assert_holds(&each.join(" && "), "x", &needs);
}

#[test]
fn values_of_other_pods_are_given() {
    let relay = Relay::of(&["a"]);
    let options = [
        "--step-values",
        r#"b={"phase": "failed", "exitCode": 3, "outputs": {"x": "="}}"#,
        "--values",
        r#"workflow={"name": "w"}"#,
        "--values",
        "event=not named, not read",
        "--when",
        r#"steps.b.exitCode == 3 && steps.b.outputs.x == "=" && workflow.name == "w""#,
    ];
    assert_eq!(relay.with(&options, "a", &[], ":").code(), 0);
}

#[test]
fn step_without_values_fails_with_the_reason() {
    let relay = Relay::of(&["a", "b", "c", "d"]);
    assert_eq!(relay.sh("a", &[], ":").code(), 0);
    let ran = relay.path("workspace/ran");
    let options = [
        "--retry",
        "limit=3,on=Failure",
        "--when",
        r#"steps.a.outputs.x == "1""#,
    ];
    let b = relay.with(&options, "b", &["a"], &format!(": > {}", ran.display()));
    assert_eq!(b.code(), EXPRESSION_FAILED);
    assert_eq!(relay.end("b"), End::ExpressionFailed);
    let message = r#"steps.a.outputs.x == "1": column 16: the step a has no output x; it has none"#;
    assert_eq!(relay.message("b"), message);
    assert!(!ran.exists() && relay.earlier("b").is_empty());
    assert_eq!(relay.sh("c", &["b"], ":").code(), SKIPPED);
    assert_eq!(relay.message("c"), "b failed");
    assert_eq!(relay.sh("d", &["b.failed"], ":").code(), 0);
}

#[test]
fn wrong_texts_fail_the_step() {
    let wrong = [
        (["--when", "1 +"], "1 +: column 4: "),
        (["--when", "1 + 1"], "1 + 1: column 3: the condition is 2"),
        (["--set", "X=[1]"], "[1]: column 1: the value is [1]"),
        (["--set", "X=nope"], "nope: column 1: there is no nope here"),
        (["--set", "X=event"], "event: column 4: "),
        (["--set", "X=steps.b.phase"], "b: column 1: not the values"),
    ];
    for (option, message) in wrong {
        let relay = Relay::of(&["a"]);
        let given = ["--values", "event=1 +", "--step-values", "b={}"];
        let options = [&given[..], &option].concat();
        assert_eq!(
            relay.with(&options, "a", &[], ":").code(),
            EXPRESSION_FAILED
        );
        let said = relay.message("a");
        assert!(said.starts_with(message), "{option:?}: {said}");
    }
}

#[test]
fn variables_are_set_for_all_attempts() {
    let relay = Relay::of(&["a", "b"]);
    assert_eq!(relay.sh("a", &[], "echo v=1.2 > $KUBECI_OUTPUT").code(), 0);
    let options = [
        "--set",
        r#"VERSION="v" + steps.a.outputs.v + "=$""#,
        "--set",
        "CODE=steps.a.exitCode + 1",
        "--set",
        "KUBECI_OUTPUT=1",
        "--retry",
        "limit=1,on=Failure",
    ];
    let test = r#"test "$VERSION" = "v1.2=$" -a "$CODE" = 1 -a "$KUBECI_OUTPUT" != 1"#;
    let script = format!("{test} || exit 9; {}", relay.fails_before(2, ":"));
    assert_eq!(relay.with(&options, "b", &["a"], &script).code(), 0);
    assert_eq!(relay.earlier("b").len(), 1);
}

#[test]
fn program_is_found_in_a_path_that_is_set() {
    let relay = Relay::of(&["a", "b"]);
    let tool = relay.path("workspace/tool");
    fs::copy("/bin/true", tool).unwrap();
    let options = |folder: &str| ["--set".to_owned(), format!("PATH='{folder}'")];
    let code = |step: &str, folder: &str| {
        let mut words = relay.words(step, &[], &["tool"]);
        words.splice(2..2, options(folder));
        Running(prepared(&words).spawn().unwrap()).code()
    };
    let workspace = relay.path("workspace");
    assert_eq!(code("a", workspace.to_str().unwrap()), 0);
    assert_eq!(code("b", "/no/such"), i32::from(exit_code::NOT_FOUND));
    let message = "tool was not found in the PATH of the image, /no/such";
    assert_eq!(relay.message("b"), message);
}

#[test]
fn condition_is_evaluated_once_edges_hold() {
    let relay = Relay::of(&["a", "b"]);
    let a = relay.held("a", &[], "exit 1");
    // It would fail at once.
    let b = relay.when("steps.c.phase == 'failed'", "b", &["a"]);
    b.until_blocked();
    relay.release("a");
    assert_eq!((a.code(), b.code()), (1, SKIPPED));
    assert_eq!(relay.message("b"), "a failed");
}

#[test]
fn named_step_without_edge_is_waited_for() {
    let relay = Relay::of(&["a", "b", "c"]);
    let a = relay.held("a", &[], "echo x=1 > $KUBECI_OUTPUT");
    let b = relay.when("steps.a.outputs.x == '1'", "b", &[]);
    b.until_blocked();
    relay.release("a");
    assert_eq!((a.code(), b.code()), (0, 0));
}

#[test]
fn condition_over_a_repeated_step_is_postponed() {
    let relay = Relay::of(&["a", "b"]);
    assert_eq!(relay.sh("a", &[], "kill -KILL $$").code(), 137);
    let options = ["--repeated", "a", "--when", "steps.a.exitCode == 137"];
    assert_eq!(relay.with(&options, "b", &[], ":").code(), SKIPPED);
    assert_eq!(relay.end("b"), End::Postponed);
    let because = "a was killed and may be attempted again";
    assert_eq!(relay.message("b"), because);
}

#[test]
fn end_of_a_long_condition_is_cut() {
    let long = format!("'{}' == 'é'", "é".repeat(100));
    for bytes in [0, 60] {
        let relay = Relay::of(&["a"]);
        let given = bytes.to_string();
        let options = ["--output-bytes", &given, "--when", &long];
        assert_eq!(relay.with(&options, "a", &[], ":").code(), SKIPPED);
        let message = relay.message("a");
        assert!(message.starts_with("the condition is") && message.ends_with('…'));
        assert!(relay.termination_message("a").len() <= HEAD_BYTES + bytes);
    }
}

#[test]
fn end_of_a_long_error_is_kept() {
    let relay = Relay::of(&["a"]);
    let wrong = format!("'{}' == nope", "é".repeat(100));
    let options = ["--output-bytes", "20", "--when", &wrong];
    assert_eq!(
        relay.with(&options, "a", &[], ":").code(),
        EXPRESSION_FAILED
    );
    let message = relay.message("a");
    assert!(
        message.starts_with('…') && message.ends_with("there is no nope here"),
        "{message}"
    );
    assert!(relay.termination_message("a").len() <= HEAD_BYTES + 20);
}

#[test]
fn outputs_of_a_repeated_step_are_published_whole() {
    let relay = Relay::of(&["a", "b"]);
    let value = "x".repeat(3900);
    let script = format!("echo v={value} > $KUBECI_OUTPUT");
    let script = relay.fails_before(40, &script);
    let a = relay.with(&["--retry", "limit=50,on=Failure"], "a", &[], &script);
    assert_eq!(a.code(), 0);
    relay.assert_holds("size(steps.a.outputs.v) == 3900", "b", &["a"]);
}
