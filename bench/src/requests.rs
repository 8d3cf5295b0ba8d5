//! How many API requests both operators send for a Workplan of one pod.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use kubeci_api::Phase;
use kubeci_e2e::{Operator, Test};
use serde_json::json;

use crate::reaction::create;
use crate::sightings::workflow;

const PLANS: usize = 10;

pub async fn measure(test: &Test) {
    let step = json!([{"name": "only", "image": "alpine", "commands": ["true"]}]);
    test.apply(&workflow("requests", &step, &json!({}))).await;
    test.workflow_ready("requests").await;
    let before = total(test).await;
    for index in 0..PLANS {
        create(test, &format!("plan-{index}"), "requests").await;
        // One after the other, so that none shares its sweep.
        let plans = test.workplans_reach("requests", index + 1).await;
        let running = plans.iter().find(|it| !it.finalizers().is_empty());
        if let Some(plan) = running {
            test.ends(&plan.name_any(), Phase::Completed).await;
            test.cleaned(&plan.name_any()).await;
        }
    }
    let requests = total(test).await - before;
    #[allow(clippy::cast_precision_loss)]
    let per_plan = requests as f64 / PLANS as f64;
    println!(
        "| API requests for a Workplan of one pod, its sweep included | {per_plan:.1} | | | {PLANS} |"
    );
}

/// What the operators have sent so far, without their leases and watches.
async fn total(test: &Test) -> u64 {
    let mut sum = 0;
    for operator in [Operator::Workflow, Operator::Workplan] {
        for pod in operator.pods(&test.client).await {
            let pods =
                Api::<Pod>::namespaced(test.client.clone(), &pod.namespace().unwrap_or_default());
            let path = format!(
                "{}/{}:8080/proxy/metrics",
                pods.resource_url(),
                pod.name_any()
            );
            let request = http_get(&path);
            let metrics = test
                .client
                .request_text(request)
                .await
                .expect("the operator's metrics");
            sum += metrics
                .lines()
                .filter(|line| counts(line))
                .filter_map(value)
                .sum::<u64>();
        }
    }
    sum
}

fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path)
        .body(Vec::new())
        .expect("a request")
}

fn counts(line: &str) -> bool {
    line.starts_with("kubeci_api_requests_total")
        && !line.contains("leases")
        && !line.contains("watch")
}

fn value(line: &str) -> Option<u64> {
    line.rsplit(' ').next()?.parse().ok()
}
