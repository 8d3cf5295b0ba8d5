//! Conditions, and variables whose values are expressions.

use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, StepPhase, Workplan};
use kubeci_e2e::{Test, create, run_as, step};
use rstest::rstest;
use serde_json::{Value, json};

use crate::workflow::{fire, on_config_maps, script, steps};

/// A step with more fields.
fn with(mut step: Value, fields: &Value) -> Value {
    let fields = fields.as_object().cloned().unwrap_or_default();
    step.as_object_mut().expect("a step").extend(fields);
    step
}

fn assert_phases(plan: &Workplan, expected: &[(&str, StepPhase)]) {
    for (name, phase) in expected {
        assert_eq!(step(plan, name).phase, *phase, "{name}: {:?}", plan.status);
    }
}

fn message(plan: &Workplan, name: &str) -> String {
    step(plan, name).message.unwrap_or_default()
}

/// A step that does not run has neither a start nor an exit code.
fn assert_never_ran(plan: &Workplan, name: &str) {
    let step = step(plan, name);
    assert_eq!((step.started_at, step.exit_code), (None, None), "{name}");
}

#[rstest]
#[tokio::test]
async fn condition_decides_whether_step_runs(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "conditions", async |test| {
        let writes = script("writes", "echo side=heads >> $KUBECI_OUTPUT", &[]);
        let fails = with(
            script("fails", "exit 3", &[]),
            &json!({"allowFailure": true}),
        );
        let when = |name: &str, after: &str, when: &str| {
            let fields = json!({"after": [after], "when": when});
            with(script(name, "true", &[]), &fields)
        };
        let all = [
            writes,
            fails,
            when("is-heads", "writes", "steps.writes.outputs.side == 'heads'"),
            when("is-tails", "writes", "steps.writes.outputs.side == 'tails'"),
            when("by-code", "fails", "steps.fails.exitCode == 3"),
            when("by-phase", "fails", "steps.fails.phase != 'failed'"),
            script("depends", "true", &["is-tails"]),
            with(
                script("goes-on", "true", &[]),
                &json!({"after": ["is-tails"]}),
            ),
            when(
                "sees-it",
                "is-tails",
                "steps['is-tails'].phase == 'skipped'",
            ),
        ];
        let name = fire(test, "conditions", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Completed).await;
        let expected = [
            ("is-heads", StepPhase::Completed),
            ("is-tails", StepPhase::Skipped),
            ("by-code", StepPhase::Completed),
            ("by-phase", StepPhase::Skipped),
            ("depends", StepPhase::Skipped),
            ("goes-on", StepPhase::Completed),
            ("sees-it", StepPhase::Completed),
        ];
        assert_phases(&plan, &expected);
        let expected = "the condition is false: steps.writes.outputs.side == 'tails'";
        assert_eq!(message(&plan, "is-tails"), expected);
        assert_never_ran(&plan, "is-tails");
        let expected = "skipped: its dependency is-tails did not complete";
        assert_eq!(message(&plan, "depends"), expected);
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn variables_have_values_of_expressions(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "condition-env", async |test| {
        let env = json!({"env": [
            {"name": "TEXT", "expr": "steps.writes.outputs.text"},
            {"name": "CODE", "expr": "steps.writes.exitCode + 1"},
            {"name": "NAMED", "expr": "workflow.name + '/' + event.name + '/' + event.event"},
            {"name": "PLAIN", "value": "$(KUBECI_STEP)"},
        ]});
        let writes = "printf 'text<<E\\n$(PATH) \"a\"\\n$HOME\\nE\\n' >> $KUBECI_OUTPUT";
        let prints = "printf '%s|' \"$TEXT\" $CODE $NAMED $PLAIN";
        let all = [
            script("writes", writes, &[]),
            with(script("prints", prints, &["writes"]), &env),
        ];
        let name = fire(test, "env", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Completed).await;
        let expected = "$(PATH) \"a\"\n$HOME|1|env/object/add|prints|";
        assert_eq!(test.log_of(&plan, "prints").await, expected);
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn expression_without_value_fails_step(
    #[values(Pods, Relay)] execution: Execution,
    #[values(
        ("when", "steps.first.outputs.none == 'x'", "has no output none"),
        ("expr", "1 / (steps.first.exitCode - 0)", "divides by zero")
    )]
    case: (&str, &str, &str),
) {
    let (field, expression, problem) = case;
    run_as(execution, &format!("condition-{field}"), async |test| {
        let fields = match field {
            "when" => json!({"when": expression}),
            _ => json!({"env": [{"name": "X", "expr": expression}]}),
        };
        let fields = with(fields, &json!({"retry": {"limit": 2}}));
        let all = [
            script("first", "true", &[]),
            with(script("broken", "true", &["first"]), &fields),
            script("depends", "true", &["broken"]),
            with(
                script("handles", "true", &[]),
                &json!({"onFailure": ["broken"]}),
            ),
        ];
        let name = fire(test, field, &steps(&all)).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let expected = [
            ("broken", StepPhase::Failed),
            ("depends", StepPhase::Skipped),
            ("handles", StepPhase::Completed),
        ];
        assert_phases(&plan, &expected);
        let broken = step(&plan, "broken");
        assert_eq!(broken.reason.as_deref(), Some("ExpressionFailed"));
        assert_eq!(broken.attempt(), 1);
        assert_never_ran(&plan, "broken");
        let said = message(&plan, "broken");
        assert!(
            said.starts_with(expression) && said.contains(problem),
            "{said}"
        );
        let summary = plan.status.and_then(|it| it.summary);
        assert_eq!(summary.as_deref(), Some("broken: ExpressionFailed"));
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[case::linear("Linear", "SerialSteps")]
#[case::graph("Graph", "ParallelSteps")]
#[case::relay("Relay", "ParallelSteps")]
#[tokio::test]
async fn conditions_of_workplan_by_hand_hold(#[case] order: &str, #[case] list: &str) {
    kubeci_e2e::run("condition-hand", async |test| {
        let when = |name: &str, condition: &str| {
            with(script(name, "true", &["a"]), &json!({"when": condition}))
        };
        let first = script("a", "echo x=1 >> $KUBECI_OUTPUT", &[]);
        let runs = when("runs", "steps.a.outputs.x == '1' && !has(event.name)");
        let skipped = when("skipped", "steps.a.outputs.x != '1'");
        let last = with(
            script("last", "true", &[]),
            &json!({"after": ["skipped", "runs"]}),
        );
        let second = [runs, skipped];
        let tasks = json!([{list: [first]}, {"ParallelSteps": second}, {list: [last]}]);
        create_plan(test, "by-hand", order, &tasks).await;
        let plan = test.ends("by-hand", Phase::Completed).await;
        let expected = [
            ("runs", StepPhase::Completed),
            ("skipped", StepPhase::Skipped),
            ("last", StepPhase::Completed),
        ];
        assert_phases(&plan, &expected);
        test.cleaned("by-hand").await;
    })
    .await;
}

#[tokio::test]
async fn wrong_conditions_by_hand_are_invalid() {
    kubeci_e2e::run("condition-invalid", async |test| {
        let b = |dependency: &[&str], when: &str| {
            with(script("b", "true", dependency), &json!({"when": when}))
        };
        let a = || script("a", "true", &[]);
        let in_task =
            json!([{"SerialSteps": [a()], "ParallelSteps": [b(&["a"], "steps.a.exitCode == 0")]}]);
        let no_edge =
            json!([{"SerialSteps": [a()]}, {"SerialSteps": [b(&[], "steps.a.exitCode == 0")]}]);
        let syntax =
            json!([{"SerialSteps": [a()]}, {"SerialSteps": [b(&["a"], "steps.a.exitCode = 0")]}]);
        let cases = [
            (
                "in-task",
                in_task,
                "spec.tasks[0].ParallelSteps[0].when: the expression names \"a\", a serial step of",
            ),
            (
                "no-edge",
                no_edge,
                "spec.tasks[1].SerialSteps[0].when: the expression names the step \"a\", which the",
            ),
            (
                "syntax",
                syntax,
                "spec.tasks[1].SerialSteps[0].when: column 18",
            ),
        ];
        for (name, tasks, expected) in cases {
            create_plan(test, name, "Linear", &tasks).await;
            let plan = test.workplan_says(name, &["InvalidPlan"]).await;
            let said = plan.status.and_then(|it| it.message).unwrap_or_default();
            assert!(said.contains(expected), "{said}");
        }
    })
    .await;
}

async fn create_plan(test: &Test, name: &str, order: &str, tasks: &Value) {
    let plan = json!({
        "apiVersion": "kube.ci/v1alpha1",
        "kind": "Workplan",
        "metadata": {"name": name},
        "spec": {"order": order, "tasks": tasks},
    });
    test.create(&plan.to_string()).await;
}

#[tokio::test]
async fn wrong_expressions_are_conditions_of_workflow() {
    kubeci_e2e::run("condition-workflow", async |test| {
        let all = [
            script("a", "true", &[]),
            with(
                script("b", "true", &[]),
                &json!({"when": "steps.a.phase == 'completed'"}),
            ),
        ];
        test.apply(&on_config_maps("no-edge", &steps(&all))).await;
        let expected = [
            "spec.steps[1].when",
            "\"a\"",
            "`dependency`, `onFailure` or `after`",
        ];
        test.workflow_refused("no-edge", &["Compiled"], &expected)
            .await;
    })
    .await;
}

#[tokio::test]
async fn api_server_refuses_several_values() {
    kubeci_e2e::run("condition-values", async |test| {
        let variable = json!({"env": [{"name": "X", "value": "1", "expr": "1"}]});
        let all = steps(&[with(script("a", "true", &[]), &variable)]);
        refuses(
            test,
            &on_config_maps("several", &all),
            "a variable has one value",
        )
        .await;
        let empty = json!({"when": ""});
        let all = steps(&[with(script("a", "true", &[]), &empty)]);
        refuses(test, &on_config_maps("empty", &all), "spec.steps[0].when").await;
    })
    .await;
}

async fn refuses(test: &Test, manifest: &str, expected: &str) {
    let created = create(&test.client, &test.namespace, manifest).await;
    let refused = created.expect_err("a wrong field").to_string();
    assert!(refused.contains(expected), "{refused}");
}
