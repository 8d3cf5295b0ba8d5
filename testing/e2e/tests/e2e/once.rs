//! The law "Once": one event, one Workplan. That nothing fires is shown by another object of the same watch
//! that is changed later and does fire.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Workplan, names};
use kubeci_e2e::{DISRUPTIVE, Operator, Test, chains, fired};
use rstest::rstest;
use serde_json::json;

use crate::workflow::{ONE_STEP, WATCHED, unplaced, workflow};

async fn begin(test: &Test) {
    test.apply(&unplaced("once", WATCHED)).await;
    test.workflow_ready("once").await;
}

#[tokio::test]
async fn each_state_of_an_object_fires_once() {
    kubeci_e2e::run("states", async |test| {
        begin(test).await;
        let first = test.config_map("object", "A").await.uid().expect("a uid");
        test.workplans_reach("once", 1).await;
        test.config_map("object", "B").await;
        test.workplans_reach("once", 2).await;
        test.config_map("object", "A").await;
        test.workplans_reach("once", 3).await;
        test.delete_one::<ConfigMap>("object").await;
        test.workplans_reach("once", 4).await;
        let second = test.config_map("object", "A").await.uid().expect("a uid");
        let plans = test.workplans_reach("once", 5).await;

        let chains = chains(&plans);
        assert_eq!(
            events(&chains[&first]),
            ["add", "update", "update", "delete"]
        );
        assert_eq!(events(&chains[&second]), ["add"]);
        let token = |plan: &Workplan| plan.spec.trigger.clone().expect("a trigger").token;
        let tokens: Vec<_> = chains[&first].iter().map(|plan| token(plan)).collect();
        assert_eq!(tokens[0], tokens[2], "the same state");
        assert_ne!(tokens[0], tokens[1], "another state");
    })
    .await;
}

fn events(chain: &[&Workplan]) -> Vec<&'static str> {
    let triggers = chain
        .iter()
        .map(|it| it.spec.trigger.as_ref().expect("a trigger"));
    triggers.map(|it| it.event.as_str()).collect()
}

#[tokio::test]
async fn unchanged_state_fires_nothing() {
    kubeci_e2e::run("same", async |test| {
        begin(test).await;
        test.config_map("object", "A").await;
        test.workplans_reach("once", 1).await;
        test.config_map("object", "A").await;
        test.label_config_map("object", "more", Some("label")).await;
        let note = json!({"metadata": {"annotations": {"note": "touched"}}});
        test.patch_config_map("object", note).await;
        test.config_map("marker", "A").await;
        let plans = test.workplans_reach("once", 2).await;
        assert_eq!(fired(&plans), ["marker add", "object add"]);
    })
    .await;
}

#[tokio::test]
async fn existing_object_fires_once() {
    kubeci_e2e::run("before", async |test| {
        test.config_map("object", "A").await;
        begin(test).await;
        test.config_map("marker", "A").await;
        let plans = test.workplans_reach("once", 2).await;
        assert_eq!(fired(&plans), ["marker add", "object add"]);
    })
    .await;
}

#[tokio::test]
async fn object_fires_each_workflow_once() {
    kubeci_e2e::run("share", async |test| {
        for name in ["first", "second", "third"] {
            test.apply(&unplaced(name, WATCHED)).await;
            test.workflow_ready(name).await;
        }
        test.config_map("object", "A").await;
        for name in ["first", "second", "third"] {
            test.workplans_reach(name, 1).await;
        }
        test.config_map("object", "B").await;
        for name in ["first", "second", "third"] {
            let plans = test.workplans_reach(name, 2).await;
            assert_eq!(fired(&plans), ["object add", "object update"]);
        }
    })
    .await;
}

#[tokio::test]
async fn object_of_two_triggers_fires_once() {
    kubeci_e2e::run("overlap", async |test| {
        let by_name = "{apiVersion: v1, kind: ConfigMap, name: object, onAddOrUpdate: true}";
        test.apply(&unplaced("once", &format!("{WATCHED}, {by_name}")))
            .await;
        test.workflow_ready("once").await;
        test.config_map("object", "A").await;
        test.config_map("marker", "A").await;
        let plans = test.workplans_reach("once", 2).await;
        assert_eq!(fired(&plans), ["marker add", "object add"]);
    })
    .await;
}

#[tokio::test]
async fn changed_workflow_applies_to_the_next_event() {
    kubeci_e2e::run("edited", async |test| {
        begin(test).await;
        test.config_map("object", "A").await;
        test.workplans_reach("once", 1).await;
        test.apply(&unplaced("once", WATCHED).replace("name: only", "name: renamed"))
            .await;
        test.workflow_ready("once").await;
        test.config_map("object", "B").await;
        let plans = test.workplans_reach("once", 2).await;
        let chains = chains(&plans);
        let chain = chains.values().next().expect("a chain");
        let steps: Vec<_> = chain
            .iter()
            .flat_map(|it| it.spec.tasks[0].steps())
            .collect();
        assert_eq!([&steps[0].name, &steps[1].name], ["only", "renamed"]);
    })
    .await;
}

#[tokio::test]
async fn deleted_workflow_deletes_its_workplans() {
    kubeci_e2e::run("deleted", async |test| {
        begin(test).await;
        test.apply(&unplaced("marker", WATCHED)).await;
        test.workflow_ready("marker").await;
        test.config_map("object", "A").await;
        let plan = test.workplan("once").await.name_any();
        test.workplan("marker").await;
        test.delete_one::<kubeci_api::Workflow>("once").await;
        test.gone::<Workplan>(&plan).await;
        test.config_map("object", "B").await;
        test.workplans_reach("marker", 2).await;
        assert!(test.workplans("once").await.is_empty());
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn objects_of_a_workplan_fire_nothing(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "own-pods", async |test| {
        let pods = "{apiVersion: v1, kind: Pod, onAddOrUpdate: true}";
        test.apply(&workflow("once", ONE_STEP, pods)).await;
        test.workflow_ready("once").await;
        let pod = |name| {
            format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: Never, containers: [{{name: only, image: alpine, command: ['true']}}]}}}}")
        };
        test.create(&pod("first")).await;
        let plan = test.workplan("once").await.name_any();
        test.cleaned(&plan).await;
        test.create(&pod("marker")).await;
        let plans = test.workplans_reach("once", 2).await;
        assert_eq!(fired(&plans), ["first add", "marker add"]);
    })
    .await;
}

/// The pod fires before it is bound to a node, which adds to its spec. The operator is killed before it writes what has
/// fired, and then knows it from the Workplan alone.
#[tokio::test]
async fn killed_operator_does_not_fire_a_bound_pod() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("bound", async |test| {
        let pods = "{apiVersion: v1, kind: Pod, onAddOrUpdate: true}";
        test.apply(&unplaced("once", pods)).await;
        test.workflow_ready("once").await;
        let pod = |name| {
            format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: Never, containers: [{{name: only, image: alpine, command: ['true']}}]}}}}")
        };
        test.create(&pod("first")).await;
        test.workplan("once").await;
        Operator::Workflow.kill(&test.client).await;
        Operator::Workflow.works(&test.client).await;
        test.create(&pod("marker")).await;
        let plans = test.workplans_reach("once", 2).await;
        assert_eq!(fired(&plans), ["first add", "marker add"]);
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn long_name_is_cut_to_fit(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "long-name", async |test| {
        let name = format!("a{}", "-long.name".repeat(6));
        test.apply(&workflow(&name, ONE_STEP, WATCHED)).await;
        test.workflow_ready(&name).await;
        test.config_map("object", "A").await;
        let plan = test.workplan(&name).await.name_any();
        assert!(plan.len() <= names::WORKPLAN_NAME_MAX, "{plan}");
        test.cleaned(&plan).await;
    })
    .await;
}

#[tokio::test]
async fn restart_of_the_operator_fires_nothing() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("restart", async |test| {
        begin(test).await;
        for name in ["one", "two", "three"] {
            test.config_map(name, "A").await;
        }
        test.workplans_reach("once", 3).await;
        test.config_map("one", "B").await;
        test.delete_one::<ConfigMap>("two").await;
        test.workplans_reach("once", 5).await;
        Operator::Workflow.kill(&test.client).await;
        Operator::Workflow.works(&test.client).await;
        test.config_map("marker", "A").await;
        let plans = test.workplans_reach("once", 6).await;
        chains(&plans);
        let expected = [
            "marker add",
            "one add",
            "one update",
            "three add",
            "two add",
            "two delete",
        ];
        assert_eq!(fired(&plans), expected);
    })
    .await;
}
