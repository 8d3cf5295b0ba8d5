//! Final steps run when all others have ended, in whatever way.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::StepPhase::{Completed, Failed, Skipped};
use kubeci_api::{Phase, StepPhase, Workplan};
use kubeci_e2e::{DISRUPTIVE, Operator, Test, run, run_as, step, workspace_of};
use rstest::rstest;
use serde_json::json;

use crate::workflow::{fire_with, shell};

/// Writes a file, then runs until it receives SIGTERM.
const RUNS: &str = "trap 'exit 1' TERM; touch /kubeci/here; while true; do sleep 0.1; done";

/// The settings of a Workflow with these final steps.
fn finally(steps: &[String]) -> String {
    format!("  finally: [{}]\n", steps.join(", "))
}

/// Prints the files of the folder.
fn lists() -> String {
    shell("lists", "ls /kubeci", "")
}

/// Fires a Workflow with two final steps, of which one comes after the other.
async fn fire(test: &Test, steps: &[String], settings: &str) -> String {
    let finals = finally(&[lists(), shell("last", "true", "lists")]);
    let steps = format!("[{}]", steps.join(", "));
    fire_with(test, "finally", &steps, &(finals + settings)).await
}

fn assert_phases(plan: &Workplan, phases: &[(&str, StepPhase)]) {
    for (name, phase) in phases {
        assert_eq!(step(plan, name).phase, *phase, "{name}: {:?}", plan.status);
    }
}

/// Asserts that the final steps have run, on the node and with the folder of the others, and after them.
async fn assert_ran(test: &Test, plan: &Workplan, files: &str) {
    assert_phases(plan, &[("lists", Completed), ("last", Completed)]);
    assert_eq!(test.log_of(plan, "lists").await, files);
    let name = plan.name_any();
    let pods = test.pods_of(&name).await;
    let nodes = pods.iter().map(|pod| pod.spec.clone()?.node_name);
    let nodes: Vec<_> = nodes.collect();
    assert!(nodes.windows(2).all(|pair| pair[0] == pair[1]), "{nodes:?}");
    assert!(
        pods.iter()
            .all(|pod| workspace_of(pod) == workspace_of(&pods[0]))
    );
    let status = plan.status.clone().unwrap_or_default();
    let since = status.finally_at.expect("a time");
    let starts = ["lists", "last"].map(|it| step(plan, it).started_at);
    assert!(starts[0] <= starts[1], "{starts:?}");
    let ends = status
        .steps
        .iter()
        .filter(|it| !["lists", "last"].contains(&it.name.as_str()));
    assert!(
        ends.filter_map(|it| it.finished_at.clone())
            .all(|end| end <= since)
    );
    test.cleaned(&name).await;
    test.assert_folder_gone("finally", &name).await;
}

async fn cancel(test: &Test, name: &str) {
    let patch = Patch::Merge(json!({"spec": {"cancel": true}}));
    let plans: Api<Workplan> = test.api();
    let patched = plans.patch(name, &PatchParams::default(), &patch).await;
    patched.expect("a cancelled Workplan");
}

#[rstest]
#[tokio::test]
async fn final_steps_run_after_success(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "finally", async |test| {
        let steps = [
            shell("first", "touch /kubeci/first", ""),
            shell("second", "touch /kubeci/second", "first"),
            shell("beside", "sleep 1", ""),
        ];
        let name = fire(test, &steps, "").await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_ran(test, &plan, "first\nsecond\n").await;
        let pods = test.pods_of(&name).await.len();
        assert_eq!(pods, if execution == Relay { 1 } else { 3 });
        let progress = plan.status.and_then(|it| it.progress);
        assert_eq!(progress.as_deref(), Some("5/5"));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn final_steps_run_after_a_failure(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "finally-failure", async |test| {
        let steps = [
            shell("fails", "touch /kubeci/file; exit 3", ""),
            shell("after", "true", "fails"),
        ];
        let name = fire(test, &steps, "").await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_phases(&plan, &[("fails", Failed), ("after", Skipped)]);
        assert_ran(test, &plan, "file\n").await;
        let summary = plan.status.and_then(|it| it.summary);
        assert_eq!(summary.as_deref(), Some("fails: exit code 3"));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn final_steps_run_after_a_cancel(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "finally-cancel", async |test| {
        let steps = [shell("runs", RUNS, ""), shell("after", "true", "runs")];
        let name = fire(test, &steps, "").await;
        test.runs(&name, "runs").await;
        cancel(test, &name).await;
        let plan = test.ends(&name, Phase::Cancelled).await;
        assert_phases(&plan, &[("runs", Failed), ("after", Skipped)]);
        assert_ran(test, &plan, "here\n").await;
        test.workplan_says(&name, &["Cancelled", "the Workplan was cancelled"])
            .await;
        assert_eq!(test.pods_of(&name).await.len(), 2);
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn final_steps_run_after_the_time_limit(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "finally-timeout", async |test| {
        let steps = [shell("runs", RUNS, ""), shell("after", "true", "runs")];
        let name = fire(test, &steps, "  timeout: 4s\n").await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_phases(&plan, &[("runs", Failed), ("after", Skipped)]);
        assert_ran(test, &plan, "here\n").await;
        let reason = plan.status.and_then(|it| it.reason);
        assert_eq!(reason.as_deref(), Some("Timeout"));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn final_steps_run_after_the_first_failure(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "finally-fast", async |test| {
        let fails = "until test -e /kubeci/here; do sleep 0.1; done; exit 3";
        let steps = [shell("runs", RUNS, ""), shell("fails", fails, "")];
        let name = fire(test, &steps, "  failFast: true\n").await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_eq!(step(&plan, "runs").reason.as_deref(), Some("Stopped"));
        assert_ran(test, &plan, "here\n").await;
        let summary = plan.status.and_then(|it| it.summary);
        assert_eq!(summary.as_deref(), Some("fails: exit code 3"));
    })
    .await;
}

/// No pod of the other steps can be placed, so that the final steps have the first one.
#[rstest]
#[tokio::test]
async fn final_steps_run_though_no_other_started(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "finally-pending", async |test| {
        let steps = ["{name: large, image: alpine, commands: ['true'], isolate: true, resources: {requests: {cpu: 1000}}}".to_owned()];
        let name = fire(test, &steps, "  pendingTimeout: 10s\n").await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_phases(&plan, &[("large", Skipped)]);
        assert_ran(test, &plan, "").await;
        let reason = plan.status.and_then(|it| it.reason);
        assert_eq!(reason.as_deref(), Some("PendingTimeout"));
    })
    .await;
}

/// The first pod holds room for the final step, so that no pod can be placed.
#[rstest]
#[tokio::test]
async fn final_steps_do_not_wait_for_ever(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "finally-waits", async |test| {
        let finals = ["{name: large, image: alpine, commands: ['true'], isolate: true, resources: {requests: {cpu: 1000}}}".to_owned()];
        let settings = finally(&finals) + "  pendingTimeout: 10s\n";
        let steps = format!("[{}]", shell("only", "true", ""));
        let name = fire_with(test, "finally", &steps, &settings).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_phases(&plan, &[("only", Skipped), ("large", Skipped)]);
        let says = [
            "PendingTimeout",
            "No final step started within the pendingTimeout of 10s",
        ];
        test.workplan_says(&name, &says).await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn failed_final_step_fails_the_plan(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "finally-fails", async |test| {
        let settings = finally(&[
            shell("fails", "exit 4", ""),
            shell("after", "true", "fails"),
            shell("beside", "true", ""),
        ]);
        let steps = format!("[{}]", shell("only", "true", ""));
        let name = fire_with(test, "finally", &steps, &settings).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let phases = [("fails", Failed), ("after", Skipped), ("beside", Completed)];
        assert_phases(&plan, &phases);
        let says = ["fails: exit code 4", "the final step fails failed"];
        test.workplan_says(&name, &says).await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn failed_final_step_hides_no_other_failure(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "finally-both", async |test| {
        let settings = finally(&[shell("last", "exit 4", "")]);
        let steps = format!("[{}]", shell("first", "exit 3", ""));
        let name = fire_with(test, "finally", &steps, &settings).await;
        test.ends(&name, Phase::Failed).await;
        let says = [
            "first: exit code 3",
            "The final step last failed, too: exit code 4",
        ];
        test.workplan_says(&name, &says).await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn hand_written_plan_has_final_steps(#[values("Graph", "Relay")] order: &str) {
    run("finally-by-hand", async |test| {
        let tasks = [
            shell("lists", "ls /kubeci", ""),
            shell("fails", "touch /kubeci/file; exit 3", ""),
        ];
        let tasks = tasks
            .map(|step| format!("{{ParallelSteps: [{step}]}}"))
            .join(", ");
        let plan = format!(
            "{{apiVersion: kube.ci/v1alpha1, kind: Workplan, metadata: {{name: by-hand}}, \
              spec: {{order: {order}, finally: [lists], tasks: [{tasks}]}}}}"
        );
        test.create(&plan).await;
        let plan = test.ends("by-hand", Phase::Failed).await;
        assert_phases(&plan, &[("fails", Failed), ("lists", Completed)]);
        assert_eq!(test.log_of(&plan, "lists").await, "file\n");
        test.cleaned("by-hand").await;
    })
    .await;
}

#[tokio::test]
async fn final_step_beside_another_is_refused() {
    run("finally-invalid", async |test| {
        let steps = [shell("first", "true", ""), shell("last", "true", "")].join(", ");
        let plan = format!(
            "{{apiVersion: kube.ci/v1alpha1, kind: Workplan, metadata: {{name: by-hand}}, \
              spec: {{finally: [last], tasks: [{{ParallelSteps: [{steps}]}}]}}}}"
        );
        test.create(&plan).await;
        test.ends("by-hand", Phase::Failed).await;
        let says = [
            "InvalidPlan",
            "spec.tasks[0].ParallelSteps[1].name",
            "shares its task with \"first\"",
        ];
        test.workplan_says("by-hand", &says).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn operator_is_killed_while_final_steps_run(#[values(Pods, Relay)] execution: Execution) {
    let _alone = DISRUPTIVE.lock().await;
    run_as(execution, "finally-killed", async |test| {
        let settings = finally(&[shell("slow", "sleep 15", ""), shell("last", "true", "slow")]);
        let steps = format!("[{}]", shell("runs", RUNS, ""));
        let name = fire_with(test, "finally", &steps, &settings).await;
        test.runs(&name, "runs").await;
        cancel(test, &name).await;
        test.runs(&name, "slow").await;
        Operator::Workplan.kill(&test.client).await;
        let plan = test.ends(&name, Phase::Cancelled).await;
        assert_phases(&plan, &[("slow", Completed), ("last", Completed)]);
        assert_eq!(test.pods_of(&name).await.len(), 2);
        test.cleaned(&name).await;
    })
    .await;
}
