//! The document's example from the write of the ConfigMap, beside the same two pods made by hand, the second as
//! soon as the first one's containers have ended.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::PostParams;
use kubeci_api::{Phase, Workflow, Workplan};
use kubeci_e2e::{Test, example, manifests};
use serde_json::{Value, json};

use crate::reaction::create;
use crate::sightings::{Sightings, ended_containers, workflow};
use crate::table::row;

const ROUNDS: usize = 10;

pub async fn measure(test: &Test) {
    let document: Workflow =
        serde_json::from_value(manifests(&example("document/workflow.yaml")).remove(0))
            .expect("the document's Workflow");
    let steps = serde_json::to_value(&document.spec.steps).expect("steps");
    test.apply(&workflow("document", &steps, &json!({}))).await;
    test.workflow_ready("document").await;
    let ends = Sightings::of(test, |pod: &Pod| {
        let pod_name = pod.name_any();
        ended_containers(pod)
            .into_iter()
            .map(|it| format!("{pod_name} {it}"))
            .collect()
    })
    .await;
    let completed = Sightings::of(test, |plan: &Workplan| {
        let phase = plan.status.as_ref().and_then(|it| it.phase);
        if phase == Some(Phase::Completed) {
            vec![plan.name_any()]
        } else {
            vec![]
        }
    })
    .await;

    let (mut ours, mut ours_completed, mut by_hand) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (last_step, all) = through_kubeci(test, &ends, &completed, round).await;
        ours.push(last_step);
        ours_completed.push(all);
        by_hand.push(through_own_pods(test, &ends, &steps, round).await);
    }
    row(
        "the example: write of the ConfigMap to step-5 terminated",
        ours,
    );
    row(
        "the example: write of the ConfigMap to `completed` visible",
        ours_completed,
    );
    row(
        "the same two pods made by hand: first write to step-5 terminated",
        by_hand,
    );
}

async fn through_kubeci(
    test: &Test,
    ends: &Sightings,
    completed: &Sightings,
    round: usize,
) -> (Duration, Duration) {
    let start = Instant::now();
    create(test, &format!("document-{round}"), "document").await;
    let plans = test.workplans_reach("document", round + 1).await;
    let fired_by = |plan: &&Workplan| {
        plan.spec
            .trigger
            .as_ref()
            .is_some_and(|it| it.name == format!("document-{round}"))
    };
    let plan = plans
        .iter()
        .find(fired_by)
        .expect("the round's Workplan")
        .name_any();
    let all = completed.when(&plan).await - start;
    let last_step = ends.when(&format!("{plan}-1 step-5")).await - start;
    test.cleaned(&plan).await;
    (last_step, all)
}

async fn through_own_pods(test: &Test, ends: &Sightings, steps: &Value, round: usize) -> Duration {
    let container = |index: usize| {
        let step = &steps[index];
        json!({"name": step["name"], "image": step["image"], "command": step["commands"], "args": step["args"],
            "volumeMounts": [{"name": "workspace", "mountPath": "/kubeci"}]})
    };
    let path = format!("/kubeci/{}/by-hand/{round}", test.namespace);
    let pod = |index: usize, init: Vec<Value>, containers: Vec<Value>| -> Pod {
        let pod = json!({
            "metadata": {"name": format!("by-hand-{round}-{index}")},
            "spec": {"restartPolicy": "Never", "initContainers": init, "containers": containers,
                "volumes": [{"name": "workspace", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}]},
        });
        serde_json::from_value(pod).expect("a pod")
    };
    let start = Instant::now();
    let first = pod(0, vec![container(0)], vec![container(1), container(2)]);
    test.api()
        .create(&PostParams::default(), &first)
        .await
        .expect("a pod");
    for step in ["step-2", "step-3"] {
        ends.when(&format!("by-hand-{round}-0 {step}")).await;
    }
    let second = pod(1, vec![container(3)], vec![container(4)]);
    test.api()
        .create(&PostParams::default(), &second)
        .await
        .expect("a pod");
    ends.when(&format!("by-hand-{round}-1 step-5")).await - start
}
