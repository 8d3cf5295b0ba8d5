//! The operators as processes: what an administrator asks of them.

use kube::core::Request;
use kube::{Client, ResourceExt};
use kubeci_e2e::{Operator, eventually};

/// What every operator counts.
const METRICS: [&str; 6] = [
    "kubeci_api_requests_total",
    "kubeci_leader",
    "kubeci_queue_depth",
    "# TYPE kubeci_reconcile ",
    "kubeci_reconcile_duration_seconds",
    "# TYPE kubeci_watch_restarts",
];

const WORKFLOW_METRICS: [&str; 4] = [
    "kubeci_events_seen",
    "kubeci_events_matched",
    "kubeci_events_fired",
    "kubeci_workplans_created",
];

async fn ask(client: &Client, pod: &str, path: &str) -> Result<String, kube::Error> {
    let url = format!("/api/v1/namespaces/kubeci-system/pods/{pod}:8080/proxy/{path}?");
    let request = Request::new(url).list(&kube::api::ListParams::default());
    client.request_text(request.expect("a request")).await
}

#[tokio::test]
async fn every_replica_is_healthy_and_ready_and_tells_its_metrics() {
    kubeci_e2e::run("processes", async |test| {
        for operator in [Operator::Workflow, Operator::Workplan] {
            let metrics = eventually(&format!("{} answers", operator.name()), async || {
                let mut metrics = Vec::new();
                for pod in operator.pods(&test.client).await {
                    for path in ["healthz", "readyz"] {
                        ask(&test.client, &pod.name_any(), path).await?;
                    }
                    metrics.push(ask(&test.client, &pod.name_any(), "metrics").await?);
                }
                Ok::<_, kube::Error>(metrics)
            })
            .await;
            assert!(!metrics.is_empty());
            let own: &[&str] = match operator {
                Operator::Workflow => &WORKFLOW_METRICS,
                Operator::Workplan => &[],
            };
            for text in metrics {
                for name in METRICS.iter().chain(own) {
                    assert!(
                        text.contains(name),
                        "{} has no {name}:\n{text}",
                        operator.name()
                    );
                }
            }
        }
    })
    .await;
}
