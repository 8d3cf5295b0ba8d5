//! From the later of a step's last dependency's end and its own container being up, to its start, as the
//! step runners recorded it: inside one pod, nothing of which anybody outside takes part in.

use std::collections::HashMap;
use std::time::Duration;

use kubeci_api::Phase;
use kubeci_e2e::Test;
use serde_json::{Value, json};
use step_runner::record::Record;

use crate::fire::{clear, create, plan_of, workflow};
use crate::shapes::{Shape, chain, diamond};
use crate::table::row;

pub async fn measure(test: &Test) {
    of_shapes(test, [chain(100), diamond(20, 5)].map(Shape::slowly)).await;
}

/// The same where a step runs if an expression over the outputs of another one is true.
pub async fn with_expressions(test: &Test) {
    of_shapes(test, [chain(100).with_expressions()]).await;
}

async fn of_shapes(test: &Test, shapes: impl IntoIterator<Item = Shape>) {
    for shape in shapes {
        let relay = json!({"execution": "Relay"});
        workflow(test, &shape.name, &shape.steps, &relay).await;
        create(test, &shape.name, &shape.name).await;
        let plan = plan_of(test, &shape.name, &shape.name).await;
        test.ends(&plan, Phase::Completed).await;
        let records = records(test, &plan).await;
        let steps = shape.steps.iter();
        row(
            &format!("hand-over inside a pod, {}, of 0.4 s each", shape.what),
            steps.filter_map(|it| hand_over(it, &records)).collect(),
        );
        test.cleaned(&plan).await;
        clear(test).await;
    }
}

pub async fn records(test: &Test, plan: &str) -> HashMap<String, Record> {
    let pods = test.pods_of(plan).await;
    let status = pods.into_iter().filter_map(|it| it.status);
    let containers = status.flat_map(|it| it.container_statuses.unwrap_or_default());
    let records = containers.filter_map(|container| {
        let message = container.state?.terminated?.message?;
        Some((container.name, message.parse().ok()?))
    });
    records.collect()
}

/// Of a step that depends on others.
fn hand_over(step: &Value, records: &HashMap<String, Record>) -> Option<Duration> {
    let of = |name: &Value| records.get(name.as_str()?);
    let edges = ["dependency", "after"].map(|field| step[field].as_array());
    let edges = edges.into_iter().flatten().flatten();
    let last = edges.filter_map(|it| of(it)?.ended_at()).max()?;
    let own = of(&step["name"])?;
    let from = last.max(own.up);
    Some(own.started_at()?.duration_since(from).unwrap_or_default())
}
