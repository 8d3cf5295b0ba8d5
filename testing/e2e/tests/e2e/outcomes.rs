//! How Workplans end when something goes wrong while they run, and what they say.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams};
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, StepPhase, Workplan};
use kubeci_e2e::{DISRUPTIVE, Test, step, workspace_of};
use rstest::rstest;

use crate::workflow::{ENDLESS, fire, shell};

#[rstest]
#[tokio::test]
async fn failed_step_skips_only_its_descendants(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "fails", async |test| {
        let steps = [
            shell("start", "true", ""),
            shell("fails", "echo expected 4, found 5; exit 3", "start"),
            shell("child", "true", "fails"),
            shell("grandchild", "true", "child, beside"),
            shell("beside", "true", "start"),
            shell("after-beside", "true", "beside"),
        ];
        let name = fire(test, "fails", &format!("[{}]", steps.join(", "))).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let phases = [
            ("start", StepPhase::Completed),
            ("fails", StepPhase::Failed),
            ("child", StepPhase::Skipped),
            ("grandchild", StepPhase::Skipped),
            ("beside", StepPhase::Completed),
            ("after-beside", StepPhase::Completed),
        ];
        for (name, phase) in phases {
            assert_eq!(step(&plan, name).phase, phase, "{name}: {:?}", plan.status);
        }
        assert_eq!(step(&plan, "fails").exit_code, Some(3));
        let status = plan.status.clone().unwrap_or_default();
        assert_eq!(status.reason.as_deref(), Some("StepFailed"));
        assert_eq!(status.summary.as_deref(), Some("fails: exit code 3"));
        assert_eq!(status.progress.as_deref(), Some("3/6"));
        test.cleaned(&name).await;
        test.assert_folder_gone("fails", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn failed_serial_step_skips_rest_of_pod(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "fails-first", async |test| {
        let steps = [
            shell("first", "exit 1", ""),
            shell("second", "true", "first"),
            shell("third", "true", "second"),
        ];
        let name = fire(test, "chain", &format!("[{}]", steps.join(", "))).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_eq!(step(&plan, "first").exit_code, Some(1));
        assert_eq!(step(&plan, "second").phase, StepPhase::Skipped);
        assert_eq!(step(&plan, "third").phase, StepPhase::Skipped);
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn missing_image_is_reported(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "no-image", async |test| {
        let steps = "[{name: only, image: 'no-such-image:1', commands: ['true']}]";
        let name = fire(test, "no-image", steps).await;
        let plan = test
            .workplan_says(&name, &["no-such-image:1", "image", "only"])
            .await;
        let phase = plan.status.and_then(|it| it.phase);
        assert!(!phase.is_some_and(Phase::is_final), "it may yet be pushed");
        test.delete_one::<Workplan>(&name).await;
        test.gone::<Workplan>(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn missing_command_fails_the_step(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "no-command", async |test| {
        let steps = "[{name: only, image: alpine, commands: [no-such-command]}]";
        let name = fire(test, "no-command", steps).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let said = format!("{:?}", plan.status);
        assert!(said.contains("no-such-command"), "{said}");
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn unschedulable_pod_is_reported_and_can_be_deleted(
    #[values(Pods, Relay)] execution: Execution,
) {
    kubeci_e2e::run_as(execution, "too-big", async |test| {
        let steps = "[{name: only, image: alpine, resources: {requests: {cpu: 1000}}}]";
        let name = fire(test, "too-big", steps).await;
        let plan = test.workplan_says(&name, &["unschedulable", "cpu"]).await;
        assert_eq!(plan.status.and_then(|it| it.phase), Some(Phase::Pending));
        test.delete_one::<Workplan>(&name).await;
        test.gone::<Workplan>(&name).await;
        assert!(test.pods_of(&name).await.is_empty());
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn missing_config_map_is_reported(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "no-env", async |test| {
        let steps = "[{name: only, image: alpine, commands: [env], envFrom: [{configMapRef: {name: absent}}]}]";
        let name = fire(test, "no-env", steps).await;
        test.workplan_says(&name, &["absent", "only"]).await;
        test.config_map("absent", "A").await;
        test.ends(&name, Phase::Completed).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn deleted_pod_fails_the_plan(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "pod-deleted", async |test| {
        let name = fire(test, "pod-deleted", ENDLESS).await;
        test.runs(&name, "endless").await;
        let pod = test.pods_of(&name).await.remove(0);
        let now = DeleteParams::default().grace_period(0);
        let deleted = test.api::<Pod>().delete(&pod.name_any(), &now).await;
        deleted.expect("the pod is deleted");
        fails_for_the_lost_pod(test, &name, &pod, "PodDeleted").await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn evicted_pod_fails_the_plan(#[values(Pods, Relay)] execution: Execution) {
    // To an operator that was away the pod is gone, and nobody says why.
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    kubeci_e2e::run_as(execution, "pod-evicted", async |test| {
        let name = fire(test, "pod-evicted", ENDLESS).await;
        test.runs(&name, "endless").await;
        let pod = test.pods_of(&name).await.remove(0);
        let evicted = test
            .api::<Pod>()
            .evict(&pod.name_any(), &EvictParams::default())
            .await;
        evicted.expect("the pod is evicted");
        fails_for_the_lost_pod(test, &name, &pod, "Eviction").await;
    })
    .await;
}

async fn fails_for_the_lost_pod(test: &Test, name: &str, pod: &Pod, why: &str) {
    let plan = test.ends(name, Phase::Failed).await;
    assert_eq!(step(&plan, "endless").phase, StepPhase::Failed);
    let said = ["pod", why, &pod.name_any()];
    test.workplan_says(name, &said).await;
    test.cleaned(name).await;
    let inspector = kubeci_e2e::Inspector::get(&test.client).await;
    inspector.assert_gone(&workspace_of(pod)).await;
}
