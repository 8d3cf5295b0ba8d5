//! Folders that stay on their node for some time after their plan has ended.

use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, Workplan};
use kubeci_e2e::{Inspector, Test, all_in, eventually, run_as, workspace_path};
use rstest::rstest;

use crate::workflow::{fire_with, script, steps};

/// A step that leaves a file and fails.
fn failing() -> String {
    steps(&[script("only", "echo left > /kubeci/file; exit 3", &[])])
}

/// Waits until the condition says that the folder is kept; returns the node.
async fn kept(test: &Test, name: &str, folder: &str) -> String {
    let plan = test
        .workplan_when(name, "keeps its folder", |plan| {
            let mut conditions = plan.status.iter().flat_map(|it| &it.conditions);
            conditions.any(|it| {
                it.reason == "Kept" && all_in(&it.message, &[folder, "node", "until", "delete"])
            })
        })
        .await;
    plan.status.and_then(|it| it.node).expect("a node")
}

async fn deleted_with_folder(test: &Test, name: &str) {
    test.delete_one::<Workplan>(name).await;
    test.gone::<Workplan>(name).await;
    test.assert_folder_gone("keep", name).await;
}

#[rstest]
#[tokio::test]
async fn kept_folder_is_removed_after_its_time(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "keep", async |test| {
        let settings = "  workspace: {keep: {for: 20s}}\n";
        let name = fire_with(test, "keep", &failing(), settings).await;
        let folder = workspace_path(&test.namespace, "keep", &name);
        let node = kept(test, &name, &folder).await;
        let inspector = Inspector::get(&test.client).await;
        let left = inspector
            .node(&node)
            .sh(&format!("cat {folder}/file"))
            .await;
        assert_eq!(left, "left\n");
        let plan = test.cleaned(&name).await;
        inspector.assert_gone(&folder).await;
        let status = plan.status.unwrap();
        let cleaned = status.conditions.iter();
        let cleaned = cleaned.filter(|it| it.type_ == "WorkspaceCleaned");
        let cleaned = cleaned.map(|it| it.last_transition_time.0).next().unwrap();
        let kept_for = cleaned.duration_since(status.finished_at.unwrap().0);
        // The condition has whole seconds.
        assert!(kept_for.as_secs() >= 19, "kept for {kept_for}");
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn deletion_removes_kept_folder(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "keep-deleted", async |test| {
        let settings = "  workspace: {hostPath: {}, keep: {for: 1h}}\n";
        let name = fire_with(test, "keep", &failing(), settings).await;
        let folder = workspace_path(&test.namespace, "keep", &name);
        kept(test, &name, &folder).await;
        deleted_with_folder(test, &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn history_deletes_workplans_with_kept_folders(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "keep-history", async |test| {
        let settings = "  workspace: {keep: {for: 1h}}\n  history: {failed: 1}\n";
        let first = fire_with(test, "keep", &failing(), settings).await;
        let folder = workspace_path(&test.namespace, "keep", &first);
        kept(test, &first, &folder).await;
        test.config_map("object", "B").await;
        eventually("the first is deleted", async || {
            let plans = test.workplans("keep").await;
            let names = kubeci_e2e::fired(&plans);
            if plans.len() == 1 { Ok(()) } else { Err(names) }
        })
        .await;
        test.gone::<Workplan>(&first).await;
        test.assert_folder_gone("keep", &first).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn completed_plan_keeps_nothing_by_default(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "keep-failure", async |test| {
        let all = steps(&[script("only", "true", &[])]);
        let settings = "  workspace: {keep: {for: 1h}}\n";
        let name = fire_with(test, "keep", &all, settings).await;
        test.ends(&name, Phase::Completed).await;
        test.cleaned(&name).await;
        test.assert_folder_gone("keep", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn completed_plan_keeps_folder_always(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "keep-always", async |test| {
        let all = steps(&[script("only", "true", &[])]);
        let settings = "  workspace: {keep: {\"on\": Always, for: 1h}}\n";
        let name = fire_with(test, "keep", &all, settings).await;
        let folder = workspace_path(&test.namespace, "keep", &name);
        kept(test, &name, &folder).await;
        deleted_with_folder(test, &name).await;
    })
    .await;
}
