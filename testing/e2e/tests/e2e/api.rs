//! The API as `kubectl` shows it.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kubeci_api::{Workflow, Workplan};
use kubeci_e2e::{all_in, create, kubectl};
use serde_json::json;

use crate::workflow::{ONE_STEP, WATCHED, unplaced, workflow};

async fn ask(arguments: &[&str]) -> String {
    kubectl(arguments, "")
        .await
        .unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
}

#[tokio::test]
async fn unknown_field_is_never_kept() {
    kubeci_e2e::run("unknown", async |test| {
        let typo = workflow("typo", ONE_STEP, WATCHED).replace("commands", "command");
        let refused = create(&test.client, &test.namespace, &typo).await;
        let said = refused.expect_err("refused").to_string();
        assert!(
            all_in(&said, &["unknown field", "spec.steps[0].command"]),
            "{said}"
        );

        let arguments = [
            "create",
            "-n",
            &test.namespace,
            "--validate=warn",
            "-f",
            "-",
        ];
        let warned = kubectl(&arguments, &typo).await.expect("created");
        assert!(
            all_in(
                &warned,
                &["warning", "unknown field", "spec.steps[0].command"]
            ),
            "{warned}"
        );
        let kept = ask(&["get", "wfl", "typo", "-n", &test.namespace, "-o", "yaml"]).await;
        assert!(!kept.contains("command:"), "{kept}");
    })
    .await;
}

#[tokio::test]
async fn spec_of_a_workplan_cannot_be_changed() {
    kubeci_e2e::run("immutable", async |test| {
        test.apply(&unplaced("immutable", WATCHED)).await;
        test.workflow_ready("immutable").await;
        test.config_map("object", "A").await;
        let plan = test.workplan("immutable").await.name_any();
        let patch = Patch::Merge(json!({"spec": {"serviceAccountName": "another"}}));
        let api = test.api::<Workplan>();
        let refused = api.patch(&plan, &PatchParams::default(), &patch).await;
        let said = refused.expect_err("refused").to_string();
        assert!(
            all_in(&said, &["spec of a Workplan cannot be changed"]),
            "{said}"
        );
        let labels = Patch::Merge(json!({"metadata": {"labels": {"may": "change"}}}));
        api.patch(&plan, &PatchParams::default(), &labels)
            .await
            .expect("labelled");
    })
    .await;
}

#[tokio::test]
async fn author_of_workflow_cannot_write_its_status() {
    kubeci_e2e::run("status", async |test| {
        let forged = workflow("forged", ONE_STEP, WATCHED) + "status: {succeeded: 7}\n";
        test.create(&forged).await;
        let stored: Workflow = test.workflow_ready("forged").await;
        assert_eq!(
            stored
                .status
                .and_then(|it| it.succeeded)
                .unwrap_or_default(),
            0
        );
    })
    .await;
}

#[tokio::test]
async fn kubectl_explains_the_fields() {
    kubeci_e2e::run("explain", async |_| {
        let cases: [(&str, &[&str]); 5] = [
            (
                "workflow.spec.triggers",
                &[
                    "KIND:       Workflow",
                    "VERSION:    v1alpha1",
                    "apiVersion",
                    "-required-",
                    "onAddOrUpdate\t<boolean>",
                    "selector",
                    "if all filters match",
                ],
            ),
            (
                "workflow.spec.steps",
                &["dependency\t<[]string>", "must complete", "volumeMounts"],
            ),
            (
                "workflow.status",
                &["lastObservedResourceGeneration\t<map[string]string>"],
            ),
            (
                "workplan.spec.tasks",
                &["SerialSteps", "ParallelSteps", "init containers"],
            ),
            (
                "workplan.status",
                &["taskIndex", "phase", "reason", "progress"],
            ),
        ];
        for (field, words) in cases {
            let text = ask(&["explain", field]).await;
            for word in words {
                assert!(
                    text.contains(word),
                    "{field} does not say {word:?}:\n{text}"
                );
            }
            assert!(
                !text.contains("<no description>") || field == "workflow.spec.steps",
                "{text}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn kubectl_shows_the_columns() {
    kubeci_e2e::run("columns", async |test| {
        test.apply(&unplaced("columns", WATCHED)).await;
        test.workflow_ready("columns").await;
        test.config_map("object", "A").await;
        let plan = test.workplan("columns").await.name_any();
        let namespace = test.namespace.as_str();
        let headers: [(&[&str], &str); 4] = [
            (
                &["get", "wp"],
                "NAME WORKFLOW PHASE PROGRESS TRIGGER REASON AGE",
            ),
            (
                &["get", "wp", "-o", "wide"],
                "NAME WORKFLOW PHASE PROGRESS TRIGGER REASON AGE NODE STARTED FINISHED MESSAGE",
            ),
            (
                &["get", "wfl"],
                "NAME READY REASON ACTIVE SUCCEEDED FAILED LAST-FIRED AGE",
            ),
            (
                &["get", "workplans.kube.ci"],
                "NAME WORKFLOW PHASE PROGRESS TRIGGER REASON AGE",
            ),
        ];
        for (arguments, header) in headers {
            let text = ask(&[arguments, &["-n", namespace]].concat()).await;
            let first = text.lines().next().unwrap_or_default();
            assert_eq!(
                first.split_whitespace().collect::<Vec<_>>().join(" "),
                header
            );
        }
        let rows = ask(&["get", "wp", "-n", namespace, "--no-headers"]).await;
        let row: Vec<_> = rows.split_whitespace().collect();
        assert_eq!(row[..3], [plan.as_str(), "columns", "pending"], "{rows}");
        assert!(row.contains(&"ConfigMap/object"), "{rows}");
        let all = ask(&["get", "kubeci", "-n", namespace, "-o", "name"]).await;
        assert!(
            all_in(
                &all,
                &["workflow.kube.ci/columns", "workplan.kube.ci/columns-"]
            ),
            "{all}"
        );
    })
    .await;
}
