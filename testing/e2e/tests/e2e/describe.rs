//! What `kubectl get` and `kubectl describe` print of a Workplan, for each outcome. The texts are in the folder
//! `describe`. Read a changed text as its user would, then accept it with `INSTA_UPDATE=always`.

use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, Workplan};
use kubeci_e2e::{DISRUPTIVE, Test, example};
use rstest::rstest;
use serde_json::{Value, json};

use crate::workflow::{fire, fire_with, script, steps};

/// As [`kubeci_e2e::run_as`], while the operators are not killed: a killed operator may record no Event.
async fn run_as(execution: Execution, name: &str, body: impl AsyncFnOnce(&Test)) {
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    kubeci_e2e::run_as(execution, name, body).await;
}

async fn run(name: &str, body: impl AsyncFnOnce(&Test)) {
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    kubeci_e2e::run(name, body).await;
}

/// Asserts that `kubectl` prints the kept text about a Workplan, once it prints all `words`.
async fn assert_described(test: &Test, plan: &Workplan, outcome: &str, words: &[&str]) {
    let printed = test.described(plan, words).await;
    let execution = match test.execution {
        None => "",
        Some(Pods) => "-pods",
        Some(Relay) => "-relay",
    };
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("describe");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(format!("{outcome}{execution}"), printed));
}

/// Waits until a Workplan has ended and its folder is removed, then compares its text.
async fn assert_ends(test: &Test, name: &str, phase: Phase, outcome: &str, words: &[&str]) {
    test.ends(name, phase).await;
    let plan = test.cleaned(name).await;
    assert_described(test, &plan, outcome, words).await;
}

#[rstest]
#[case::completed("document", "my-workflow", Phase::Completed, &[])]
#[case::failed("failing-step", "failing-step", Phase::Failed, &["Warning  StepFailed"])]
#[case::handled("edges", "edges", Phase::Failed, &["Warning  StepFailed"])]
#[case::allowed("allow-failure", "allow-failure", Phase::Completed, &[])]
#[case::retried("retry", "retry", Phase::Completed, &[])]
#[case::timeout("time-limits", "time-limits", Phase::Failed, &["Warning  StepFailed"])]
#[case::outputs("outputs", "outputs", Phase::Completed, &[])]
#[tokio::test]
async fn example_reads_as_kept(
    #[case] folder: &str,
    #[case] workflow: &str,
    #[case] phase: Phase,
    #[case] words: &[&str],
    #[values(Pods, Relay)] execution: Execution,
) {
    run_as(execution, &format!("describe-{folder}"), async |test| {
        let manifest = example(&format!("{folder}/workflow.yaml"));
        let name = fire_example(test, folder, workflow, &manifest).await;
        assert_ends(test, &name, phase, folder, words).await;
    })
    .await;
}

/// Fires the Workflow of an example, and says the name of its Workplan.
async fn fire_example(test: &Test, folder: &str, workflow: &str, manifest: &str) -> String {
    let here = format!("namespace: {}", test.namespace);
    let in_test = |manifest: &str| manifest.replace("namespace: default", &here);
    test.apply(&in_test(manifest)).await;
    test.workflow_ready(workflow).await;
    let trigger = example(&format!("{folder}/trigger.yaml"));
    test.apply(&in_test(&trigger)).await;
    test.workplan(workflow).await.name_any()
}

/// The step fails a moment later than in the example, after the node has reported the start of the other one.
#[rstest]
#[tokio::test]
async fn first_failure_reads_as_kept(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "describe-fail-fast", async |test| {
        let manifest = example("fail-fast/workflow.yaml");
        let manifest = manifest.replace("done; echo", "done; sleep 5; echo");
        let name = fire_example(test, "fail-fast", "fail-fast", &manifest).await;
        let words = ["Warning  StepFailed"];
        assert_ends(test, &name, Phase::Failed, "fail-fast", &words).await;
    })
    .await;
}

fn with(mut step: Value, field: &str, value: Value) -> Value {
    step[field] = value;
    step
}

#[rstest]
#[tokio::test]
async fn used_up_retries_read_as_kept(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "describe-retries", async |test| {
        let fetch = script("fetch", "echo no route to host; exit 75", &[]);
        let fetch = with(
            fetch,
            "retry",
            json!({"limit": 2, "backoff": {"initial": "1s"}}),
        );
        let publish = script("publish", "true", &["fetch"]);
        let name = fire(test, "retries", &steps(&[fetch, publish])).await;
        let words = ["Warning  StepFailed"];
        assert_ends(test, &name, Phase::Failed, "retries-used-up", &words).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn step_out_of_memory_reads_as_kept(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "describe-oom", async |test| {
        let hungry = script("hungry", "x=x; while true; do x=$x$x; done", &[]);
        let hungry = with(hungry, "resources", json!({"limits": {"memory": "32Mi"}}));
        let after = script("after", "true", &["hungry"]);
        let name = fire(test, "oom", &steps(&[hungry, after])).await;
        let words = ["Warning  StepFailed"];
        assert_ends(test, &name, Phase::Failed, "out-of-memory", &words).await;
    })
    .await;
}

/// Runs until it receives SIGTERM, and starts the file by which it is known to run.
const ENDLESS: &str = "trap 'exit 1' TERM; touch /kubeci/here; while true; do sleep 0.1; done";

fn endless_and_after() -> String {
    steps(&[
        script("endless", ENDLESS, &[]),
        script("after", "true", &["endless"]),
    ])
}

#[rstest]
#[tokio::test]
async fn plan_timeout_reads_as_kept(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "describe-timeout", async |test| {
        let name = fire_with(test, "timeout", &endless_and_after(), "  timeout: 8s\n").await;
        assert_ends(
            test,
            &name,
            Phase::Failed,
            "plan-timeout",
            &["Warning  Timeout"],
        )
        .await;
    })
    .await;
}

/// A start that fails at once and is tried again, until its limit.
#[rstest]
#[tokio::test]
async fn missing_image_reads_as_kept(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "describe-image", async |test| {
        let steps = "[{name: build, image: 'no-such-image:1', commands: ['true']}]";
        let name = fire_with(test, "image", steps, "  pendingTimeout: 20s\n").await;
        let plan = test.workplan_says(&name, &["ImagePullBackOff"]).await;
        let words = ["Warning  ImagePullBackOff"];
        assert_described(test, &plan, "no-image", &words).await;
        let words = ["PendingTimeout"];
        assert_ends(test, &name, Phase::Failed, "pending-timeout", &words).await;
    })
    .await;
}

#[tokio::test]
async fn unschedulable_pod_reads_as_kept() {
    run_as(Pods, "describe-room", async |test| {
        let mut build = script("build", "true", &[]);
        build["resources"] = json!({"requests": {"cpu": 1000}});
        let name = fire(test, "room", &steps(&[build])).await;
        let plan = test.workplan_says(&name, &["Unschedulable"]).await;
        assert_described(test, &plan, "no-room", &[]).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn cancelled_plan_reads_as_kept(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "describe-cancel", async |test| {
        let name = fire(test, "cancel", &endless_and_after()).await;
        test.runs(&name, "endless").await;
        test.patch_workplan(&name, json!({"cancel": true}))
            .await
            .expect("a Workplan");
        assert_ends(test, &name, Phase::Cancelled, "cancelled", &[]).await;
    })
    .await;
}

#[tokio::test]
async fn suspended_plan_reads_as_kept() {
    run("describe-suspended", async |test| {
        test.create(&example("suspended/workplan.yaml")).await;
        let plan = test.workplan_says("suspended", &["Suspended"]).await;
        assert_described(test, &plan, "suspended", &["Suspended"]).await;
    })
    .await;
}

#[tokio::test]
async fn refused_plan_reads_as_kept() {
    run("describe-refused", async |test| {
        let plan = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "metadata": {"name": "refused"},
            "spec": {"tasks": [{"ParallelSteps": [
                script("build", "true", &[]),
                script("test", "true", &["biuld"]),
            ]}]},
        });
        test.create(&plan.to_string()).await;
        let plan = test.ends("refused", Phase::Failed).await;
        assert_described(test, &plan, "refused", &["Warning  InvalidPlan"]).await;
    })
    .await;
}

/// A step holds the only slot.
#[rstest]
#[tokio::test]
async fn step_that_waits_for_a_slot_reads_as_kept(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "describe-slots", async |test| {
        let all = [
            script("endless", ENDLESS, &[]),
            script("waits", "true", &[]),
        ];
        let name = fire_with(test, "slots", &steps(&all), "  maxParallel: 1\n").await;
        let plan = test.runs(&name, "endless").await;
        assert_described(test, &plan, "max-parallel", &[]).await;
        test.patch_workplan(&name, json!({"cancel": true}))
            .await
            .expect("a Workplan");
    })
    .await;
}
