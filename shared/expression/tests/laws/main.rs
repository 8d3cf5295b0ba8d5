//! The laws of expressions: the values of the reference, total evaluation, bounded parsing, messages that help.
#![allow(clippy::unwrap_used, clippy::panic)] // a law that cannot be checked is a failed test

mod docs;
mod generator;
mod hostile;
mod mistakes;
mod reference;
mod values;

use kubeci_expression::{Context, Scope, StepValues, Value};

/// The phases of steps in these tests.
const PHASES: &[&str] = &["completed", "failed", "skipped"];

fn scope() -> Scope {
    Scope::of_step(PHASES)
}

fn step(phase: &str, exit_code: Option<i64>, outputs: &[(&str, &str)]) -> StepValues {
    let outputs = outputs.iter().map(|it| (it.0.to_owned(), it.1.to_owned()));
    StepValues {
        phase: phase.to_owned(),
        exit_code,
        outputs: outputs.collect(),
    }
}

fn context() -> Context {
    let params = r#"{"a": "x", "b": true, "d": 1.5, "map": {"k": 1, "k-2": "v"}, "n": 3, "no": null,
        "list": [1, 2, 3], "texts": ["a", "bc", "é"], "mixed": [1, "a", null, 2.0, {"k": 1}]}"#;
    Context::new()
        .with("params", Value::parse(params).unwrap())
        .with("event", "update")
        .with("workflow", [("name", "w")].into_iter().collect::<Value>())
        .with_step(
            "a",
            step("completed", Some(0), &[("version", "1.2"), ("digest", "")]),
        )
        .with_step("build-it", step("failed", Some(3), &[]))
        .with_step("late", step("skipped", None, &[]))
}
