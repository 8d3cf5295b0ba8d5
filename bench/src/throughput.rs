//! Many short runs at once, on a simulated node: how many of them end in a minute.

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::PostParams;
use kubeci_api::{Phase, Workplan};
use kubeci_e2e::Test;
use serde_json::{Value, json};

use crate::fire::{clear, create, workflow};
use crate::observations::Observations;
use crate::shapes::chain;
use crate::simulated_node::SimulatedNode;

const RUNS: usize = 500;
const AT_ONCE: usize = 50;

pub async fn measure(test: &Test) {
    let node = SimulatedNode::start(test).await;
    let place = node.placement();
    println!(
        "| {RUNS} runs of one step at once, on a simulated node | runs a minute | of bare pods |"
    );
    println!("|---|---|---|");
    let bare = bare_pods(test, &place).await;
    row("bare pods", bare, bare);
    let own = json!({"workspace": "emptyDir"});
    for (what, settings) in [
        ("`Pods`, a ConfigMap each", json!({"execution": "Pods"})),
        ("`Relay`, `emptyDir`, a ConfigMap each", {
            merged(&json!({"execution": "Relay"}), &own)
        }),
    ] {
        let took = by_events(test, what, &merged(&settings, &place)).await;
        row(what, took, bare);
    }
    for (what, order) in [
        ("`Pods`, `emptyDir`, Workplans created directly", "Linear"),
        ("`Relay`, `emptyDir`, Workplans created directly", "Relay"),
    ] {
        let spec = merged(&merged(&json!({"order": order}), &own), &place);
        row(what, by_hand(test, order, &spec).await, bare);
    }
    node.stop().await;
}

fn row(what: &str, took: Duration, bare: Duration) {
    #[allow(clippy::cast_precision_loss)]
    let per_minute = RUNS as f64 / took.as_secs_f64() * 60.0;
    let share = bare.as_secs_f64() / took.as_secs_f64();
    println!("| {what} | {per_minute:.0} | {share:.2} |");
}

fn merged(one: &Value, other: &Value) -> Value {
    let mut merged = one.clone();
    for (key, value) in other.as_object().into_iter().flatten() {
        merged[key] = value.clone();
    }
    merged
}

/// From the first of `RUNS` creations until the last is seen to have ended.
async fn timed(ended: &Observations, prefix: &str, start_one: impl AsyncFn(String)) -> Duration {
    let start = Instant::now();
    let name = |index: usize| format!("{prefix}-{index}");
    futures::stream::iter(0..RUNS)
        .for_each_concurrent(AT_ONCE, async |index| start_one(name(index)).await)
        .await;
    let mut last = start;
    for index in 0..RUNS {
        last = last.max(ended.when(&name(index)).await);
    }
    last - start
}

async fn bare_pods(test: &Test, place: &Value) -> Duration {
    let ended = Observations::of(test, |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
        let ended = phase == Some("Succeeded");
        ended.then(|| pod.name_any()).into_iter().collect()
    })
    .await;
    let took = timed(&ended, "bare", async |name| {
        let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "alpine",
            "imagePullPolicy": "IfNotPresent", "command": ["true"]}]});
        let pod = json!({"metadata": {"name": name}, "spec": merged(&spec, place)});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let created = test.api().create(&PostParams::default(), &pod).await;
        created.expect("a pod");
    })
    .await;
    clear(test).await;
    took
}

/// A Workflow, fired by a ConfigMap for each run.
async fn by_events(test: &Test, what: &str, settings: &Value) -> Duration {
    let name = if what.contains("Relay") {
        "relay"
    } else {
        "pods"
    };
    workflow(test, name, &chain(1).steps, settings).await;
    let ended = crate::fire::completions(test).await;
    let took = timed(&ended, name, async |object| {
        create(test, &object, name).await;
    })
    .await;
    test.delete_one::<kubeci_api::Workflow>(name).await;
    test.gone::<kubeci_api::Workflow>(name).await;
    clear(test).await;
    let all = kube::api::ListParams::default().labels(&format!("bench={name}"));
    let objects = test.api::<ConfigMap>();
    let deleted = objects
        .delete_collection(&kube::api::DeleteParams::default(), &all)
        .await;
    deleted.expect("deleted ConfigMaps");
    took
}

/// Workplans without a Workflow.
async fn by_hand(test: &Test, order: &str, settings: &Value) -> Duration {
    let ended = Observations::of(test, |plan: &Workplan| {
        let phase = plan.status.as_ref().and_then(|it| it.phase);
        let completed = phase == Some(Phase::Completed);
        completed.then(|| plan.name_any()).into_iter().collect()
    })
    .await;
    let mut step = chain(1).steps.remove(0);
    step["dependency"] = Value::Null;
    let spec = merged(&json!({"tasks": [{"ParallelSteps": [step]}]}), settings);
    let took = timed(&ended, &order.to_lowercase(), async |name| {
        let plan = json!({"apiVersion": "kube.ci/v1alpha1", "kind": "Workplan",
            "metadata": {"name": name}, "spec": spec});
        test.create(&plan.to_string()).await;
    })
    .await;
    clear(test).await;
    took
}
