//! Namespaces with `LimitRange`s and quotas: whatever they take of the steps, they take of the pods.

mod random;

use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::Phase;
use kubeci_e2e::Test;
use rstest::rstest;

use crate::workflow::{fire, fire_with};

const DEFAULTS: &str = "{apiVersion: v1, kind: LimitRange, metadata: {name: defaults}, spec: {limits: [\
    {type: Container, default: {cpu: 500m, memory: 128Mi}, defaultRequest: {cpu: 50m, memory: 32Mi}}]}}";

/// A step that requests so much of a core, or says nothing of it.
fn step(name: &str, cpu: &str, dependency: &str) -> String {
    let resources = if cpu.is_empty() {
        String::new()
    } else {
        format!(", resources: {{requests: {{cpu: {cpu}}}}}")
    };
    format!(
        "{{name: {name}, image: alpine, commands: ['true'], dependency: [{dependency}]{resources}}}"
    )
}

#[rstest]
#[case::chain("chain", &[("a", "60m", ""), ("b", "60m", "a"), ("c", "60m", "b")], "")]
#[case::one_of_three("one-of-three", &[("a", "60m", ""), ("b", "", ""), ("c", "", "")], "")]
#[case::other_user("other-user", &[("a", "10m", "")], "  securityContext: {runAsUser: 1000}\n")]
#[case::silent("silent", &[("a", "", ""), ("b", "", "a"), ("c", "", "a"), ("d", "", "b, c")], "  securityContext: {runAsUser: 1000}\n")]
#[tokio::test]
async fn steps_run_where_a_limit_range_has_defaults(
    #[values(Pods, Relay)] execution: Execution,
    #[case] name: &str,
    #[case] steps: &[(&str, &str, &str)],
    #[case] settings: &str,
) {
    kubeci_e2e::run_as(execution, name, async |test| {
        test.apply(DEFAULTS).await;
        let steps = steps
            .iter()
            .map(|(name, cpu, needs)| step(name, cpu, needs));
        let steps = steps.collect::<Vec<_>>().join(", ");
        let plan = fire_with(test, name, &format!("[{steps}]"), settings).await;
        test.ends(&plan, Phase::Completed).await;
        test.cleaned(&plan).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn quota_on_limits_admits_limited_steps(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "limits", async |test| {
        test.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: limits}, spec: {hard: {\
            limits.cpu: 2, limits.memory: 1Gi, requests.cpu: 1, requests.memory: 512Mi}}}").await;
        let step = |name: &str, dependency: &str, more: &str| format!(
            "{{name: {name}, image: alpine, commands: ['true'], dependency: [{dependency}]{more}, \
             resources: {{requests: {{cpu: 50m, memory: 16Mi}}, limits: {{cpu: 200m, memory: 64Mi}}}}}}"
        );
        let steps = [step("first", "", ", isolate: true"), step("b", "first", ""), step("c", "first", "")];
        let steps = format!("[{}]", steps.join(", "));
        let settings = "  securityContext: {runAsUser: 1000}\n";
        let plan = fire_with(test, "limits", &steps, settings).await;
        test.ends(&plan, Phase::Completed).await;
        test.cleaned(&plan).await;
    })
    .await;
}

/// A plan of which each pod fits into the namespace, but not all that its first pod could hold room for.
#[rstest]
#[tokio::test]
async fn first_pod_requests_fit_the_namespace(
    #[values(Pods, Relay)] execution: Execution,
    #[values("quota", "limit-range")] bound: &str,
) {
    kubeci_e2e::run_as(execution, bound, async |test| {
        let bound = match bound {
            "quota" => "{apiVersion: v1, kind: ResourceQuota, metadata: {name: bound}, spec: {hard: {requests.cpu: 150m}}}",
            _ => "{apiVersion: v1, kind: LimitRange, metadata: {name: bound}, spec: {limits: [{type: Pod, max: {cpu: 150m}}]}}",
        };
        test.apply(bound).await;
        let step = |name: &str, dependency: &str| format!(
            "{{name: {name}, image: alpine, commands: ['true'], dependency: [{dependency}], isolate: true, \
             resources: {{requests: {{cpu: 100m}}, limits: {{cpu: 150m}}}}}}"
        );
        let steps = format!("[{}, {}, {}]", step("a", ""), step("b", "a"), step("c", "a"));
        let plan = fire(test, "bounded", &steps).await;
        test.ends(&plan, Phase::Completed).await;
        test.cleaned(&plan).await;
    })
    .await;
}

#[rstest]
#[case::limit_range("too-much",
    "{apiVersion: v1, kind: LimitRange, metadata: {name: small}, spec: {limits: [{type: Container, max: {cpu: 20m}}]}}",
    &["cpu limit of 20m", "resources of the steps", "LimitRange"], true)]
#[case::default_below("below",
    "{apiVersion: v1, kind: LimitRange, metadata: {name: small}, spec: {limits: [{type: Container, default: {cpu: 20m}}]}}",
    &["cpu limit of 20m", "has the defaults of the LimitRange"], true)]
#[case::quota("silent",
    "{apiVersion: v1, kind: ResourceQuota, metadata: {name: limits}, spec: {hard: {limits.cpu: 2}}}",
    &["must specify limits.cpu for", "resources of the steps", "LimitRange"], false)]
#[tokio::test]
async fn refused_resources_are_reported(
    #[values(Pods, Relay)] execution: Execution,
    #[case] name: &str,
    #[case] bound: &str,
    #[case] words: &[&str],
    #[case] is_final: bool,
) {
    kubeci_e2e::run_as(execution, name, async |test| {
        test.apply(bound).await;
        let steps = format!("[{}, {}]", step("a", "60m", ""), step("b", "60m", "a"));
        let plan = fire(test, name, &steps).await;
        test.workplan_says(&plan, words).await;
        if is_final {
            test.ends(&plan, Phase::Failed).await;
        }
    })
    .await;
}

/// Whether admission has seen what the test has made: it gives defaults, or refuses.
async fn limits_are_in_force(test: &Test) {
    kubeci_e2e::eventually("defaults of the LimitRange", async || {
        let silent = serde_json::json!({"name": "silent", "image": "alpine"});
        match random::dry_run(test, vec![], vec![silent]).await {
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(pod) => {
                let given = pod.annotations().get("kubernetes.io/limit-ranger");
                given.map(drop).ok_or_else(|| "none are given".to_owned())
            }
        }
    })
    .await;
}
