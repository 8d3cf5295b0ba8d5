//! Namespaces that refuse pods.

use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::Phase;
use rstest::rstest;

use crate::workflow::{ONE_STEP, on_config_maps};

#[rstest]
#[tokio::test]
async fn a_namespace_that_enforces_pod_security_is_told_with_what_to_do(
    #[values(Pods, Relay)] execution: Execution,
) {
    kubeci_e2e::run_as(execution, "pod-security", async |test| {
        let enforce = "pod-security.kubernetes.io/enforce";
        test.label_namespace([(enforce, "baseline")].into()).await;
        test.apply(&on_config_maps("refused", ONE_STEP)).await;
        test.workflow_ready("refused").await;
        test.config_map("object", "A").await;
        let name = test.workplan("refused").await.name_any();
        let plan = test
            .workplan_says(&name, &["hostPath", enforce, "privileged"])
            .await;
        if plan.status.and_then(|it| it.phase) == Some(Phase::Failed) {
            test.cleaned(&name).await;
        } else {
            test.label_namespace([(enforce, "privileged")].into()).await;
            test.ends(&name, Phase::Completed).await;
        }
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn a_quota_that_is_used_up_is_told(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "quota", async |test| {
        test.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: no-pods}, spec: {hard: {pods: 0}}}").await;
        test.apply(&on_config_maps("refused", ONE_STEP)).await;
        test.workflow_ready("refused").await;
        test.config_map("object", "A").await;
        let name = test.workplan("refused").await.name_any();
        test.workplan_says(&name, &["exceeded quota", "no-pods"]).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn a_service_account_that_is_absent_is_told(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "no-account", async |test| {
        let workflow = on_config_maps("refused", ONE_STEP) + "  serviceAccountName: absent\n";
        test.apply(&workflow).await;
        test.workflow_ready("refused").await;
        test.config_map("object", "A").await;
        let name = test.workplan("refused").await.name_any();
        test.workplan_says(&name, &["serviceaccount", "absent"])
            .await;
    })
    .await;
}
