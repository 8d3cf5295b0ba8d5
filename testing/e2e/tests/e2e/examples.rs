//! Each folder of `examples/`, as it stands. The diamond is where the law "Exact" is shown, the
//! document's, in the namespace that it names, in a test of its own.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, StepPhase, Workplan};
use kubeci_e2e::{Test, assert_in_order, eventually, fired, run_as, step};
use rstest::rstest;
use serde_json::json;

/// The text of a file below `examples/`, for the test's namespace.
fn example(test: &Test, path: &str) -> String {
    let here = format!("namespace: {}", test.namespace);
    kubeci_e2e::example(path).replace("namespace: default", &here)
}

async fn run(test: &Test, folder: &str, workflow: &str, phase: Phase) -> Workplan {
    test.apply(&example(test, &format!("{folder}/workflow.yaml")))
        .await;
    test.workflow_ready(workflow).await;
    test.apply(&example(test, &format!("{folder}/trigger.yaml")))
        .await;
    let name = test.workplan(workflow).await.name_any();
    let plan = test.ends(&name, phase).await;
    test.cleaned(&name).await;
    test.assert_folder_gone(workflow, &name).await;
    plan
}

#[rstest]
#[tokio::test]
async fn document(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-document", async |test| {
        let plan = run(test, "document", "my-workflow", Phase::Completed).await;
        let pods = match execution {
            Pods => 2,
            Relay => 1,
        };
        assert_eq!(test.pods_of(&plan.name_any()).await.len(), pods);
        assert_in_order(&plan);
        let log = test.log_of(&plan, "step-5").await;
        assert_eq!(log, "step-5\nfile-1\nfile-2\nfile-3\nfile-4\n");
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn failing_step(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-fails", async |test| {
        let plan = run(test, "failing-step", "failing-step", Phase::Failed).await;
        assert_eq!(step(&plan, "test").exit_code, Some(3));
        assert_eq!(step(&plan, "deploy").phase, StepPhase::Skipped);
        assert_eq!(step(&plan, "document").phase, StepPhase::Completed);
        let summary = plan.status.and_then(|it| it.summary);
        assert_eq!(summary.as_deref(), Some("test: exit code 3"));
    })
    .await;
}

fn assert_phases(plan: &Workplan, expected: &[(&str, StepPhase)]) {
    for (name, phase) in expected {
        assert_eq!(step(plan, name).phase, *phase, "{name}: {:?}", plan.status);
    }
}

#[rstest]
#[tokio::test]
async fn edges(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-edges", async |test| {
        let plan = run(test, "edges", "edges", Phase::Failed).await;
        let expected = [
            ("build", StepPhase::Completed),
            ("test", StepPhase::Failed),
            ("publish", StepPhase::Skipped),
            ("report", StepPhase::Completed),
            ("roll-back", StepPhase::Skipped),
            ("clean-up", StepPhase::Completed),
        ];
        assert_phases(&plan, &expected);
        let log = test.log_of(&plan, "report").await;
        assert_eq!(log, "expected 4, found 5\n");
        let skipped = step(&plan, "roll-back").message;
        let why = "skipped: it runs only if publish fails, and publish did not fail";
        assert_eq!(skipped.as_deref(), Some(why));
        let status = plan.status.unwrap_or_default();
        assert_eq!(status.summary.as_deref(), Some("test: exit code 3"));
        assert_eq!(status.progress.as_deref(), Some("3/6"));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn allow_failure(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-allow", async |test| {
        let plan = run(test, "allow-failure", "allow-failure", Phase::Completed).await;
        let expected = [("lint", StepPhase::Failed), ("test", StepPhase::Completed)];
        assert_phases(&plan, &expected);
        let note = step(&plan, "lint").message.unwrap_or_default();
        assert!(note.starts_with("allowed by allowFailure"), "{note}");
        let status = plan.status.unwrap_or_default();
        assert_eq!((status.reason, status.summary), (None, None));
        assert_eq!(status.progress.as_deref(), Some("2/2"));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn independent_branches(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-branches", async |test| {
        let folder = "independent-branches";
        let plan = run(test, folder, folder, Phase::Failed).await;
        let expected = [
            ("riscv64", StepPhase::Failed),
            ("test-riscv64", StepPhase::Skipped),
            ("test-arm64", StepPhase::Completed),
            ("test-amd64", StepPhase::Completed),
            ("summary", StepPhase::Completed),
        ];
        assert_phases(&plan, &expected);
        assert_eq!(step(&plan, "riscv64").attempt(), 3);
        let log = test.log_of(&plan, "summary").await;
        assert_eq!(log, "amd64\narm64\n");
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn finally(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-finally", async |test| {
        let plan = run(test, "finally", "finally", Phase::Failed).await;
        let expected = [
            ("build", StepPhase::Completed),
            ("test", StepPhase::Failed),
            ("publish", StepPhase::Skipped),
            ("report", StepPhase::Completed),
            ("clean-up", StepPhase::Completed),
        ];
        assert_phases(&plan, &expected);
        let log = test.log_of(&plan, "report").await;
        assert_eq!(log, "3 of 4 tests passed\n");
        let status = plan.status.unwrap_or_default();
        assert_eq!(status.summary.as_deref(), Some("test: exit code 1"));
        assert_eq!(status.progress.as_deref(), Some("3/5"));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn exit_handlers(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-exit", async |test| {
        let plan = run(test, "exit-handlers", "exit-handlers", Phase::Failed).await;
        let expected = [
            ("build", StepPhase::Failed),
            ("send-mail", StepPhase::Completed),
            ("clean-up", StepPhase::Completed),
            ("sign-off", StepPhase::Completed),
        ];
        assert_phases(&plan, &expected);
        let log = test.log_of(&plan, "send-mail").await;
        assert_eq!(log, format!("{} has ended\n", plan.name_any()));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn success_or_failure(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-either", async |test| {
        let folder = "success-or-failure";
        let plan = run(test, folder, folder, Phase::Completed).await;
        let expected = [
            ("lint", StepPhase::Completed),
            ("publish", StepPhase::Completed),
            ("report", StepPhase::Skipped),
        ];
        assert_phases(&plan, &expected);
        // As its comment says.
        let workflow = example(test, &format!("{folder}/workflow.yaml"));
        test.apply(&workflow.replace("exit 0", "exit 1")).await;
        test.workflow_ready(folder).await;
        let trigger = example(test, &format!("{folder}/trigger.yaml"));
        test.apply(&trigger.replace("\"1\"", "\"2\"")).await;
        let plans = test.workplans_reach(folder, 2).await;
        let second = plans.iter().find(|it| it.name_any() != plan.name_any());
        let name = second.expect("another Workplan").name_any();
        let plan = test.ends(&name, Phase::Failed).await;
        let expected = [
            ("publish", StepPhase::Skipped),
            ("report", StepPhase::Completed),
        ];
        assert_phases(&plan, &expected);
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn mixed_edges(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-mixed", async |test| {
        let plan = run(test, "mixed-edges", "mixed-edges", Phase::Failed).await;
        let expected = [
            ("unit", StepPhase::Completed),
            ("integration", StepPhase::Failed),
            ("cover", StepPhase::Completed),
            ("notify", StepPhase::Completed),
            ("deploy", StepPhase::Skipped),
            ("archive", StepPhase::Completed),
        ];
        assert_phases(&plan, &expected);
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn cancel(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-cancel", async |test| {
        test.apply(&example(test, "cancel/workflow.yaml")).await;
        test.workflow_ready("cancel").await;
        test.apply(&example(test, "cancel/trigger.yaml")).await;
        let name = test.workplan("cancel").await.name_any();
        let plan = test.runs(&name, "serve").await;
        eventually("the step has begun", async || {
            let log = test.log_of(&plan, "serve").await;
            if log == "started\n" { Ok(()) } else { Err(log) }
        })
        .await;
        test.patch_workplan(&name, json!({"cancel": true}))
            .await
            .expect("a Workplan");
        let plan = test.ends(&name, Phase::Cancelled).await;
        assert_eq!(step(&plan, "serve").reason.as_deref(), Some("Stopped"));
        assert_eq!(step(&plan, "report").phase, StepPhase::Skipped);
        assert_eq!(test.log_of(&plan, "serve").await, "started\nstopped\n");
        test.cleaned(&name).await;
        test.assert_folder_gone("cancel", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn outputs(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-outputs", async |test| {
        let plan = run(test, "outputs", "outputs", Phase::Completed).await;
        let outputs = step(&plan, "version").outputs;
        assert_eq!(outputs["version"], "1.4.2");
        assert_eq!(outputs["changes"], "Faster start\nFewer requests");
        assert_eq!(
            test.log_of(&plan, "announce").await,
            "outputs: version 1.4.2\n"
        );
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn conditions(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-conditions", async |test| {
        let plan = run(test, "conditions", "conditions", Phase::Completed).await;
        let side = |name: &str| step(&plan, name).outputs["side"].clone();
        let (first, second) = (side("flip-coin"), side("flip-again"));
        let if_runs = |runs| {
            if runs {
                StepPhase::Completed
            } else {
                StepPhase::Skipped
            }
        };
        let expected = [
            ("heads", if_runs(first == "heads")),
            ("tails", if_runs(first == "tails")),
            ("one-of-three", if_runs(second == "tails")),
            ("heads-regex", if_runs(second == "heads")),
            ("tails-regex", if_runs(second == "tails")),
        ];
        assert_phases(&plan, &expected);
        if second == "tails" {
            let log = test.log_of(&plan, "one-of-three").await;
            assert_eq!(log, format!("first {first}, then tails\n"));
        }
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn when(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-when", async |test| {
        let plan = run(test, "when", "when", Phase::Completed).await;
        let expected = [
            ("create", StepPhase::Completed),
            ("check", StepPhase::Completed),
            ("found", StepPhase::Completed),
            ("missing", StepPhase::Skipped),
            ("not-found", StepPhase::Skipped),
            ("summary", StepPhase::Completed),
        ];
        assert_phases(&plan, &expected);
        let message = step(&plan, "missing").message;
        let expected = "the condition is false: steps.check.outputs.exists == \"missing\"";
        assert_eq!(message.as_deref(), Some(expected));
        let log = test.log_of(&plan, "summary").await;
        assert_eq!(log, "found: completed, missing: skipped\n");
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn retry(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-retry", async |test| {
        let plan = run(test, "retry", "retry", Phase::Completed).await;
        assert_eq!(step(&plan, "fetch").attempt(), 3);
        let log = test.log_of(&plan, "publish").await;
        assert_eq!(log, "attempt\nattempt\nattempt\n");
    })
    .await;
}

/// Its kind is the whole cluster's, so one after the other.
#[tokio::test]
async fn custom_resource() {
    for execution in [Pods, Relay] {
        run_as(execution, "example-custom", custom_resource_as).await;
    }
}

async fn custom_resource_as(test: &Test) {
    test.apply(&example(test, "custom-resource/definition.yaml"))
        .await;
    run(test, "custom-resource", "on-release", Phase::Completed).await;
    let release = kubeci_e2e::manifests(&example(test, "custom-resource/trigger.yaml")).remove(0);
    test.apply(&release.to_string().replace("1.0.0", "1.0.1"))
        .await;
    test.workplans_reach("on-release", 2).await;
    test.remove_outside::<CustomResourceDefinition>("releases.example.com")
        .await;
    test.remove_outside::<ClusterRole>("kubeci-watch-releases")
        .await;
}

#[rstest]
#[tokio::test]
async fn deployments_by_label(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-label", async |test| {
        run(test, "deployments-by-label", "smoke-test", Phase::Completed).await;
        let deployments = test.api::<Deployment>();
        // Its status has changed meanwhile, which is no change of what the user wants.
        let patch = Patch::Merge(json!({"spec": {"minReadySeconds": 1}}));
        let patched = deployments
            .patch("shop", &PatchParams::default(), &patch)
            .await;
        patched.expect("a Deployment");
        let plans = test.workplans_reach("smoke-test", 2).await;
        assert_eq!(fired(&plans), ["shop add", "shop update"]);
    })
    .await;
}

#[tokio::test]
async fn restricted() {
    kubeci_e2e::run("example-restricted", async |test| {
        let enforce = "pod-security.kubernetes.io/enforce";
        test.label_namespace([(enforce, "restricted")].into()).await;
        let plan = run(test, "restricted", "restricted", Phase::Completed).await;
        assert_eq!(test.pods_of(&plan.name_any()).await.len(), 1);
        assert_eq!(test.log_of(&plan, "report").await, "1000\n");
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn time_limits(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-limits", async |test| {
        let plan = run(test, "time-limits", "time-limits", Phase::Failed).await;
        let slow = step(&plan, "slow");
        assert_eq!(slow.reason.as_deref(), Some("Timeout"));
        assert_eq!(step(&plan, "beside").phase, StepPhase::Completed);
        assert_eq!(step(&plan, "after").phase, StepPhase::Skipped);
        let log = test.log_of(&plan, "slow").await;
        let lines: Vec<&str> = log.lines().collect();
        // In a relay the step runner adds a line.
        assert!(
            lines.contains(&"started") && lines.contains(&"stopped"),
            "{log}"
        );
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn fail_fast(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-fast", async |test| {
        let plan = run(test, "fail-fast", "fail-fast", Phase::Failed).await;
        assert_eq!(step(&plan, "build").phase, StepPhase::Completed);
        assert_eq!(step(&plan, "test").reason.as_deref(), Some("Stopped"));
        assert_eq!(step(&plan, "package").phase, StepPhase::Skipped);
        let summary = plan.status.and_then(|it| it.summary);
        assert_eq!(summary.as_deref(), Some("lint: exit code 2"));
    })
    .await;
}

#[tokio::test]
async fn suspended() {
    kubeci_e2e::run("example-suspended", async |test| {
        test.create(&example(test, "suspended/workplan.yaml")).await;
        test.workplan_says("suspended", &["Suspended"]).await;
        assert!(test.pods_of("suspended").await.is_empty());
        test.patch_workplan("suspended", json!({"suspend": false}))
            .await
            .expect("a Workplan");
        let plan = test.ends("suspended", Phase::Completed).await;
        assert_in_order(&plan);
        assert_eq!(test.log_of(&plan, "apply").await, "3 replicas\n");
        test.cleaned("suspended").await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn approval(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-approval", async |test| {
        test.apply(&example(test, "approval/workflow.yaml")).await;
        test.workflow_ready("approval").await;
        test.apply(&example(test, "approval/trigger.yaml")).await;
        let name = test.workplan("approval").await.name_any();
        test.workplan_says(&name, &["AwaitingApproval", "Deploy this version"])
            .await;
        let entry = json!({"status": {"approvals": [{"step": "gate", "by": "jane"}]}});
        let plans = test.api::<Workplan>();
        let approve = kube::api::Patch::Merge(entry);
        let approved = plans
            .patch_status(&name, &kube::api::PatchParams::default(), &approve)
            .await;
        approved.expect("a Workplan");
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(test.log_of(&plan, "deploy").await, "deployed 1.4.2\n");
        assert_eq!(step(&plan, "clean-up").phase, StepPhase::Skipped);
        assert_eq!(step(&plan, "gate").approved_by.as_deref(), Some("jane"));
        test.cleaned(&name).await;
    })
    .await;
}

#[tokio::test]
async fn workplan() {
    kubeci_e2e::run("example-workplan", async |test| {
        test.create(&example(test, "workplan/workplan.yaml")).await;
        let plan = test.ends("by-hand", Phase::Completed).await;
        assert_in_order(&plan);
        assert_eq!(test.pods_of("by-hand").await.len(), 2);
        assert_eq!(test.log("by-hand-1", "report").await, "binary\n1\n");
        test.cleaned("by-hand").await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn run_again(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-again", async |test| {
        let plan = run(test, "run-again", "run-again", Phase::Completed).await;
        let trigger = example(test, "run-again/trigger.yaml");
        test.apply(&trigger.replace("run: \"1\"", "run: \"2\""))
            .await;
        let plans = test.workplans_reach("run-again", 2).await;
        assert_eq!(fired(&plans), ["run-again add", "run-again update"]);
        let copy = Workplan {
            metadata: ObjectMeta {
                generate_name: Some("again-".to_owned()),
                ..ObjectMeta::default()
            },
            status: None,
            ..plan
        };
        let created = test
            .api::<Workplan>()
            .create(&PostParams::default(), &copy)
            .await;
        let name = created.expect("a Workplan").name_any();
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(test.log_of(&plan, "greet").await, "hello\n");
        test.cleaned(&name).await;
    })
    .await;
}
