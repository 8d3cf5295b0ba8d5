//! The law "Exact": a step never waits for one that it does not depend on.

use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Order, Phase};
use kubeci_e2e::{DISRUPTIVE, example, step};
use rstest::rstest;

use crate::workflow::{on_config_maps, shell};

/// Waits for what another step makes: where the engine makes a step wait for no reason, this never ends.
fn waits_for(file: &str) -> String {
    format!("until [ -e /kubeci/{file} ]; do sleep 0.1; done")
}

#[rstest]
#[tokio::test]
async fn chain_does_not_wait_for_long_step(#[values(Pods, Relay)] execution: Execution) {
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    kubeci_e2e::run_as(execution, "diamond", async |test| {
        test.apply(&example("diamond/workflow.yaml")).await;
        test.workflow_ready("diamond").await;
        test.apply(&example("diamond/trigger.yaml")).await;
        let name = test.workplan("diamond").await.name_any();
        let plan = test.ends(&name, Phase::Completed).await;
        let order = match execution {
            Pods => Order::Graph,
            Relay => Order::Relay,
        };
        assert_eq!(plan.spec.order, order);
        let started = |name| step(&plan, name).started_at.expect("a start").0;
        let finished = |name| step(&plan, name).finished_at.expect("an end").0;
        assert!(finished("package") < finished("long"), "{:?}", plan.status);
        assert!(started("merge") >= finished("long"), "{:?}", plan.status);
        assert!(started("merge") >= finished("package"), "{:?}", plan.status);
        test.cleaned(&name).await;
        test.assert_folder_gone("diamond", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn long_step_can_wait_for_another_chain(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "beside", async |test| {
        let steps = [
            shell("prepare", "true", ""),
            shell("long", &waits_for("packaged"), "prepare"),
            shell("lint", "true", "prepare"),
            shell("compile", "true", "lint"),
            shell("package", "touch /kubeci/packaged", "compile"),
            shell("merge", "ls /kubeci", "long, package"),
        ];
        test.apply(&on_config_maps(
            "beside",
            &format!("[{}]", steps.join(", ")),
        ))
        .await;
        test.workflow_ready("beside").await;
        test.config_map("object", "A").await;
        let name = test.workplan("beside").await.name_any();
        test.ends(&name, Phase::Completed).await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn two_chains_can_alternate(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "turns", async |test| {
        let turn =
            |mine: &str, theirs: &str| format!("{}; touch /kubeci/{mine}", waits_for(theirs));
        let steps = [
            shell("a1", "touch /kubeci/a1", ""),
            shell("b1", &turn("b1", "a1"), ""),
            shell("a2", &turn("a2", "b1"), "a1"),
            shell("b2", &turn("b2", "a2"), "b1"),
            shell("a3", &turn("a3", "b2"), "a2"),
            shell("b3", &turn("b3", "a3"), "b2"),
        ];
        test.apply(&on_config_maps("turns", &format!("[{}]", steps.join(", "))))
            .await;
        test.workflow_ready("turns").await;
        test.config_map("object", "A").await;
        let name = test.workplan("turns").await.name_any();
        let plan = test.ends(&name, Phase::Completed).await;
        let tasks = match execution {
            Pods => 2, // one for each chain
            Relay => 1,
        };
        assert_eq!(plan.spec.tasks.len(), tasks);
        test.cleaned(&name).await;
    })
    .await;
}
