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
                "cannot delete the Workplan; retrying: {}",
                message(&error)
            );
            sleep(BACKOFF.delay(failures)).await;
        }
        self.metrics.workplan_deleted();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kubeci_controller::testing::{NO_ANSWER, client};
    use rstest::rstest;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;

    /// Deletes a Workplan with these answers, then successfully; returns the bodies of the requests.
    async fn delete(codes: Vec<u16>) -> Vec<Value> {
        let log: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (received, mut codes) = (Arc::clone(&log), codes.into_iter());
        let client = client(move |request| {
            received.lock().unwrap().push(request.body.clone());
            match codes.next() {
                Some(code) => (code, Value::Null),
                None => (200, json!({"kind": "Status", "status": "Success"})),
            }
        });
        let metrics = Metrics::new(kubeci_controller::Metrics::default());
        let mut deleter = WorkplanDeleter::new(client, metrics);
        deleter.delete(Deletion {
            namespace: "ns".into(),
            name: "plan".into(),
            uid: "uid".into(),
        });
        deleter.next().await;
        log.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn deletion_is_retried_with_backoff() {
        let begun = Instant::now();
        let requests = delete(vec![500, NO_ANSWER, 429]).await;
        assert_eq!(requests.len(), 4);
        assert_eq!(requests[0]["preconditions"]["uid"], "uid");
        assert!(
            begun.elapsed() > Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
    }

    #[rstest]
    #[case::deleted_by_another(404)]
    #[case::replaced(409)]
    #[tokio::test(start_paused = true)]
    async fn missing_workplan_is_not_deleted_again(#[case] code: u16) {
        assert_eq!(delete(vec![code]).await.len(), 1);
    }
}
