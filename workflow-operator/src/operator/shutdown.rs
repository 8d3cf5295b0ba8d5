use std::time::Duration;

use tokio::time::timeout;

use super::Operator;

/// The time for creations, and again for status writes, when the process stops.
const GRACE_PERIOD: Duration = Duration::from_secs(4);

impl Operator {
    /// Stops the watches, completes the creations, and writes the dirty statuses.
    pub(super) async fn shut_down(mut self) {
        self.watches.stop();
        for watch in self.own_watches.drain(..) {
            watch.abort();
        }
        if timeout(GRACE_PERIOD, self.complete_creations())
            .await
            .is_err()
        {
            tracing::warn!(
                "the operator stops before all Workplans are created; the next leader creates them"
            );
        }
        if timeout(GRACE_PERIOD, self.flush_statuses()).await.is_err() {
            tracing::warn!(
                "the operator stops before all statuses are written; the next leader writes them"
            );
        }
    }

    async fn complete_creations(&mut self) {
        while !self.creator.is_idle() {
            let result = self.creator.next().await;
            self.on_created(result);
            self.carry_out();
        }
    }

    async fn flush_statuses(&mut self) {
        loop {
            while let Some(workflow) = self.statuses.take_dirty() {
                self.write_status(&workflow);
            }
            if self.statuses.is_idle() {
                return;
            }
            let (workflow, result) = self.statuses.next().await;
            self.on_written(workflow, result);
        }
    }
}
