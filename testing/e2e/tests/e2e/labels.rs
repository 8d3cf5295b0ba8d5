//! Selectors: what matches is a matter of an object's labels now, and leaving is not being deleted.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kubeci_e2e::{DISRUPTIVE, fired};
use serde_json::json;

use crate::workflow::{WATCHED, unplaced};

#[tokio::test]
async fn added_label_fires_add_removed_label_nothing() {
    // What fires nothing is remembered within a second; an operator killed before would forget it.
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    kubeci_e2e::run("label", async |test| {
        test.apply(&unplaced("labels", WATCHED)).await;
        test.workflow_ready("labels").await;
        let uid = test.config_map("object", "A").await.uid().expect("a uid");
        test.workplans_reach("labels", 1).await;

        test.label_config_map("object", "watched", None).await;
        test.patch_config_map("object", json!({"data": {"data": "B"}}))
            .await;
        test.config_map("marker", "A").await;
        let plans = test.workplans_reach("labels", 2).await;
        assert_eq!(fired(&plans), ["marker add", "object add"]);

        // An operator that is killed before it has said so would take the return for an update, and the
        // deletion for that of what matched.
        test.workflow_sees("labels", &uid, false).await;
        test.label_config_map("object", "watched", Some("yes"))
            .await;
        let plans = test.workplans_reach("labels", 3).await;
        assert_eq!(fired(&plans), ["marker add", "object add", "object add"]);

        test.label_config_map("object", "watched", None).await;
        test.workflow_sees("labels", &uid, false).await;
        test.delete_one::<ConfigMap>("object").await;
        test.config_map("marker", "B").await;
        let plans = test.workplans_reach("labels", 4).await;
        assert_eq!(
            fired(&plans),
            ["marker add", "marker update", "object add", "object add"]
        );
        kubeci_e2e::chains(&plans);
    })
    .await;
}

#[tokio::test]
async fn expressions_select() {
    kubeci_e2e::run("expressions", async |test| {
        let trigger = "{apiVersion: v1, kind: ConfigMap, selector: {matchLabels: {watched: 'yes'}, matchExpressions: [{key: tier, operator: In, values: [web, api]}, {key: legacy, operator: DoesNotExist}, {key: stage, operator: NotIn, values: [test]}, {key: owner, operator: Exists}]}, onAddOrUpdate: true}";
        test.apply(&unplaced("selects", trigger)).await;
        test.workflow_ready("selects").await;
        let objects = [
            ("matches", json!({"tier": "web", "owner": "me", "stage": "prod"})),
            ("tier-differs", json!({"tier": "db", "owner": "me"})),
            ("legacy", json!({"tier": "web", "owner": "me", "legacy": ""})),
            ("stage-differs", json!({"tier": "web", "owner": "me", "stage": "test"})),
            ("owner-absent", json!({"tier": "web"})),
            ("marker", json!({"tier": "api", "owner": ""})),
        ];
        for (name, labels) in objects {
            test.config_map(name, "A").await;
            test.patch_config_map(name, json!({"metadata": {"labels": labels}})).await;
        }
        let plans = test.workplans_reach("selects", 2).await;
        assert_eq!(fired(&plans), ["marker add", "matches add"]);
    })
    .await;
}

#[tokio::test]
async fn only_the_events_that_the_trigger_names_fire() {
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    kubeci_e2e::run("events", async |test| {
        for (name, events) in [("changes", "onAddOrUpdate: true"), ("deletions", "onDelete: true")] {
            let trigger = format!("{{apiVersion: v1, kind: ConfigMap, selector: {{matchLabels: {{watched: 'yes'}}}}, {events}}}");
            test.apply(&unplaced(name, &trigger)).await;
            test.workflow_ready(name).await;
        }
        let object = test.config_map("object", "A").await;
        test.workplans_reach("changes", 1).await;
        test.config_map("object", "B").await;
        test.workplans_reach("changes", 2).await;
        let uid = object.uid().expect("a uid");
        test.workflow_sees("deletions", &uid, true).await;
        test.delete_one::<ConfigMap>("object").await;
        let plans = test.workplans_reach("deletions", 1).await;
        assert_eq!(fired(&plans), ["object delete"]);
        test.config_map("marker", "A").await;
        let plans = test.workplans_reach("changes", 3).await;
        assert_eq!(fired(&plans), ["marker add", "object add", "object update"]);
    })
    .await;
}

#[tokio::test]
async fn name_selects_one_object() {
    kubeci_e2e::run("name", async |test| {
        let trigger =
            "{apiVersion: v1, kind: ConfigMap, name: this, onAddOrUpdate: true, onDelete: true}";
        test.apply(&unplaced("named", trigger)).await;
        test.workflow_ready("named").await;
        test.config_map("that", "A").await;
        test.config_map("this", "A").await;
        let plans = test.workplans_reach("named", 1).await;
        assert_eq!(fired(&plans), ["this add"]);
    })
    .await;
}
