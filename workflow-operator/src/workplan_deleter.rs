//! Deletes Workplans that are beyond their Workflow's history, at a bounded rate.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{DeleteParams, Preconditions, PropagationPolicy},
};
use kubeci_api::Workplan;
use kubeci_controller::{
    Backoff,
    api_error::{is_gone, message},
};
use kubeci_triggers::Deletion;
use tokio::time::sleep;

use crate::{
    bounded_tasks::{BoundedTasks, Limits, Task},
    metrics::Metrics,
};

const LIMITS: Limits = Limits {
    tasks: 4,
    bytes: usize::MAX,
    interval: Duration::from_millis(20),
};
const BACKOFF: Backoff = Backoff::up_to(Duration::from_secs(30));

/// The deletions that wait or run.
pub struct WorkplanDeleter {
    client: Client,
    metrics: Metrics,
    deletions: BoundedTasks<DeleteTask>,
}

struct DeleteTask {
    client: Client,
    metrics: Metrics,
    deletion: Deletion,
}

impl WorkplanDeleter {
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            client,
            metrics,
            deletions: BoundedTasks::new(LIMITS),
        }
    }

    pub fn delete(&mut self, deletion: Deletion) {
        self.deletions.push(DeleteTask {
            client: self.client.clone(),
            metrics: self.metrics.clone(),
            deletion,
        });
    }

    /// Waits for the next deletion that ends. Must be polled, since it also starts deletions. Cancel safe.
    pub async fn next(&mut self) {
        self.deletions.next().await;
    }
}

impl Task for DeleteTask {
    type Output = ();

    /// Deletes the Workplan. Retries until it is gone.
    async fn run(self) {
        let Deletion {
            namespace,
            name,
            uid,
        } = self.deletion;
        let api: Api<Workplan> = Api::namespaced(self.client, &namespace);
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_string()),
                ..Preconditions::default()
            }),
            ..DeleteParams::default()
        };
        let mut failures = 0;
        while let Err(error) = api.delete(&name, &params).await {
            // 404: it is gone. 409: another Workplan has its name.
            if is_gone(&error) {
                return;
            }
            failures += 1;
            tracing::warn!(
                namespace,
                workplan = name,
                "the Workplan is not deleted; the deletion is retried: {}",
                message(&error)
            );
            sleep(BACKOFF.delay(failures)).await;
        }
        self.metrics.workplan_deleted();
    }
}
