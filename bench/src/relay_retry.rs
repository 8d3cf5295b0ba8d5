//! From the end of an attempt of a step in a relay to the start of the next one, as the step runner recorded it, to the
//! millisecond.

use std::time::Duration;

use kubeci_api::Phase;
use kubeci_e2e::Test;
use serde_json::json;
use step_runner::record::EarlierAttempt;

use crate::fire::{clear, create, plan_of, workflow};
use crate::relay_handover::records;
use crate::table::row;

const NAME: &str = "retry";

pub async fn measure(test: &Test) {
    let step = |name: &str, retry: &serde_json::Value| {
        json!({"name": name, "image": "alpine", "imagePullPolicy": "IfNotPresent", "commands": ["false"],
            "allowFailure": true, "retry": retry})
    };
    let at_once = json!({"limit": RETRIES, "backoff": {"initial": "0s"}});
    let paused = json!({"limit": RETRIES, "backoff": {"initial": "1s", "factor": 1}});
    let steps = [step("at-once", &at_once), step("paused", &paused)];
    workflow(test, NAME, &steps, &json!({"execution": "Relay"})).await;
    create(test, NAME, NAME).await;
    let plan = plan_of(test, NAME, NAME).await;
    test.ends(&plan, Phase::Completed).await;
    let records = records(test, &plan).await;
    for (name, backoff) in [("at-once", 0), ("paused", 1)] {
        let attempts = records.get(name).into_iter().flat_map(|it| &it.earlier);
        let attempts: Vec<EarlierAttempt> = attempts.copied().flatten().collect();
        let backoff = Duration::from_secs(backoff);
        let what = format!("end of an attempt to the next one, beyond a pause of {backoff:?}");
        row(&what, pauses(&attempts, backoff));
    }
    test.cleaned(&plan).await;
    clear(test).await;
}

const RETRIES: u32 = 20;

fn pauses(attempts: &[EarlierAttempt], backoff: Duration) -> Vec<Duration> {
    let pause =
        |pair: &[EarlierAttempt]| Some(pair[1].started?.saturating_sub(pair[0].ended + backoff));
    attempts.windows(2).filter_map(pause).collect()
}
