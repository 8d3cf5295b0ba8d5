//! Workflows on ConfigMaps, and what fires them.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use kubeci_api::{Phase, Workplan};
use kubeci_e2e::{Test, eventually};
use serde_json::{Value, json};

use crate::observations::Observations;

/// Applies a Workflow on all ConfigMaps of its namespace that carry the label `bench: <name>`.
pub async fn workflow(test: &Test, name: &str, steps: &[Value], settings: &Value) {
    let mut manifest = json!({
        "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow", "metadata": {"name": name},
        "spec": {
            "steps": steps,
            // What is measured is looked up when it has ended.
            "history": {"succeeded": 100_000},
            "triggers": [{"apiVersion": "v1", "kind": "ConfigMap", "selector": {"matchLabels": {"bench": name}},
                "onAddOrUpdate": true}],
        },
    });
    for (key, value) in settings.as_object().into_iter().flatten() {
        manifest["spec"][key] = value.clone();
    }
    test.apply(&manifest.to_string()).await;
    test.workflow_ready(name).await;
}

/// Creates a ConfigMap that fires the Workflow `workflow`.
pub async fn create(test: &Test, name: &str, workflow: &str) {
    let object =
        json!({"metadata": {"name": name, "labels": {"bench": workflow}}, "data": {"name": name}});
    let object: ConfigMap = serde_json::from_value(object).expect("a ConfigMap");
    let created = test.api().create(&PostParams::default(), &object).await;
    created.expect("a ConfigMap");
}

/// The name of the ConfigMap that fired a Workplan.
pub fn trigger_of(plan: &Workplan) -> Option<String> {
    plan.spec.trigger.as_ref().map(|it| it.name.clone())
}

/// The Workplan that a ConfigMap fired.
pub async fn plan_of(test: &Test, workflow: &str, trigger: &str) -> String {
    eventually(&format!("a Workplan of {trigger}"), async || {
        let plans = test.workplans(workflow).await;
        let mut fired = plans
            .iter()
            .filter(|it| trigger_of(it).as_deref() == Some(trigger));
        fired.next().map(ResourceExt::name_any).ok_or(plans.len())
    })
    .await
}

/// When Workplans are seen to be `completed`, by the names of the ConfigMaps that fired them.
pub async fn completions(test: &Test) -> Observations {
    Observations::of(test, |plan: &Workplan| {
        let phase = plan.status.as_ref().and_then(|it| it.phase);
        let completed = phase == Some(Phase::Completed);
        trigger_of(plan).filter(|_| completed).into_iter().collect()
    })
    .await
}

/// Removes all Workplans and pods, so that the next measurement finds the node as the one before did.
pub async fn clear(test: &Test) {
    let (delete, all) = (DeleteParams::default(), ListParams::default());
    let (plans, pods) = (test.api::<Workplan>(), test.api::<Pod>());
    let deleted = plans.delete_collection(&delete, &all).await;
    deleted.expect("deleted Workplans");
    let deleted = pods.delete_collection(&delete, &all).await;
    deleted.expect("deleted pods");
    eventually("no pods", async || match test.list::<Pod>().await.len() {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
}
