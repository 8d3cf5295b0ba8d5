//! Each folder of `examples/`, as it stands. The document's and the diamond have tests of their own.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use kubeci_api::{Phase, StepPhase};
use kubeci_e2e::{Test, example, fired, step};
use serde_json::json;

async fn run(test: &Test, folder: &str, workflow: &str, phase: Phase) -> kubeci_api::Workplan {
    test.apply(&example(&format!("{folder}/workflow.yaml")))
        .await;
    test.workflow_ready(workflow).await;
    test.apply(&example(&format!("{folder}/trigger.yaml")))
        .await;
    let name = test.workplan(workflow).await.name_any();
    let plan = test.ends(&name, phase).await;
    test.cleaned(&name).await;
    test.assert_folder_gone(workflow, &name).await;
    plan
}

#[tokio::test]
async fn failing_step() {
    kubeci_e2e::run("example-fails", async |test| {
        let plan = run(test, "failing-step", "failing-step", Phase::Failed).await;
        assert_eq!(step(&plan, "test").exit_code, Some(3));
        assert_eq!(step(&plan, "deploy").phase, StepPhase::Skipped);
        assert_eq!(step(&plan, "document").phase, StepPhase::Completed);
        let reason = plan.status.and_then(|it| it.reason).unwrap_or_default();
        assert!(reason.contains("test"), "{reason}");
    })
    .await;
}

#[tokio::test]
async fn custom_resource() {
    kubeci_e2e::run("example-custom", async |test| {
        test.apply(&example("custom-resource/definition.yaml"))
            .await;
        run(test, "custom-resource", "on-release", Phase::Completed).await;
        let release = kubeci_e2e::manifests(&example("custom-resource/trigger.yaml")).remove(0);
        test.apply(&release.to_string().replace("1.0.0", "1.0.1"))
            .await;
        test.workplans_reach("on-release", 2).await;
        let now = DeleteParams::default();
        let definitions = Api::<CustomResourceDefinition>::all(test.client.clone());
        definitions
            .delete("releases.example.com", &now)
            .await
            .expect("deleted");
        let roles = Api::<ClusterRole>::all(test.client.clone());
        roles
            .delete("kubeci-watch-releases", &now)
            .await
            .expect("deleted");
    })
    .await;
}

#[tokio::test]
async fn deployments_by_label() {
    kubeci_e2e::run("example-label", async |test| {
        run(test, "deployments-by-label", "smoke-test", Phase::Completed).await;
        let deployments = test.api::<Deployment>();
        // Its status has changed meanwhile, which is no change of what the user wants.
        let patch = kube::api::Patch::Merge(json!({"spec": {"minReadySeconds": 1}}));
        let patched = deployments
            .patch("shop", &kube::api::PatchParams::default(), &patch)
            .await;
        patched.expect("a Deployment");
        let plans = test.workplans_reach("smoke-test", 2).await;
        assert_eq!(fired(&plans), ["shop add", "shop update"]);
    })
    .await;
}
