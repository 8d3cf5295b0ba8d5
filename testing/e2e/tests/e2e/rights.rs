//! What plans and operators may do at all: tokens, Pod Security, folders of the node, the API. `docs/security.md`
//! says what each of these tests shows.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::Phase;
use kubeci_e2e::{Operator, Test, client, eventually, manifests, run, run_as};
use rstest::rstest;
use serde_json::{Value, json};

use crate::workflow::{fire_with, script, steps};

#[rstest]
#[case::there("", "test -s $token")]
#[case::kept_back_by_the_workflow("  automountServiceAccountToken: false\n", "test ! -e $token")]
#[case::kept_back_by_the_account("  serviceAccountName: silent\n", "test ! -e $token")]
#[tokio::test]
async fn token_is_mounted_unless_disabled(
    #[case] settings: &str,
    #[case] check: &str,
    #[values(Pods, Relay)] execution: Execution,
) {
    run_as(execution, "token", async |test| {
        test.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: silent}, automountServiceAccountToken: false}").await;
        let check = format!("token=/var/run/secrets/kubernetes.io/serviceaccount/token; {check}");
        let all = [script("first", &check, &[]), script("second", &check, &["first"])];
        let name = fire_with(test, "token", &steps(&all), settings).await;
        test.ends(&name, Phase::Completed).await;
    })
    .await;
}

#[rstest]
#[case::privileged("securityContext", json!({"privileged": true}), "", "privileged")]
#[case::folder_of_the_node("volumeMounts", json!([{"name": "node", "mountPath": "/node"}]), "  volumes: [{name: node, hostPath: {path: /}}]\n", "hostPath")]
#[tokio::test]
async fn pod_security_holds_for_what_the_operator_creates(
    #[case] field: &str,
    #[case] asked: Value,
    #[case] settings: &str,
    #[case] refused: &str,
    #[values(Pods, Relay)] execution: Execution,
) {
    run_as(execution, "asks", async |test| {
        let enforce = "pod-security.kubernetes.io/enforce";
        test.label_namespace([(enforce, "baseline")].into()).await;
        let mut asks = script("asks", "true", &[]);
        asks[field] = asked;
        let settings = format!("{settings}  workspace: {{emptyDir: {{}}}}\n");
        let name = fire_with(test, "asks", &steps(&[asks]), &settings).await;
        test.workplan_says(&name, &["PodRefused", "baseline", refused])
            .await;
        assert!(test.pods_of(&name).await.is_empty());
    })
    .await;
}

/// The policy that `docs/security.md` recommends, under a name and a label that no other test has.
fn workspaces_only(test: &Test) -> Vec<Value> {
    let page = include_str!("../../../../docs/security.md");
    let (_, policy) = page.split_once("```yaml\n").expect("a policy");
    let (policy, _) = policy.split_once("\n```").expect("its end");
    manifests(&policy.replace("workspaces-only", &test.namespace))
}

#[tokio::test]
async fn policy_allows_only_the_plans_folder() {
    run("policy", async |test| {
        let policy: [Value; 2] = workspaces_only(test).try_into().expect("two objects");
        let [policy, binding] = policy;
        test.apply_outside::<ValidatingAdmissionPolicy>(policy)
            .await;
        test.apply_outside::<ValidatingAdmissionPolicyBinding>(binding)
            .await;
        let label = format!("kube.ci/{}", test.namespace);
        test.label_namespace([(label.as_str(), "true")].into())
            .await;

        let namespace = test.namespace.as_str();
        let own = json!({"kube.ci/workflow": "flow", "kube.ci/workplan": "plan"});
        eventually("the policy holds", async || {
            pod_refused(test, &json!({}), "/").await
        })
        .await;
        let elsewhere = [
            (own.clone(), format!("/kubeci/{namespace}/flow")),
            (own.clone(), format!("/kubeci/{namespace}/flow/other")),
            (own.clone(), "/kubeci/default/flow/plan".to_owned()),
            (
                json!({"kube.ci/workflow": "", "kube.ci/workplan": "plan"}),
                format!("/kubeci/{namespace}//plan"),
            ),
            (
                json!({"kube.ci/workflow": "flow", "kube.ci/workplan": ""}),
                format!("/kubeci/{namespace}/flow/"),
            ),
            (
                json!({"kube.ci/workflow": "flow"}),
                format!("/kubeci/{namespace}/flow/"),
            ),
            (json!({}), format!("/kubeci/{namespace}/_/")),
        ];
        for (labels, folder) in elsewhere {
            let refused = pod_refused(test, &labels, &folder).await;
            refused.unwrap_or_else(|other| panic!("{labels} {folder}: {other}"));
        }
        let folder = format!("/kubeci/{namespace}/flow/plan");
        assert!(pod_refused(test, &own, &folder).await.is_err());
        for (workflow, execution) in [("own-pods", "Pods"), ("own-relay", "Relay")] {
            let all = [
                script("first", "touch /kubeci/file", &[]),
                script("second", "ls /kubeci/file", &["first"]),
            ];
            let settings =
                format!("  execution: {execution}\n  securityContext: {{runAsUser: 1000}}\n");
            let name = fire_with(test, workflow, &steps(&all), &settings).await;
            test.ends(&name, Phase::Completed).await;
            test.cleaned(&name).await;
        }
        let settings = "  volumes: [{name: node, hostPath: {path: /etc}}]\n";
        let name = fire_with(
            test,
            "more",
            &steps(&[script("only", "true", &[])]),
            settings,
        )
        .await;
        test.workplan_says(&name, &["PodRefused", "no other of the node"])
            .await;
        assert!(test.pods_of(&name).await.is_empty());
    })
    .await;
}

/// Whether the policy refuses a pod that mounts a folder of the node; what is said instead, if anything.
async fn pod_refused(test: &Test, labels: &Value, folder: &str) -> Result<(), String> {
    let pod = json!({
        "metadata": {"name": "pod", "labels": labels},
        "spec": {
            "containers": [{"name": "only", "image": "alpine"}],
            "volumes": [{"name": "folder", "hostPath": {"path": folder}}],
        },
    });
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    let only_asking = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match test.api::<Pod>().create(&only_asking, &pod).await {
        Err(error) if error.to_string().contains("no other of the node") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

#[rstest]
#[case::workflow(Operator::Workflow, &["create pods", "delete pods", "patch workplans.kube.ci", "deletecollection workplans.kube.ci", "create leases.coordination.k8s.io"])]
#[case::workplan(Operator::Workplan, &["create workplans.kube.ci", "create workflows.kube.ci", "update pods", "patch pods/resize", "list configmaps", "delete workplans.kube.ci"])]
#[tokio::test]
async fn operator_has_only_needed_permissions(#[case] operator: Operator, #[case] its: &[&str]) {
    let neither = [
        "get secrets",
        "list secrets",
        "watch secrets",
        "create pods/exec",
        "create pods/attach",
        "get pods/log",
        "patch pods/ephemeralcontainers",
        "create pods/portforward",
        "create serviceaccounts/token",
        "get nodes/proxy",
        "patch nodes",
        "patch namespaces",
        "patch configmaps",
        "create deployments.apps",
        "create jobs.batch",
        "impersonate users",
        "impersonate serviceaccounts",
        "bind clusterroles.rbac.authorization.k8s.io",
        "escalate clusterroles.rbac.authorization.k8s.io",
        "create clusterrolebindings.rbac.authorization.k8s.io",
        "patch workflows.kube.ci",
    ];
    let reviews = Api::<SubjectAccessReview>::all(client().await);
    for right in neither.iter().chain(its) {
        let review = review(operator, right);
        let answer = reviews.create(&PostParams::default(), &review).await;
        let status = answer.expect("an answer").status.expect("a status");
        assert!(!status.allowed, "{} may {right}", operator.name());
    }
}

/// Asks for a right in `default`, written as `verb resource/subresource` with the group after a dot.
fn review(operator: Operator, right: &str) -> SubjectAccessReview {
    let (verb, resource) = right.split_once(' ').expect("a verb and a resource");
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let attributes = ResourceAttributes {
        namespace: Some("default".into()),
        verb: Some(verb.into()),
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: Some(subresource.into()),
        ..ResourceAttributes::default()
    };
    let account = format!("system:serviceaccount:kubeci-system:{}", operator.name());
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(account),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
