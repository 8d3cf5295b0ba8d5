//! Triggers on kinds that come and go.

use kubeci_e2e::{Test, fired};

use crate::workflow::unplaced;

fn on_gizmos(test: &Test) -> String {
    let trigger = format!(
        "{{apiVersion: {}/v1, kind: Gizmo, onAddOrUpdate: true}}",
        test.api_group()
    );
    unplaced("on-gizmo", &trigger)
}

async fn gizmo(test: &Test, name: &str, size: u32) {
    let group = test.api_group();
    test.apply(&format!("{{apiVersion: {group}/v1, kind: Gizmo, metadata: {{name: {name}}}, spec: {{size: {size}}}}}")).await;
}

#[tokio::test]
async fn kind_may_be_installed_later() {
    kubeci_e2e::run("later", async |test| {
        let group = test.api_group();
        test.let_operator_watch(&group, &["gizmos"]).await;
        test.apply(&on_gizmos(test)).await;
        test.workflow_refused(
            "on-gizmo",
            &["TriggersWatched"],
            &["spec.triggers[0]", "Gizmo", &group],
        )
        .await;

        test.install_kind("Gizmo").await;
        gizmo(test, "first", 1).await;
        test.workflow_ready("on-gizmo").await;
        test.workplans_reach("on-gizmo", 1).await;
        gizmo(test, "first", 2).await;
        let plans = test.workplans_reach("on-gizmo", 2).await;
        assert_eq!(fired(&plans), ["first add", "first update"]);
    })
    .await;
}

#[tokio::test]
async fn kind_may_be_removed_and_installed_again() {
    kubeci_e2e::run("goes", async |test| {
        let group = test.api_group();
        test.let_operator_watch(&group, &["gizmos"]).await;
        test.install_kind("Gizmo").await;
        test.apply(&on_gizmos(test)).await;
        test.workflow_ready("on-gizmo").await;
        gizmo(test, "first", 1).await;
        test.workplans_reach("on-gizmo", 1).await;

        test.remove_kind("Gizmo").await;
        test.workflow_refused(
            "on-gizmo",
            &["TriggersWatched"],
            &["spec.triggers[0]", "Gizmo", &group],
        )
        .await;
        test.install_kind("Gizmo").await;
        test.workflow_ready("on-gizmo").await;
        gizmo(test, "second", 1).await;
        let plans = test.workplans_reach("on-gizmo", 2).await;
        assert_eq!(fired(&plans), ["first add", "second add"]);
    })
    .await;
}

#[tokio::test]
async fn forbidden_kind_is_reported_with_missing_rule() {
    kubeci_e2e::run("no-right", async |test| {
        let group = test.api_group();
        test.install_kind("Gizmo").await;
        test.apply(&on_gizmos(test)).await;
        let rule = [
            "spec.triggers[0]",
            "gizmos",
            &group,
            "kube.ci/aggregate-to-watch",
            "watch",
        ];
        test.workflow_refused("on-gizmo", &["TriggersWatched"], &rule)
            .await;
        gizmo(test, "first", 1).await;
        test.let_operator_watch(&group, &["gizmos"]).await;
        test.workflow_ready("on-gizmo").await;
        test.workplans_reach("on-gizmo", 1).await;
    })
    .await;
}

#[tokio::test]
async fn unwatched_trigger_does_not_block_others() {
    kubeci_e2e::run("beside", async |test| {
        let both = format!(
            "{}, {{apiVersion: {}/v1, kind: Gizmo, onAddOrUpdate: true}}",
            crate::workflow::WATCHED,
            test.api_group()
        );
        test.apply(&unplaced("both", &both)).await;
        test.workflow_refused("both", &["TriggersWatched"], &["spec.triggers[1]", "Gizmo"])
            .await;
        test.config_map("object", "A").await;
        test.workplans_reach("both", 1).await;
    })
    .await;
}
