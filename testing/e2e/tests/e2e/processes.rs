//! The operators as processes: what an administrator asks of them.

use kube::core::Request;
use kube::{Client, ResourceExt};
use kubeci_e2e::{DISRUPTIVE, Operator, eventually};

/// What every replica counts, and what only the one that leads does.
const METRICS: [&str; 4] = [
    "kubeci_api_requests_total",
    "kubeci_leader",
    "kubeci_queue_depth",
    "kubeci_reconcile_duration_seconds",
];
const WORKFLOW_METRICS: [&str; 4] = [
    "kubeci_events_observed",
    "kubeci_events_matched",
    "kubeci_events_fired",
    "kubeci_workplans_created",
];
const WORKPLAN_METRICS: [&str; 2] = ["kubeci_workplans", "kubeci_pods_created"];

async fn ask(client: &Client, pod: &str, path: &str) -> Result<String, kube::Error> {
    let url = format!("/api/v1/namespaces/kubeci-system/pods/{pod}:8080/proxy/{path}?");
    let request = Request::new(url).list(&kube::api::ListParams::default());
    client.request_text(request.expect("a request")).await
}

#[tokio::test]
async fn every_replica_is_ready_and_has_metrics() {
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    kubeci_e2e::run("processes", async |test| {
        for operator in [Operator::Workflow, Operator::Workplan] {
            let pods = operator.pods(&test.client).await;
            assert!(pods.len() > 1, "{} has replicas", operator.name());
            for pod in pods {
                let metrics = all_is_well(&test.client, &pod.name_any()).await;
                tells(&metrics, &METRICS);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn leaders_count_their_work() {
    let _undisturbed = DISRUPTIVE.undisturbed().await;
    kubeci_e2e::run("leaders", async |test| {
        let cases: [(Operator, &[&str]); 2] = [
            (Operator::Workflow, &WORKFLOW_METRICS),
            (Operator::Workplan, &WORKPLAN_METRICS),
        ];
        for (operator, names) in cases {
            let leader = operator.leader(&test.client).await;
            let metrics = all_is_well(&test.client, &leader).await;
            tells(&metrics, names);
            tells(&metrics, &["kubeci_leader 1"]);
        }
    })
    .await;
}

/// What a replica's `/metrics` says, once it is healthy and ready.
async fn all_is_well(client: &Client, pod: &str) -> String {
    eventually(&format!("{pod} is healthy and ready"), async || {
        for path in ["healthz", "readyz"] {
            ask(client, pod, path).await?;
        }
        ask(client, pod, "metrics").await
    })
    .await
}

fn tells(metrics: &str, names: &[&str]) {
    for name in names {
        assert!(metrics.contains(name), "no {name} in\n{metrics}");
    }
}
