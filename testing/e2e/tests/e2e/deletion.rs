//! The law "Nothing left", when what runs is deleted.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Workflow, Workplan};
use kubeci_e2e::{Inspector, Test, eventually, workspace_path};
use rstest::rstest;

use crate::workflow::{ENDLESS, on_config_maps};

/// Starts a Workplan without end, and says its name and its folder on the node.
async fn start(test: &Test) -> (String, String) {
    test.apply(&on_config_maps("endless", ENDLESS)).await;
    test.workflow_ready("endless").await;
    test.config_map("object", "A").await;
    let name = test.workplan("endless").await.name_any();
    let plan = test.runs(&name, "endless").await;
    let node = plan.status.and_then(|it| it.node).expect("a node");
    let folder = workspace_path(&test.namespace, "endless", &name);
    let inspector = Inspector::get(&test.client).await;
    eventually("the step has written", async || {
        let here = inspector.node(&node).has(&format!("{folder}/here")).await;
        if here { Ok(()) } else { Err("not yet") }
    })
    .await;
    (name, folder)
}

#[rstest]
#[tokio::test]
async fn deleted_running_workplan_leaves_nothing(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "plan-deleted", async |test| {
        let (name, folder) = start(test).await;
        test.delete_one::<Workplan>(&name).await;
        test.gone::<Workplan>(&name).await;
        test.gone::<Pod>(&format!("{name}-0")).await;
        Inspector::get(&test.client)
            .await
            .assert_gone(&folder)
            .await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn deleted_workflow_leaves_nothing(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "wfl-deleted", async |test| {
        let (name, folder) = start(test).await;
        test.delete_one::<Workflow>("endless").await;
        test.gone::<Workplan>(&name).await;
        test.gone::<Pod>(&format!("{name}-0")).await;
        Inspector::get(&test.client)
            .await
            .assert_gone(&folder)
            .await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn deleted_namespace_leaves_nothing(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "ns-deleted", async |test| {
        let (_, folder) = start(test).await;
        let namespaces = Api::<Namespace>::all(test.client.clone());
        let deleted = namespaces
            .delete(&test.namespace, &DeleteParams::default())
            .await;
        deleted.expect("the namespace is deleted");
        eventually("the namespace is gone", async || {
            match namespaces.get_opt(&test.namespace).await {
                Ok(None) => Ok(()),
                Ok(Some(it)) => Err(format!("{:?}", it.status)),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        Inspector::get(&test.client)
            .await
            .assert_gone(&folder)
            .await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn deleted_completed_workplan_leaves_nothing(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "done-deleted", async |test| {
        test.apply(&on_config_maps("done", crate::workflow::ONE_STEP))
            .await;
        test.workflow_ready("done").await;
        test.config_map("object", "A").await;
        let name = test.workplan("done").await.name_any();
        test.cleaned(&name).await;
        test.assert_folder_gone("done", &name).await;
        test.delete_one::<Workplan>(&name).await;
        test.gone::<Pod>(&format!("{name}-0")).await;
        test.gone::<Workplan>(&name).await;
    })
    .await;
}
