//! The design document's Workflow and Workplan, as they are written there.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use kubeci_api::{Order, Phase, TriggerEvent, Workflow, Workplan};
use kubeci_e2e::{Test, chains, create, eventually, example};

const WORKFLOW: &str = "my-workflow";
const CONFIG_MAP: &str = "my-config";
const WORKPLAN: &str = include_str!("../fixtures/document-workplan.yaml");
const LOG: &str = "step-5\nfile-1\nfile-2\nfile-3\nfile-4\n";

#[tokio::test]
async fn documents_workflow_runs_as_documented() {
    kubeci_e2e::run_in_default(async |test| {
        remove(test).await;
        test.create(&example("document/workflow.yaml")).await;
        let workflow = test.workflow_ready(WORKFLOW).await;
        test.create(&example("document/trigger.yaml")).await;
        let plan = test.workplan(WORKFLOW).await;
        is_the_documents(&plan);
        completes(test, &plan.name_any()).await;
        remembers(test, &plan).await;

        test.delete_one::<ConfigMap>(CONFIG_MAP).await;
        let plans = test.workplans_reach(WORKFLOW, 2).await;
        let chain = &chains(&plans)[&trigger_uid(&plan)];
        let events = chain
            .iter()
            .map(|it| it.spec.trigger.as_ref().expect("a trigger").event);
        assert!(events.eq([TriggerEvent::Add, TriggerEvent::Delete]));
        completes(test, &chain[1].name_any()).await;

        let uid = workflow.uid().expect("a uid");
        let by_hand = WORKPLAN.replace(
            "    name: my-workflow\nspec:",
            &format!("    name: my-workflow\n    uid: {uid}\nspec:"),
        );
        assert_ne!(by_hand, WORKPLAN, "the owner's uid is filled in");
        let created = test.create(&by_hand).await;
        completes(test, &created[0]).await;
        remove(test).await;
    })
    .await;
}

fn is_the_documents(plan: &Workplan) {
    let document: Workplan = serde_saphyr::from_str(WORKPLAN).expect("a Workplan");
    assert_eq!(plan.spec.tasks, document.spec.tasks);
    assert_eq!(plan.spec.order, Order::Linear);
    let owners = plan.owner_references();
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!(
        (owners[0].kind.as_str(), owners[0].name.as_str()),
        ("Workflow", WORKFLOW)
    );
    assert!(plan.name_any().starts_with("my-workflow-"));
}

async fn completes(test: &Test, plan: &str) {
    let ended = test.ends(plan, Phase::Completed).await;
    let status = ended.status.clone().unwrap_or_default();
    assert_eq!(status.progress.as_deref(), Some("5/5"));
    let pods = test.pods_of(plan).await;
    assert_eq!(pods.len(), 2);
    let nodes = pods.iter().map(node).collect::<BTreeSet<_>>();
    assert_eq!(
        nodes,
        BTreeSet::from([status.node]),
        "both pods on the plan's node"
    );
    assert_eq!(test.log_of(&ended, "step-5").await, LOG);
    test.cleaned(plan).await;
    test.assert_folder_gone(WORKFLOW, plan).await;
}

fn node(pod: &Pod) -> Option<String> {
    pod.spec.as_ref().and_then(|it| it.node_name.clone())
}

fn trigger_uid(plan: &Workplan) -> String {
    plan.spec.trigger.as_ref().expect("a trigger").uid.clone()
}

async fn remembers(test: &Test, plan: &Workplan) {
    let uid = trigger_uid(plan);
    let workflows = test.api::<Workflow>();
    eventually("the Workflow's status records the event", async || {
        let workflow = workflows.get(WORKFLOW).await.map_err(|it| it.to_string())?;
        let generation = workflow.metadata.generation;
        let status = workflow.status.unwrap_or_default();
        let seen = status.last_observed_resource_generation.clone();
        let recorded = seen.is_some_and(|it| it.contains_key(&uid))
            && status.last_workplan == Some(plan.name_any())
            && status.last_observed_generation == generation
            && status.succeeded == Some(1);
        if recorded {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
}

/// Also what an earlier run left.
async fn remove(test: &Test) {
    let now = DeleteParams::default();
    let _ = test.api::<Workflow>().delete(WORKFLOW, &now).await;
    let _ = test.api::<ConfigMap>().delete(CONFIG_MAP, &now).await;
    let workplans = test.api::<Workplan>();
    eventually("the document's Workplans are gone", async || {
        let list = workplans.list(&ListParams::default()).await;
        let names = list.map_err(|it| vec![it.to_string()])?;
        let names = names.iter().map(ResourceExt::name_any);
        let left = names
            .filter(|it| it.starts_with("my-workflow-"))
            .collect::<Vec<_>>();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn documents_workflow_can_be_applied() {
    kubeci_e2e::run("apply-document", async |test| {
        let elsewhere = example("document/workflow.yaml").replace(
            "namespace: default",
            &format!("namespace: {}", test.namespace),
        );
        create(&test.client, &test.namespace, &elsewhere)
            .await
            .expect("created");
        test.apply(&elsewhere).await;
        test.workflow_ready(WORKFLOW).await;
    })
    .await;
}
