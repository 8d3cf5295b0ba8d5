//! From a container's end to the next pod, in chains of steps that each have a pod of their own.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kubeci_api::{Phase, names};
use kubeci_e2e::Test;
use serde_json::json;

use crate::fire::{create, workflow};
use crate::observations::{Observations, ended_containers};
use crate::shapes::chain;
use crate::table::row;

const CHAINS: usize = 6;
const STEPS: usize = 18;

pub async fn measure(test: &Test) {
    let mut steps = chain(STEPS).steps;
    for step in &mut steps {
        step["isolate"] = json!(true);
    }
    workflow(test, "handover", &steps, &json!({"execution": "Pods"})).await;
    let pods = Observations::of(test, |it: &Pod| {
        let labels = it.labels();
        let plan = labels
            .get(names::WORKPLAN_LABEL)
            .cloned()
            .unwrap_or_default();
        let task = labels.get(names::TASK_LABEL).cloned().unwrap_or_default();
        let ended = ended_containers(it)
            .into_iter()
            .map(|_| format!("{plan} ended {task}"));
        ended.chain([format!("{plan} made {task}")]).collect()
    })
    .await;
    for index in 0..CHAINS {
        create(test, &format!("chain-{index}"), "handover").await;
    }
    let mut gaps = Vec::new();
    for plan in test.workplans_reach("handover", CHAINS).await {
        let plan = plan.name_any();
        for task in 1..STEPS {
            let made = pods.when(&format!("{plan} made {task}")).await;
            let ended = pods.when(&format!("{plan} ended {}", task - 1)).await;
            gaps.push(made.saturating_duration_since(ended));
        }
        test.ends(&plan, Phase::Completed).await;
    }
    row("container end visible to next pod visible", gaps);
}
