//! Who may watch what: the Workflow's own namespace needs nothing, everything else its ServiceAccount's right.

use kubeci_e2e::{Test, fired};

use crate::workflow::unplaced;

#[tokio::test]
async fn cluster_scoped_kind_needs_permission() {
    kubeci_e2e::run("cluster-kind", async |test| {
        let own = &test.namespace;
        let trigger =
            format!("{{apiVersion: v1, kind: Namespace, name: {own}, onAddOrUpdate: true}}");
        test.apply(&unplaced("guarded", &trigger)).await;
        refused(test, "namespaces").await;
        test.grant("", &["namespaces"], &["get", "list", "watch"])
            .await;
        test.workflow_ready("guarded").await;
        let plan = test.workplan("guarded").await;
        let trigger = plan.spec.trigger.expect("a trigger");
        assert_eq!((trigger.name, trigger.namespace), (own.clone(), None));
    })
    .await;
}

/// The condition says what is missing, and nothing fires.
async fn refused(test: &Test, resource: &str) {
    let account = format!("{}:default", test.namespace);
    let rule = [
        "spec.triggers[0]",
        &account,
        "may not watch",
        resource,
        "kubectl create",
    ];
    test.workflow_refused("guarded", &["TriggersWatched"], &rule)
        .await;
    assert!(test.workplans("guarded").await.is_empty());
}

#[tokio::test]
async fn another_namespace_needs_the_service_accounts_permission() {
    kubeci_e2e::run("elsewhere", async |test| {
        let other = test.another_namespace("other").await;
        other.config_map("there", "A").await;
        let trigger = format!(
            "{{apiVersion: v1, kind: ConfigMap, namespace: {}, selector: {{matchLabels: {{watched: 'yes'}}}}, onAddOrUpdate: true}}",
            other.namespace
        );
        test.apply(&unplaced("guarded", &trigger)).await;
        refused(test, "configmaps").await;
        test.grant("", &["configmaps"], &["get", "list", "watch"]).await;
        test.workflow_ready("guarded").await;
        test.config_map("here", "A").await;
        other.config_map("marker", "A").await;
        let plans = test.workplans_reach("guarded", 2).await;
        assert_eq!(fired(&plans), ["marker add", "there add"]);
    })
    .await;
}

#[tokio::test]
async fn all_namespaces_need_the_service_accounts_permission() {
    kubeci_e2e::run("everywhere", async |test| {
        let other = test.another_namespace("other").await;
        // A label that no other test's objects have.
        let trigger = format!(
            "{{apiVersion: v1, kind: ConfigMap, namespace: '*', selector: {{matchLabels: {{of: {}}}}}, onAddOrUpdate: true}}",
            test.namespace
        );
        test.apply(&unplaced("guarded", &trigger)).await;
        refused(test, "configmaps").await;
        test.grant("", &["configmaps"], &["get", "list", "watch"]).await;
        test.workflow_ready("guarded").await;
        for (place, name) in [(test, "here"), (&other, "there")] {
            place.config_map(name, "A").await;
            place.label_config_map(name, "of", Some(&test.namespace)).await;
        }
        let plans = test.workplans_reach("guarded", 2).await;
        assert_eq!(fired(&plans), ["here add", "there add"]);
    })
    .await;
}

#[tokio::test]
async fn withdrawn_permission_ends_the_watch() {
    kubeci_e2e::run("revoked", async |test| {
        let own = &test.namespace;
        let trigger =
            format!("{{apiVersion: v1, kind: Namespace, name: {own}, onAddOrUpdate: true}}");
        test.apply(&unplaced("guarded", &trigger)).await;
        test.grant("", &["namespaces"], &["get", "list", "watch"])
            .await;
        test.workflow_ready("guarded").await;
        test.workplans_reach("guarded", 1).await;
        test.grant("", &["namespaces"], &["get"]).await;
        test.workflow_refused("guarded", &["TriggersWatched"], &["namespaces", "watch"])
            .await;
    })
    .await;
}
