//! Images that a node loses between two attempts of a step.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, RetryOn, StepPhase};
use kubeci_e2e::{Inspector, Test, run_as, step};
use rstest::rstest;
use serde_json::json;

use super::{ENDLESS_AT_FIRST, around, assert_repeated, with_retry};
use crate::workflow::{fire, script};

/// An image that is on the nodes and in no registry.
struct LocalImage {
    name: String,
    inspector: Inspector,
}

impl LocalImage {
    /// Adds it to all nodes. They have the image of the inspector.
    async fn create(test: &Test) -> Self {
        let name = format!("{}:1", test.namespace);
        let inspector = Inspector::get(&test.client).await;
        let image = Self { name, inspector };
        image.restore().await;
        image
    }

    async fn restore(&self) {
        let from = "docker.io/library/busybox:latest";
        self.ctr(&format!("tag {from} docker.io/library/{}", self.name))
            .await;
    }

    async fn remove(&self) {
        self.ctr(&format!("rm docker.io/library/{}", self.name))
            .await;
    }

    async fn ctr(&self, command: &str) {
        for node in self.inspector.nodes() {
            node.on_node(&format!("ctr -n k8s.io images {command}"))
                .await;
        }
    }
}

/// Starts a plan of which `runs` uses the image, and deletes its pod when the image is gone.
async fn lose_image_and_pod(test: &Test, image: &LocalImage, pull_policy: &str) -> String {
    let mut runs = with_retry(script("runs", ENDLESS_AT_FIRST, &[]));
    runs["image"] = json!(image.name);
    runs["imagePullPolicy"] = json!(pull_policy);
    let name = fire(test, "image", &around(runs)).await;
    let plan = test.runs(&name, "runs").await;
    image.remove().await;
    let pod = step(&plan, "runs").pod.expect("a pod");
    let now = DeleteParams::default().grace_period(0);
    let deleted = test.api::<Pod>().delete(&pod, &now).await;
    deleted.expect("the pod is deleted");
    name
}

#[rstest]
#[tokio::test]
async fn attempt_waits_for_missing_image(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "image-back", async |test| {
        let image = LocalImage::create(test).await;
        let name = lose_image_and_pod(test, &image, "IfNotPresent").await;
        let said = ["ImagePullBackOff", "runs", &image.name, "5 minutes"];
        let plan = test.workplan_says(&name, &said).await;
        let runs = step(&plan, "runs");
        assert_eq!((runs.phase, runs.attempts.len()), (StepPhase::Pending, 2));
        image.restore().await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_repeated(&plan, "runs", "PodDeleted");
        test.cleaned(&name).await;
        image.remove().await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn attempt_without_pull_fails(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "image-gone", async |test| {
        let image = LocalImage::create(test).await;
        let name = lose_image_and_pod(test, &image, "Never").await;
        let plan = test.ends(&name, Phase::Failed).await;
        let attempts = step(&plan, "runs").attempts;
        let failures: Vec<_> = attempts
            .iter()
            .map(|it| (it.reason.as_deref(), it.failure))
            .collect();
        let expected = [
            (Some("PodDeleted"), Some(RetryOn::Infrastructure)),
            (Some("ErrImageNeverPull"), Some(RetryOn::Failure)),
        ];
        assert_eq!(failures, expected);
        assert_eq!(step(&plan, "after").phase, StepPhase::Skipped);
        let said = ["runs: ErrImageNeverPull", &image.name, "attempt 2"];
        test.workplan_says(&name, &said).await;
        test.cleaned(&name).await;
    })
    .await;
}
