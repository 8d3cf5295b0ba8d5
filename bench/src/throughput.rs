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

/// One after the other in each round, since the speed of a shared machine changes.
const ROUNDS: usize = 3;

/// The kinds of runs, with the settings of the Workflow that a ConfigMap fires, or of a Workplan created directly.
const KINDS: [(&str, Kind); 5] = [
    ("bare pods", Kind::BarePod),
    (
        "`Pods`, a ConfigMap each",
        Kind::Event(r#"{"execution": "Pods"}"#),
    ),
    (
        "`Relay`, `emptyDir`, a ConfigMap each",
        Kind::Event(r#"{"execution": "Relay", "workspace": {"emptyDir": {}}}"#),
    ),
    (
        "`Pods`, `emptyDir`, Workplans created directly",
        Kind::Workplan(r#"{"order": "Linear", "workspace": {"emptyDir": {}}}"#),
    ),
    (
        "`Relay`, `emptyDir`, Workplans created directly",
        Kind::Workplan(r#"{"order": "Relay", "workspace": {"emptyDir": {}}}"#),
    ),
];

#[derive(Clone, Copy)]
enum Kind {
    BarePod,
    Event(&'static str),
    Workplan(&'static str),
}

pub async fn measure(test: &Test) {
    let node = SimulatedNode::start(test).await;
    let place = node.placement();
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    for round in 0..ROUNDS {
        let mut times = Vec::new();
        for (index, (_, kind)) in KINDS.into_iter().enumerate() {
            let name = format!("kind-{index}-{round}");
            times.push(seconds(test, &name, kind, &place).await);
        }
        rounds.push(times);
    }
    node.stop().await;
    println!(
        "| {RUNS} runs of one step at once, on a simulated node | runs a minute | of bare pods |"
    );
    println!("|---|---|---|");
    for (index, (what, _)) in KINDS.into_iter().enumerate() {
        #[allow(clippy::cast_precision_loss)]
        let per_minute = median(rounds.iter().map(|times| RUNS as f64 / times[index] * 60.0));
        let share = median(rounds.iter().map(|times| times[0] / times[index]));
        println!("| {what} | {per_minute:.0} | {share:.2} |");
    }
}

async fn seconds(test: &Test, name: &str, kind: Kind, place: &Value) -> f64 {
    let with_place = |settings: &str| {
        let settings: Value = serde_json::from_str(settings).expect("settings");
        merged(&settings, place)
    };
    let time = match kind {
        Kind::BarePod => bare_pods(test, place).await,
        Kind::Event(settings) => by_events(test, name, &with_place(settings)).await,
        Kind::Workplan(settings) => by_hand(test, name, &with_place(settings)).await,
    };
    time.as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
async fn by_events(test: &Test, name: &str, settings: &Value) -> Duration {
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
async fn by_hand(test: &Test, name: &str, settings: &Value) -> Duration {
    let ended = Observations::of(test, |plan: &Workplan| {
        let phase = plan.status.as_ref().and_then(|it| it.phase);
        let completed = phase == Some(Phase::Completed);
        completed.then(|| plan.name_any()).into_iter().collect()
    })
    .await;
    let mut step = chain(1).steps.remove(0);
    step["dependency"] = Value::Null;
    let spec = merged(&json!({"tasks": [{"ParallelSteps": [step]}]}), settings);
    let took = timed(&ended, name, async |name| {
        let plan = json!({"apiVersion": "kube.ci/v1alpha1", "kind": "Workplan",
            "metadata": {"name": name}, "spec": spec});
        test.create(&plan.to_string()).await;
    })
    .await;
    clear(test).await;
    took
}
