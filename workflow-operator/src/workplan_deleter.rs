//! Deletes Workplans that are no longer kept: at a bounded rate, each until it is gone.

use std::{collections::VecDeque, future::pending, time::Duration};

use kube::{
    Api, Client,
    api::{DeleteParams, Preconditions, PropagationPolicy},
};
use kubeci_api::Workplan;
use kubeci_runtime::backoff;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{api_error::said, bounded_tasks::joined, metrics::Metrics};
use kubeci_triggers::Deletion;

/// How many deletions the API server is asked for at once.
const AT_ONCE: usize = 4;
/// A deletion begins no sooner than this after the one before.
const INTERVAL: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub struct Retirement {
    client: Client,
    metrics: Metrics,
    waiting: VecDeque<Deletion>,
    running: JoinSet<()>,
    not_before: Instant,
}

impl Retirement {
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            client,
            metrics,
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            not_before: Instant::now(),
        }
    }

    pub fn delete(&mut self, deletion: Deletion) {
        self.waiting.push_back(deletion);
    }

    /// Begins deletions at their time; returns after each that begins or ends.
    pub async fn next(&mut self) {
        if self.running.len() >= AT_ONCE || self.waiting.is_empty() {
            if joined(&mut self.running).await.is_none() {
                pending::<()>().await;
            }
            return;
        }
        sleep_until(self.not_before).await;
        self.not_before = Instant::now() + INTERVAL;
        if let Some(deletion) = self.waiting.pop_front() {
            let (client, metrics) = (self.client.clone(), self.metrics.clone());
            self.running.spawn(delete(client, metrics, deletion));
        }
    }
}

async fn delete(client: Client, metrics: Metrics, deletion: Deletion) {
    let Deletion {
        namespace,
        name,
        uid,
    } = deletion;
    let api: Api<Workplan> = Api::namespaced(client, &namespace);
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
        // It is gone, if perhaps another has its name.
        if matches!(&error, kube::Error::Api(status) if [404, 409].contains(&status.code)) {
            return;
        }
        failures += 1;
        tracing::warn!(
            namespace,
            workplan = name,
            "not deleted, tried again: {}",
            said(&error)
        );
        sleep(backoff(failures, LONGEST_PAUSE)).await;
    }
    metrics.deleted();
}
