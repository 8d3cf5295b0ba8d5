//! From an event to its Workplan, and from the Workplan to its first pod. The pods find no node, so that
//! nothing else uses the machine.

use std::time::Instant;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kubeci_api::{Workplan, names};
use kubeci_e2e::Test;
use serde_json::json;

use crate::fire::{create, trigger_of, workflow};
use crate::observations::Observations;
use crate::table::row;

const EVENTS: usize = 200;

pub async fn measure(test: &Test) {
    let step = json!({"name": "never", "image": "alpine"});
    let nowhere = json!({"nodeSelector": {"kube.ci/bench": "no-such-node"}});
    workflow(test, "reaction", &[step], &nowhere).await;
    let events = Observations::of(test, |it: &ConfigMap| vec![it.name_any()]).await;
    let plans = Observations::of(test, |it: &Workplan| trigger_of(it).into_iter().collect()).await;
    let pods = Observations::of(test, |it: &Pod| {
        it.labels()
            .get(names::WORKPLAN_LABEL)
            .cloned()
            .into_iter()
            .collect()
    })
    .await;

    let mut written = Vec::new();
    for index in 0..EVENTS {
        let name = format!("event-{index}");
        let at = Instant::now();
        create(test, &name, "reaction").await;
        plans.when(&name).await;
        written.push((name, at));
        // One at a time: the next event comes when this one's pod is there.
        while pods.count() < written.len() {
            tokio::task::yield_now().await;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    let (mut from_write, mut from_event, mut to_pod) = (Vec::new(), Vec::new(), Vec::new());
    let listed = test.workplans("reaction").await;
    for (name, at) in &written {
        let plan_seen = plans.when(name).await;
        from_write.push(plan_seen - *at);
        from_event.push(plan_seen.saturating_duration_since(events.when(name).await));
        let plan = listed
            .iter()
            .find(|it| trigger_of(it).as_deref() == Some(name));
        let plan = plan.map(ResourceExt::name_any).unwrap_or_default();
        to_pod.push(pods.when(&plan).await.saturating_duration_since(plan_seen));
    }
    row("event visible to Workplan visible", from_event);
    row("write of the object sent to Workplan visible", from_write);
    row("Workplan visible to first pod visible", to_pod);
}
