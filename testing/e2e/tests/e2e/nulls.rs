//! What a template leaves of an empty value is null. Where an absent field widens what a Workflow does, null is
//! refused; elsewhere it is as in Kubernetes' own kinds.

use futures::future::join_all;
use kubeci_api::Workflow;
use kubeci_e2e::{all_in, create, kubectl};

use crate::workflow::{ONE_STEP, WATCHED, unplaced, workflow};

/// What stands in a trigger on ConfigMaps, and the field that must be named.
const IN_TRIGGERS: [(&str, &str); 7] = [
    ("selector: null", "selector"),
    ("selector: {matchLabels: null}", "selector.matchLabels"),
    (
        "selector: {matchLabels: {app: null}}",
        "selector.matchLabels",
    ),
    (
        "selector: {matchLabels: {app: a, tier: null}}",
        "selector.matchLabels",
    ),
    (
        "selector: {matchExpressions: null}",
        "selector.matchExpressions",
    ),
    ("name: null", "name"),
    ("namespace: null", "namespace"),
];

#[tokio::test]
async fn null_that_widens_is_refused() {
    kubeci_e2e::run("null", async |test| {
        let of_trigger = |(field, path): &(&str, &str)| {
            let trigger = format!("{{apiVersion: v1, kind: ConfigMap, {field}, onDelete: true}}");
            (
                workflow("widens", ONE_STEP, &trigger),
                format!("spec.triggers[0].{path}"),
            )
        };
        let mut cases: Vec<_> = IN_TRIGGERS.iter().map(of_trigger).collect();
        for field in ["dependency", "onFailure", "after"] {
            let steps =
                format!("[{{name: a, image: alpine}}, {{name: b, image: alpine, {field}: null}}]");
            let edge = workflow("widens", &steps, WATCHED);
            cases.push((edge, format!("spec.steps[1].{field}")));
        }
        let node = workflow("widens", ONE_STEP, WATCHED) + "  nodeSelector: {disk: null}\n";
        cases.push((node, "spec.nodeSelector".to_owned()));
        let volume = workflow("widens", ONE_STEP, WATCHED) + "  workspace: {emptyDir: null}\n";
        cases.push((volume, "spec.workspace".to_owned()));

        join_all(cases.iter().map(async |(yaml, path)| {
            let refused = create(&test.client, &test.namespace, yaml).await;
            let said = refused.expect_err(yaml).to_string();
            assert!(all_in(&said, &[path, "null", "leave"]), "{path}: {said}");
        }))
        .await;
        assert!(test.list::<Workflow>().await.is_empty());
    })
    .await;
}

/// A merge patch, which a `kubectl apply` of a change is, cannot say null: it takes the field away.
#[tokio::test]
async fn null_in_a_change_is_refused() {
    kubeci_e2e::run("null-change", async |test| {
        let namespace = test.namespace.as_str();
        let good = unplaced("changed", WATCHED);
        let null = good.replace("{matchLabels: {watched: 'yes'}}", "null");
        assert_ne!(good, null);
        kubectl(&["create", "-n", namespace, "-f", "-"], &good)
            .await
            .expect("created");
        let apply = ["apply", "--server-side", "--force-conflicts"];
        for how in [&apply[..], &["replace"]] {
            let arguments = [how, &["-n", namespace, "-f", "-"]].concat();
            let said = kubectl(&arguments, &null).await.expect_err("refused");
            let words = ["spec.triggers[0].selector", "null", "leave the field out"];
            assert!(all_in(&said, &words), "{how:?}: {said}");
        }
        let kept = test.workflow_ready("changed").await;
        assert!(kept.spec.triggers[0].selector.is_some());
    })
    .await;
}

#[tokio::test]
async fn other_nulls_are_as_if_absent() {
    kubeci_e2e::run("null-harmless", async |test| {
        let steps = "[{name: only, image: alpine, commands: ['true'], args: null, env: null, isolate: null, dependency: [], resources: null}]";
        let trigger = WATCHED.replace("onDelete: true", "onDelete: null, resource: null");
        let harmless = workflow("harmless", steps, &trigger)
            + "  volumes: null\n  tolerations: null\n  nodeSelector: null\n  serviceAccountName: null\n";
        test.create(&harmless).await;
        test.workflow_ready("harmless").await;
    })
    .await;
}
