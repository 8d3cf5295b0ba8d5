//! Namespaces that refuse pods.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::PostParams;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::Phase;
use kubeci_e2e::eventually;
use rstest::rstest;
use serde_json::json;

use crate::workflow::{ONE_STEP, fire, on_config_maps};

#[rstest]
#[tokio::test]
async fn pod_security_error_has_advice(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "pod-security", async |test| {
        let enforce = "pod-security.kubernetes.io/enforce";
        test.label_namespace([(enforce, "baseline")].into()).await;
        test.apply(&on_config_maps("refused", ONE_STEP)).await;
        test.workflow_ready("refused").await;
        test.config_map("object", "A").await;
        let name = test.workplan("refused").await.name_any();
        test.workplan_says(&name, &["hostPath", enforce, "privileged", "5 minutes"])
            .await;
        test.label_namespace([(enforce, "privileged")].into()).await;
        test.ends(&name, Phase::Completed).await;
    })
    .await;
}

/// A policy that somebody corrects, as a webhook that denies for a while.
#[rstest]
#[tokio::test]
async fn policy_that_refuses_pods_is_reported(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "denied", async |test| {
        let name = &test.namespace;
        test.apply_outside::<ValidatingAdmissionPolicy>(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
                ]},
                "validations": [{"expression": "false", "message": "no pods today"}],
            },
        }))
        .await;
        test.apply_outside::<ValidatingAdmissionPolicyBinding>(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
            },
        }))
        .await;
        let pods = test.api::<Pod>();
        let pod = json!({"metadata": {"name": "any"}, "spec": {"containers": [{"name": "only", "image": "alpine"}]}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        eventually("the policy holds", async || match pods.create(&dry, &pod).await {
            Ok(_) => Err("not yet"),
            Err(_) => Ok(()),
        })
        .await;
        let plan = fire(test, "denied", ONE_STEP).await;
        test.workplan_says(&plan, &["PodRefused", "no pods today", "5 minutes"]).await;
        test.remove_outside::<ValidatingAdmissionPolicyBinding>(name).await;
        test.ends(&plan, Phase::Completed).await;
        test.cleaned(&plan).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn exceeded_quota_is_reported(#[values(Pods, Relay)] execution: Execution) {
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
async fn missing_service_account_is_reported(#[values(Pods, Relay)] execution: Execution) {
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
