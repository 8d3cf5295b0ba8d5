//! Workplans that nobody compiled.

use kube::ResourceExt;
use kubeci_api::{Phase, StepPhase};
use kubeci_e2e::{Inspector, create, step, workspace_of};
use rstest::rstest;

/// A Workplan with the spec's fields before the tasks in YAML's flow style, as the tasks are.
fn plan(name: &str, settings: &str, tasks: &str) -> String {
    format!(
        "{{apiVersion: kube.ci/v1alpha1, kind: Workplan, metadata: {{name: {name}}}, \
          spec: {{{settings}, tasks: {tasks}}}}}"
    )
}

fn writes(name: &str) -> String {
    format!(
        "{{name: {name}, image: alpine, commands: [sh, -c], args: ['echo {name} >> /kubeci/log']}}"
    )
}

#[tokio::test]
async fn linear_tasks_run_one_after_the_other() {
    kubeci_e2e::run("linear", async |test| {
        let (a, b, c, d) = (writes("a"), writes("b"), writes("c"), writes("d"));
        let last = "{name: last, image: alpine, commands: [cat, /kubeci/log]}";
        let tasks = format!("[{{SerialSteps: [{a}, {b}]}}, {{ParallelSteps: [{c}]}}, {{SerialSteps: [{d}], ParallelSteps: [{last}]}}]");
        test.create(&plan("by-hand", "order: Linear", &tasks)).await;
        let ended = test.ends("by-hand", Phase::Completed).await;
        assert_eq!(ended.status.and_then(|it| it.progress).as_deref(), Some("5/5"));
        assert_eq!(test.log("by-hand-2", "last").await, "a\nb\nc\nd\n");
        test.cleaned("by-hand").await;
        let pods = test.pods_of("by-hand").await;
        let inspector = Inspector::get(&test.client).await;
        inspector.assert_gone(&workspace_of(&pods[0])).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn graph_tasks_run_when_their_dependencies_are_done(#[values("Graph", "Relay")] order: &str) {
    kubeci_e2e::run("graph", async |test| {
        // The first task waits for what the second one makes.
        let waits = "{name: waits, image: alpine, commands: [sh, -c], args: ['until [ -e /kubeci/made ]; do sleep 0.1; done']}";
        let makes = "{name: makes, image: alpine, commands: [touch, /kubeci/made]}";
        let both = "{name: both, image: alpine, commands: ['true'], dependency: [waits, makes]}";
        let tasks = format!("[{{ParallelSteps: [{waits}]}}, {{ParallelSteps: [{makes}]}}, {{ParallelSteps: [{both}]}}]");
        test.create(&plan("by-hand", &format!("order: {order}"), &tasks)).await;
        test.ends("by-hand", Phase::Completed).await;
        test.cleaned("by-hand").await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn dependent_starts_before_the_pod_ends(#[values("Graph", "Relay")] order: &str) {
    kubeci_e2e::run("container", async |test| {
        // The first pod lives until the second has run.
        let a = "{name: a, image: alpine, commands: ['true']}";
        let b = "{name: b, image: alpine, commands: [sh, -c], args: ['until [ -e /kubeci/made ]; do sleep 0.1; done']}";
        let after = "{name: after-a, image: alpine, commands: [touch, /kubeci/made], dependency: [a]}";
        let tasks = format!("[{{ParallelSteps: [{a}, {b}]}}, {{ParallelSteps: [{after}]}}]");
        test.create(&plan("by-hand", &format!("order: {order}"), &tasks)).await;
        test.ends("by-hand", Phase::Completed).await;
        test.cleaned("by-hand").await;
    })
    .await;
}

#[tokio::test]
async fn relay_steps_may_be_in_any_order() {
    kubeci_e2e::run("by-hand-relay", async |test| {
        let writes = |name: &str, dependency: &str| {
            writes(name).replace('}', &format!(", dependency: [{dependency}]}}"))
        };
        let steps = [writes("c", "b"), writes("a", ""), writes("b", "a")];
        let last = "{name: last, image: alpine, commands: [cat, /kubeci/log], dependency: [c]}";
        let tasks = format!("[{{ParallelSteps: [{last}, {}]}}]", steps.join(", "));
        test.create(&plan("by-hand", "order: Relay", &tasks)).await;
        test.ends("by-hand", Phase::Completed).await;
        assert_eq!(test.log("by-hand-0", "last").await, "a\nb\nc\n");
        test.cleaned("by-hand").await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn edges_of_all_kinds_hold(#[values("Graph", "Relay")] order: &str) {
    kubeci_e2e::run("edges", async |test| {
        let shell = |name: &str, line: &str, edges: &str| {
            format!(
                "{{name: {name}, image: alpine, commands: [sh, -c], args: ['{line}'], {edges}}}"
            )
        };
        let first = [
            shell("fails", "exit 3", ""),
            shell("may-fail", "exit 4", "allowFailure: true"),
        ];
        let second = [
            shell(
                "handles",
                "true",
                "dependency: [may-fail], onFailure: [fails]",
            ),
            shell("depends", "true", "dependency: [may-fail, fails]"),
            shell("comes-after", "true", "after: [may-fail, fails]"),
        ];
        let last = shell("last", "true", "after: [depends], dependency: [handles]");
        let tasks = format!(
            "[{{ParallelSteps: [{}]}}, {{ParallelSteps: [{}]}}, {{ParallelSteps: [{last}]}}]",
            first.join(", "),
            second.join(", ")
        );
        test.create(&plan("by-hand", &format!("order: {order}"), &tasks))
            .await;
        let ended = test.ends("by-hand", Phase::Failed).await;
        let expected = [
            ("fails", StepPhase::Failed),
            ("may-fail", StepPhase::Failed),
            ("handles", StepPhase::Completed),
            ("depends", StepPhase::Skipped),
            ("comes-after", StepPhase::Completed),
            ("last", StepPhase::Completed),
        ];
        for (name, phase) in expected {
            assert_eq!(
                step(&ended, name).phase,
                phase,
                "{name}: {:?}",
                ended.status
            );
        }
        let status = ended.status.unwrap_or_default();
        assert_eq!(status.summary.as_deref(), Some("fails: exit code 3"));
        assert_eq!(status.progress.as_deref(), Some("4/6"));
        test.cleaned("by-hand").await;
    })
    .await;
}

#[tokio::test]
async fn invalid_plan_is_refused_or_fails() {
    let cases: [(&str, &str, &str, &[&str]); 11] = [
        ("no-tasks", "order: Linear", "[]", &["spec.tasks"]),
        (
            "empty-task",
            "order: Linear",
            "[{}]",
            &["at least one step"],
        ),
        (
            "same-name",
            "order: Linear",
            "[{SerialSteps: [{name: a, image: alpine}]}, {SerialSteps: [{name: a, image: alpine}]}]",
            &["spec.tasks[1]", "a"],
        ),
        (
            "same-name-in-task",
            "order: Linear",
            "[{SerialSteps: [{name: a, image: alpine}], ParallelSteps: [{name: a, image: alpine}]}]",
            &["spec.tasks[0]", "a"],
        ),
        (
            "unknown-dependency",
            "order: Graph",
            "[{SerialSteps: [{name: a, image: alpine, dependency: [nothing]}]}]",
            &["nothing"],
        ),
        (
            "cycle",
            "order: Graph",
            "[{SerialSteps: [{name: a, image: alpine, dependency: [b]}]}, {SerialSteps: [{name: b, image: alpine, dependency: [a]}]}]",
            &["spec.tasks[0] needs spec.tasks[1], spec.tasks[1] needs spec.tasks[0]"],
        ),
        (
            "unknown-order",
            "order: Random",
            "[{SerialSteps: [{name: a, image: alpine}]}]",
            &["spec.order"],
        ),
        (
            "relay-in-a-row",
            "order: Relay",
            "[{SerialSteps: [{name: a, image: alpine}]}]",
            &["order: Relay", "ParallelSteps"],
        ),
        (
            "relay-cycle",
            "order: Relay",
            "[{ParallelSteps: [{name: a, image: alpine, commands: ['true'], dependency: [b]}, {name: b, image: alpine, commands: ['true'], dependency: [a]}]}]",
            &["spec.tasks[0].ParallelSteps[0]", "a needs b, b needs a"],
        ),
        (
            "relay-without-commands",
            "order: Relay",
            "[{ParallelSteps: [{name: a, image: alpine, commands: ['true']}, {name: b, image: alpine}]}]",
            &["spec.tasks[0].ParallelSteps[1].commands"],
        ),
        (
            "pods-with-one-folder",
            "order: Relay, workspace: {emptyDir: {}}",
            "[{ParallelSteps: [{name: a, image: alpine}]}, {ParallelSteps: [{name: b, image: alpine}]}]",
            &["emptyDir", "hostPath"],
        ),
    ];
    kubeci_e2e::run("cannot-run", async |test| {
        for (name, settings, tasks, words) in cases {
            let created = create(&test.client, &test.namespace, &plan(name, settings, tasks)).await;
            if let Err(error) = created {
                let said = error.to_string();
                assert!(kubeci_e2e::all_in(&said, words), "{name}: {said}");
                continue;
            }
            let failed = test.ends(name, Phase::Failed).await;
            assert!(failed.finalizers().is_empty(), "{name} has no folder");
            test.workplan_says(name, words).await;
            assert!(test.pods_of(name).await.is_empty(), "{name}");
        }
    })
    .await;
}
