//! Many objects at once: from the first write to the last Workplan.

use std::time::Instant;

use futures::StreamExt;
use kubeci_api::Workplan;
use kubeci_e2e::Test;
use serde_json::json;

use crate::fire::{create, trigger_of, workflow};
use crate::observations::Observations;
use crate::table::row;

const OBJECTS: usize = 200;
const AT_ONCE: usize = 50;

pub async fn measure(test: &Test) {
    let step = json!({"name": "never", "image": "alpine"});
    let nowhere = json!({"nodeSelector": {"kube.ci/bench": "no-such-node"}});
    workflow(test, "burst", &[step], &nowhere).await;
    let plans = Observations::of(test, |it: &Workplan| trigger_of(it).into_iter().collect()).await;
    let start = Instant::now();
    futures::stream::iter(0..OBJECTS)
        .for_each_concurrent(AT_ONCE, async |index| {
            create(test, &format!("object-{index}"), "burst").await;
        })
        .await;
    let mut last = start;
    for index in 0..OBJECTS {
        last = last.max(plans.when(&format!("object-{index}")).await);
    }
    row(
        "200 objects created at once: first write to last Workplan visible",
        vec![last - start],
    );
}
