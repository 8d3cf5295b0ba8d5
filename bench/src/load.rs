//! Large plans, many at once: how long until all are fired, how much the operators hold, and how long until
//! their namespace is gone. No pod finds a node, so that only the control plane and the operators work.

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PartialObjectMeta};
use kubeci_api::Workplan;
use kubeci_e2e::{Test, eventually_within};
use serde_json::{Value, json};

use crate::fire::{create, workflow};
use crate::operators::Operators;

const STEPS: usize = 500;
/// The bytes of each step's script: a Workplan has some 390 KB, or 110 KB.
const LONG: usize = 620;
const SHORT: usize = 60;
const AT_ONCE: usize = 50;
const PATIENCE: Duration = Duration::from_mins(20);

/// 300 plans of 500 steps.
pub async fn large_plans(test: &Test) {
    flood(test, 300, 1, LONG).await;
}

/// 3,000 events that wait for their plans of 500 steps. The scripts are short, since etcd has room for 2 GB by
/// default. A Workflow of so many steps keeps track of fewer objects, so there are three.
pub async fn waiting(test: &Test) {
    flood(test, 3000, 3, SHORT).await;
}

async fn flood(test: &Test, objects: usize, workflows: usize, script: usize) {
    let other = test.another_namespace("flood").await;
    let operators = Operators::anew(test).await;
    let what = format!("{STEPS} steps x {objects} ConfigMaps");
    println!("| {what} | |");
    println!("|---|---|");
    let name = |index: usize| format!("large-{}", index % workflows);
    for index in 0..workflows {
        workflow(&other, &name(index), &steps(script), &nowhere()).await;
    }
    let start = Instant::now();
    futures::stream::iter(0..objects)
        .for_each_concurrent(AT_ONCE, async |index| {
            create(&other, &format!("object-{index}"), &name(index)).await;
        })
        .await;
    let written = start.elapsed();
    fired(&other, objects).await;
    println!(
        "| {what}: all ConfigMaps written, all Workplans there | {:.1} s, {:.1} s |",
        written.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    println!(
        "| {what}: the namespace gone after its deletion | {:.1} s |",
        removed(&other).await.as_secs_f64()
    );
    operators.rows(test, &what).await;
}

fn steps(script: usize) -> Vec<Value> {
    let steps = (0..STEPS).map(|index| {
        json!({"name": format!("step-{index}"), "image": "alpine", "commands": ["sh"],
            "args": ["-c", format!("true {}", "x".repeat(script))]})
    });
    steps.collect()
}

fn nowhere() -> Value {
    json!({"nodeSelector": {"kube.ci/bench": "no-such-node"}})
}

async fn fired(test: &Test, count: usize) {
    let plans = test.api::<Workplan>();
    eventually_within(PATIENCE, "all Workplans", async || {
        let some = ListParams::default().limit(1);
        let list = plans.list_metadata(&some).await;
        let list: kube::core::ObjectList<PartialObjectMeta<Workplan>> =
            list.map_err(|error| error.to_string())?;
        let more = list.metadata.remaining_item_count.unwrap_or_default();
        let seen = list.items.len() + usize::try_from(more).unwrap_or_default();
        if seen >= count {
            Ok(())
        } else {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Err(seen.to_string())
        }
    })
    .await;
}

async fn removed(test: &Test) -> Duration {
    let namespaces = Api::<Namespace>::all(test.client.clone());
    let start = Instant::now();
    let deleted = namespaces
        .delete(&test.namespace, &DeleteParams::default())
        .await;
    deleted.expect("a deleted namespace");
    eventually_within(PATIENCE, "the namespace is gone", async || match namespaces
        .get_opt(&test.namespace)
        .await
    {
        Ok(None) => Ok(()),
        Ok(Some(it)) => Err(format!("{:?}", it.status)),
        Err(error) => Err(error.to_string()),
    })
    .await;
    start.elapsed()
}
