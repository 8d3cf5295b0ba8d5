//! What the operators' processes have taken: memory and restarts.

use k8s_openapi::api::core::v1::Pod;
use kubeci_e2e::{Operator, Test, eventually};

/// Both operators' processes since they were last started anew.
pub struct Operators;

impl Operators {
    /// Starts all replicas anew, so that what is measured begins with nothing.
    pub async fn anew(test: &Test) -> Self {
        for operator in [Operator::Workflow, Operator::Workplan] {
            operator.go_away(&test.client).await;
            operator.come_back(&test.client).await;
            operator.works(&test.client).await;
        }
        Self
    }

    /// Prints a row for each operator: the most memory that its leader ever held, and how often any replica
    /// was restarted.
    pub async fn rows(&self, test: &Test, what: &str) {
        for operator in [Operator::Workflow, Operator::Workplan] {
            let peak = eventually("the leader's memory", async || {
                let memory = operator.peak_memory(&test.client).await;
                memory.ok_or("no process of the leader")
            })
            .await;
            let restarts = restarts(test, operator).await;
            let (name, mebibytes) = (operator.name(), peak / 1024 / 1024);
            println!("| {what}: {name}, peak memory | {mebibytes} MiB, {restarts} restarts |");
        }
    }
}

async fn restarts(test: &Test, operator: Operator) -> i32 {
    let pods = operator.pods(&test.client).await;
    let of_pod = |pod: &Pod| {
        let status = pod.status.iter();
        let containers = status.flat_map(|it| it.container_statuses.iter().flatten());
        containers.map(|it| it.restart_count).sum::<i32>()
    };
    pods.iter().map(of_pod).sum()
}
