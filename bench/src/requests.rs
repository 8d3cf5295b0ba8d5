//! How many API requests both operators send for a Workplan, its sweep's included.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use kubeci_api::Phase;
use kubeci_e2e::{Operator, Test};
use serde_json::{Value, json};

use crate::fire::{clear, create, plan_of, workflow};
use crate::shapes::{chain, document};

const PLANS: usize = 10;

pub async fn measure(test: &Test) {
    let (one, five) = (chain(1).steps, document().steps);
    let relay = json!({"execution": "Relay"});
    let own = json!({"execution": "Relay", "workspace": {"emptyDir": {}}});
    for (name, what, steps, settings) in [
        ("pods", "a Workplan of one pod", &one, &json!({})),
        ("relay", "the example in `Relay`", &five, &relay),
        ("relay-own", "the same, `workspace: emptyDir`", &five, &own),
    ] {
        let requests = one_after_the_other(test, name, steps, settings).await;
        row(what, requests);
    }
    let requests = at_once(test, "relay-at-once", &five, &relay).await;
    row(
        "each of 10 of the example in `Relay`, fired at once",
        requests,
    );
}

fn row(what: &str, requests: u64) {
    #[allow(clippy::cast_precision_loss)]
    let per_plan = requests as f64 / PLANS as f64;
    println!("| API requests for {what} | {per_plan:.1} | | | {PLANS} |");
}

/// None shares its sweep.
async fn one_after_the_other(test: &Test, name: &str, steps: &[Value], settings: &Value) -> u64 {
    workflow(test, name, steps, settings).await;
    let before = total(test).await;
    for index in 0..PLANS {
        run(test, name, index).await;
    }
    let requests = since(test, before).await;
    clear(test).await;
    requests
}

async fn at_once(test: &Test, name: &str, steps: &[Value], settings: &Value) -> u64 {
    workflow(test, name, steps, settings).await;
    let before = total(test).await;
    join_all((0..PLANS).map(|index| run(test, name, index))).await;
    let requests = since(test, before).await;
    clear(test).await;
    requests
}

/// From the event until nothing of the Workplan is left to do.
async fn run(test: &Test, workflow: &str, index: usize) {
    let trigger = format!("{workflow}-{index}");
    create(test, &trigger, workflow).await;
    let plan = plan_of(test, workflow, &trigger).await;
    test.ends(&plan, Phase::Completed).await;
    test.cleaned(&plan).await;
}

async fn since(test: &Test, before: u64) -> u64 {
    let requests = total(test).await.checked_sub(before);
    requests.expect("operators that were not restarted meanwhile, which lose count")
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
