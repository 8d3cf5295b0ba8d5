//! Time limits, the first failure, cancel and suspend: what they stop, what they keep, and what they say.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, StepPhase, StepStatus, Workplan};
use kubeci_e2e::{DISRUPTIVE, Operator, Test, all_in, eventually, run, run_as, step};
use rstest::rstest;
use serde_json::{Value, json};

use crate::workflow::{ENDLESS, WATCHED, fire, fire_with, shell, unplaced};

/// Prints `started`, then runs until it receives SIGTERM, and prints `stopped`.
const TRAP: &str = "trap 'echo stopped; exit 0' TERM; echo started; while true; do sleep 0.1; done";

async fn patched(test: &Test, name: &str, spec: Value) {
    let patched = test.patch_workplan(name, spec).await;
    patched.unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn phase_and_reason(step: &StepStatus) -> (StepPhase, &str) {
    (step.phase, step.reason.as_deref().unwrap_or_default())
}

/// Asserts that the pod of a step that was stopped is there, with the whole log of the step.
async fn assert_kept(test: &Test, plan: &Workplan, name: &str) {
    assert_eq!(test.log_of(plan, name).await, "started\nstopped\n");
}

#[tokio::test]
async fn only_cancel_and_suspend_can_be_changed() {
    run("changeable", async |test| {
        test.apply(&unplaced("changeable", WATCHED)).await;
        test.workflow_ready("changeable").await;
        test.config_map("object", "A").await;
        let name = test.workplan("changeable").await.name_any();
        patched(test, &name, json!({"suspend": true})).await;
        patched(test, &name, json!({"suspend": false})).await;
        patched(test, &name, json!({"suspend": null})).await;
        let others = [
            json!({"timeout": "1h"}),
            json!({"failFast": true, "suspend": true}),
            json!({"nodeSelector": null}),
            json!({"tasks": []}),
        ];
        for other in others {
            let refused = test.patch_workplan(&name, other.clone()).await;
            let said = refused.expect_err("refused").to_string();
            let is_said = all_in(&said, &["spec of a Workplan cannot be changed"]);
            assert!(is_said || said.contains("spec.tasks"), "{other}: {said}");
        }
        patched(test, &name, json!({"cancel": true})).await;
        for back in [json!({"cancel": false}), json!({"cancel": null})] {
            let refused = test.patch_workplan(&name, back).await;
            let said = refused.expect_err("refused").to_string();
            assert!(
                said.contains("cancelled Workplan cannot be continued"),
                "{said}"
            );
        }
        test.ends(&name, Phase::Cancelled).await;
    })
    .await;
}

/// A single step has its own pod in both executions, so the operator keeps the limit.
#[rstest]
#[tokio::test]
async fn step_is_stopped_at_its_timeout(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "step-timeout", async |test| {
        let steps = json!([
            {"name": "slow", "image": "alpine", "commands": ["sh", "-c", TRAP], "timeout": "3s", "isolate": true},
            {"name": "after", "image": "alpine", "commands": ["true"], "dependency": ["slow"]},
            {"name": "beside", "image": "alpine", "commands": ["true"]},
        ]);
        let name = fire(test, "timeout", &steps.to_string()).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_eq!(phase_and_reason(&step(&plan, "slow")), (StepPhase::Failed, "Timeout"));
        assert_eq!(step(&plan, "after").phase, StepPhase::Skipped);
        assert_eq!(step(&plan, "beside").phase, StepPhase::Completed);
        test.workplan_says(&name, &["slow: Timeout", "longer than its timeout of 3s"])
            .await;
        assert_kept(test, &plan, "slow").await;
        test.cleaned(&name).await;
        test.assert_folder_gone("timeout", &name).await;
    })
    .await;
}

#[tokio::test]
async fn serial_step_is_stopped_with_the_rest_of_its_pod() {
    run_as(Pods, "serial-timeout", async |test| {
        let steps = json!([
            {"name": "first", "image": "alpine", "commands": ["true"]},
            {"name": "slow", "image": "alpine", "commands": ["sh", "-c", TRAP], "timeout": "3s", "dependency": ["first"]},
            {"name": "after", "image": "alpine", "commands": ["true"], "dependency": ["slow"]},
        ]);
        let name = fire(test, "serial", &steps.to_string()).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_eq!(test.pods_of(&name).await.len(), 1);
        assert_eq!(step(&plan, "first").phase, StepPhase::Completed);
        assert_eq!(phase_and_reason(&step(&plan, "slow")), (StepPhase::Failed, "Timeout"));
        assert_eq!(step(&plan, "after").phase, StepPhase::Skipped);
        test.cleaned(&name).await;
    })
    .await;
}

#[tokio::test]
async fn timeout_beside_parallel_steps_is_refused() {
    run("shared-timeout", async |test| {
        let step = |name: &str| json!({"name": name, "image": "alpine", "commands": ["true"]});
        let mut timed = step("timed");
        timed["timeout"] = json!("1m");
        let plan = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "metadata": {"name": "shared"},
            "spec": {"tasks": [{"ParallelSteps": [step("other"), timed]}]},
        });
        test.create(&plan.to_string()).await;
        test.ends("shared", Phase::Failed).await;
        let said = [
            "InvalidPlan",
            "spec.tasks[0].ParallelSteps[1].timeout",
            "own task",
        ];
        test.workplan_says("shared", &said).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn plan_is_stopped_at_its_timeout(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "plan-timeout", async |test| {
        let steps = json!([
            {"name": "slow", "image": "alpine", "commands": ["sh", "-c", TRAP]},
            {"name": "after", "image": "alpine", "commands": ["true"], "dependency": ["slow"]},
        ]);
        let name = fire_with(test, "timeout", &steps.to_string(), "  timeout: 4s\n").await;
        let plan = test.ends(&name, Phase::Failed).await;
        let status = plan.status.clone().unwrap_or_default();
        assert_eq!(status.reason.as_deref(), Some("Timeout"));
        test.workplan_says(&name, &["timeout of 4s", "it waited for the step slow"])
            .await;
        assert_eq!(
            phase_and_reason(&step(&plan, "slow")),
            (StepPhase::Failed, "Stopped")
        );
        assert_eq!(step(&plan, "after").phase, StepPhase::Skipped);
        assert_kept(test, &plan, "slow").await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[case::no_room("resources: {requests: {cpu: 1000}}", "Unschedulable")]
#[case::no_image("image: 'no-such-image:1'", "ImagePullBackOff")]
#[tokio::test]
async fn pending_plan_fails_with_what_it_waited_on(
    #[case] problem: &str,
    #[case] reason: &str,
    #[values(Pods, Relay)] execution: Execution,
) {
    run_as(execution, "pending-timeout", async |test| {
        let image = if problem.starts_with("image") {
            ""
        } else {
            "image: alpine, "
        };
        let steps = format!("[{{name: only, {image}commands: ['true'], {problem}}}]");
        let name = fire_with(test, "pending", &steps, "  pendingTimeout: 20s\n").await;
        let plan = test.ends(&name, Phase::Failed).await;
        let status = plan.status.clone().unwrap_or_default();
        assert_eq!(status.reason.as_deref(), Some("PendingTimeout"));
        test.workplan_says(&name, &["pendingTimeout of 20s", reason])
            .await;
        assert_eq!(step(&plan, "only").phase, StepPhase::Skipped);
        test.cleaned(&name).await;
        eventually(
            "its pods are gone, or were stopped on their node",
            async || {
                let pods = test.pods_of(&name).await;
                let phase = |pod: &Pod| pod.status.clone()?.phase;
                let was_stopped = |pod: &Pod| phase(pod).as_deref() == Some("Failed");
                if pods.iter().all(was_stopped) {
                    Ok(())
                } else {
                    Err(format!("{pods:?}"))
                }
            },
        )
        .await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn first_failure_ends_the_plan(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "fail-fast", async |test| {
        let runs = TRAP.replace("echo started;", "echo started; touch /kubeci/here;");
        let fails = "until test -e /kubeci/here; do sleep 0.1; done; exit 3";
        let steps = json!([
            {"name": "runs", "image": "alpine", "commands": ["sh", "-c", runs]},
            {"name": "fails", "image": "alpine", "commands": ["sh", "-c", fails]},
            {"name": "after", "image": "alpine", "commands": ["true"], "dependency": ["runs"]},
        ]);
        let name = fire_with(test, "fast", &steps.to_string(), "  failFast: true\n").await;
        let plan = test.ends(&name, Phase::Failed).await;
        let status = plan.status.clone().unwrap_or_default();
        assert_eq!(status.summary.as_deref(), Some("fails: exit code 3"));
        assert_eq!(
            phase_and_reason(&step(&plan, "runs")),
            (StepPhase::Failed, "Stopped")
        );
        let after = step(&plan, "after");
        assert_eq!(after.phase, StepPhase::Skipped);
        assert_kept(test, &plan, "runs").await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn cancelled_plan_is_stopped_and_kept(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "cancel", async |test| {
        let steps = json!([
            {"name": "first", "image": "alpine", "commands": ["true"]},
            {"name": "runs", "image": "alpine", "commands": ["sh", "-c", TRAP], "dependency": ["first"]},
            {"name": "after", "image": "alpine", "commands": ["true"], "dependency": ["runs"]},
            {"name": "alone", "image": "alpine", "commands": ["true"], "isolate": true, "dependency": ["runs"]},
        ]);
        let name = fire(test, "cancel", &steps.to_string()).await;
        let plan = test.runs(&name, "runs").await;
        eventually("the step has begun", async || {
            let log = test.log_of(&plan, "runs").await;
            if log == "started\n" { Ok(()) } else { Err(log) }
        })
        .await;
        patched(test, &name, json!({"cancel": true})).await;
        let plan = test.ends(&name, Phase::Cancelled).await;
        assert_eq!(step(&plan, "first").phase, StepPhase::Completed);
        assert_eq!(phase_and_reason(&step(&plan, "runs")), (StepPhase::Failed, "Stopped"));
        assert_eq!(step(&plan, "after").phase, StepPhase::Skipped);
        assert_eq!(step(&plan, "alone").phase, StepPhase::Skipped);
        let status = plan.status.clone().unwrap_or_default();
        assert_eq!(status.reason.as_deref(), Some("Cancelled"));
        let mut conditions = status.conditions.iter();
        let succeeded = conditions.find(|it| it.type_ == "Succeeded").expect("a condition");
        assert_eq!((succeeded.status.as_str(), succeeded.reason.as_str()), ("False", "Cancelled"));
        assert_kept(test, &plan, "runs").await;
        test.cleaned(&name).await;
        test.assert_folder_gone("cancel", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn cancelled_plan_that_waits_leaves_no_pod(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "cancel-pending", async |test| {
        let steps = "[{name: only, image: alpine, resources: {requests: {cpu: 1000}}}]";
        let name = fire(test, "cancel", steps).await;
        test.workplan_says(&name, &["unschedulable"]).await;
        patched(test, &name, json!({"cancel": true})).await;
        let plan = test.ends(&name, Phase::Cancelled).await;
        assert_eq!(step(&plan, "only").phase, StepPhase::Skipped);
        test.cleaned(&name).await;
        assert!(test.pods_of(&name).await.is_empty());
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn cancel_without_the_operator_is_carried_out_later(
    #[values(Pods, Relay)] execution: Execution,
) {
    let _alone = DISRUPTIVE.lock().await;
    run_as(execution, "cancel-away", async |test| {
        let name = fire(test, "cancel", ENDLESS).await;
        test.runs(&name, "endless").await;
        Operator::Workplan.go_away(&test.client).await;
        patched(test, &name, json!({"cancel": true})).await;
        Operator::Workplan.come_back(&test.client).await;
        let plan = test.ends(&name, Phase::Cancelled).await;
        assert_eq!(
            phase_and_reason(&step(&plan, "endless")),
            (StepPhase::Failed, "Stopped")
        );
        test.cleaned(&name).await;
    })
    .await;
}

#[tokio::test]
async fn suspended_plan_creates_no_pod_until_it_resumes() {
    run_as(Pods, "suspend", async |test| {
        let steps = [
            shell("first", "until test -e /kubeci/go; do sleep 0.1; done", ""),
            shell("second", "until test -e /kubeci/go; do sleep 0.1; done", ""),
            shell("third", "true", "first, second"),
        ];
        // The third step waits for two others, so that it has its own pod.
        let name = fire(test, "suspend", &format!("[{}]", steps.join(", "))).await;
        let plan = test.runs(&name, "first").await;
        patched(test, &name, json!({"suspend": true})).await;
        test.workplan_says(&name, &["Suspended", "spec.suspend"])
            .await;
        test.touch(&plan, "first", "/kubeci/go").await;
        let waits = test
            .workplan_when(&name, "holds the third step", |plan| {
                step(plan, "second").phase == StepPhase::Completed
                    && step(plan, "first").phase == StepPhase::Completed
            })
            .await;
        assert_eq!(step(&waits, "third").phase, StepPhase::Pending);
        assert_eq!(test.list::<Pod>().await.len(), 1);
        patched(test, &name, json!({"suspend": false})).await;
        test.ends(&name, Phase::Completed).await;
        test.cleaned(&name).await;
    })
    .await;
}
