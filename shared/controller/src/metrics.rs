use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use tokio::time::Instant;

/// The metric families of all operators, and those that each operator registers. Every name has the prefix `kubeci_`.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_duration: Histogram,
    queue_depth: Gauge,
    queue_wait: Histogram,
    watch_restarts: Family<WatchLabels, Counter>,
    leader: Gauge,
    api_requests: Family<ApiRequest, Counter>,
    api_slots: Gauge,
    api_slots_used: Gauge,
    api_requests_waiting: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The result of a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The object is reconciled.
    Success,
    /// The reconciliation failed and is retried.
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    resource: String,
}

/// An object that is due and waits to be reconciled. It is counted as waiting until it is dropped.
#[derive(Debug)]
#[must_use = "a dropped object is not counted as waiting"]
pub struct Due {
    metrics: Metrics,
    since: Instant,
}

impl Due {
    /// Begins its reconciliation.
    pub fn begin(self) -> Reconciling {
        let waited = self.since.elapsed().as_secs_f64();
        self.metrics.queue_wait.observe(waited);
        Reconciling {
            metrics: self.metrics.clone(),
            begun: Instant::now(),
        }
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        self.metrics.queue_depth.dec();
    }
}

/// A reconciliation that runs. It is counted when it ends, and not when it is dropped.
#[derive(Debug)]
#[must_use = "a reconciliation is counted when it ends"]
pub struct Reconciling {
    metrics: Metrics,
    begun: Instant,
}

impl Reconciling {
    /// Ends it with this result.
    pub fn end(self, outcome: Outcome) {
        let result = match outcome {
            Outcome::Success => "success",
            Outcome::Error => "error",
        };
        let reconciles = &self.metrics.reconciles;
        reconciles.get_or_create(&ReconcileLabels { result }).inc();
        let took = self.begun.elapsed().as_secs_f64();
        self.metrics.reconcile_duration.observe(took);
    }
}

/// One attempt at a request to the API server, with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ApiRequest {
    pub verb: &'static str,
    pub resource: String,
    /// The HTTP status; `timeout`; `error` if there was no answer.
    pub code: Cow<'static, str>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("kubeci"))),
            reconciles: Family::default(),
            // From 0.5 ms to 4 s.
            reconcile_duration: Histogram::new(exponential_buckets(0.0005, 2.0, 14)),
            queue_depth: Gauge::default(),
            // From 0.1 ms to 26 s.
            queue_wait: Histogram::new(exponential_buckets(0.0001, 2.0, 19)),
            watch_restarts: Family::default(),
            leader: Gauge::default(),
            api_requests: Family::default(),
            api_slots: Gauge::default(),
            api_slots_used: Gauge::default(),
            api_requests_waiting: Gauge::default(),
        };
        metrics.register(|registry| metrics.register_shared(registry));
        metrics
    }

    /// Registers families of an operator, once, at its start.
    ///
    /// ```no_run
    /// # use prometheus_client::metrics::counter::Counter;
    /// # fn example(metrics: &kubeci_controller::Metrics) {
    /// let fired = Counter::<u64>::default();
    /// metrics.register(|registry| {
    ///     registry.register("events_fired", "Events that created a Workplan", fired.clone());
    /// });
    /// # }
    /// ```
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts an object that is due as waiting until its reconciliation begins.
    pub fn due(&self) -> Due {
        self.due_since(Instant::now())
    }

    /// Counts an object that has been due since this time, such as the time of its requeue.
    pub fn due_since(&self, since: Instant) -> Due {
        self.queue_depth.inc();
        Due {
            metrics: self.clone(),
            since,
        }
    }

    /// Counts a watch that failed and is restarted; `resource` is the plural, as in `pods`.
    pub fn watch_restarted(&self, resource: &str) {
        let resource = resource.to_owned();
        self.watch_restarts
            .get_or_create(&WatchLabels { resource })
            .inc();
    }

    pub(crate) fn leading(&self) {
        self.leader.set(1);
    }

    pub(crate) fn requested(&self, request: &ApiRequest) {
        self.api_requests.get_or_create(request).inc();
    }

    pub(crate) fn in_flight(&self, slots: i64, used: i64, waiting: i64) {
        self.api_slots.set(slots);
        self.api_slots_used.set(used);
        self.api_requests_waiting.set(waiting);
    }

    /// All families, in the `OpenMetrics` text format.
    pub(crate) fn exposition(&self) -> Result<String, std::fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn register_shared(&self, registry: &mut Registry) {
        registry.register("reconcile", "Reconciliations", self.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Duration of a reconciliation, without its time in the queue",
            Unit::Seconds,
            self.reconcile_duration.clone(),
        );
        registry.register(
            "queue_depth",
            "Objects in the queue that are due",
            self.queue_depth.clone(),
        );
        registry.register_with_unit(
            "queue_wait",
            "Time in the queue, from the time when an object was due",
            Unit::Seconds,
            self.queue_wait.clone(),
        );
        registry.register(
            "watch_restarts",
            "Watches that failed and were started again",
            self.watch_restarts.clone(),
        );
        registry.register(
            "leader",
            "1 while this process holds the Lease, otherwise 0",
            self.leader.clone(),
        );
        registry.register(
            "api_requests",
            "Requests to the API server, each attempt",
            self.api_requests.clone(),
        );
        registry.register(
            "api_slots",
            "Limit of requests in flight; it decreases when the API server is slow",
            self.api_slots.clone(),
        );
        registry.register(
            "api_slots_used",
            "Slots in use by requests in flight",
            self.api_slots_used.clone(),
        );
        registry.register(
            "api_requests_waiting",
            "Requests that wait for slots",
            self.api_requests_waiting.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wait_and_reconciliation_are_measured_separately() {
        let metrics = Metrics::new();
        let [first, again] = [
            metrics.due(),
            metrics.due_since(Instant::now() - Duration::from_secs(2)),
        ];
        assert!(
            metrics
                .exposition()
                .unwrap()
                .contains("kubeci_queue_depth 2\n")
        );
        tokio::time::advance(Duration::from_secs(3)).await;
        let (first, again) = (first.begin(), again.begin());
        tokio::time::advance(Duration::from_secs(1)).await;
        first.end(Outcome::Error);
        drop((again, metrics.due()));
        let text = metrics.exposition().unwrap();
        for line in [
            "kubeci_queue_depth 0",
            "kubeci_queue_wait_seconds_sum 8.0",
            "kubeci_queue_wait_seconds_count 2",
            r#"kubeci_reconcile_total{result="error"} 1"#,
            "kubeci_reconcile_duration_seconds_sum 1.0",
            "kubeci_reconcile_duration_seconds_count 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn metrics_contain_shared_and_own_families() {
        let metrics = Metrics::new();
        let fired = Counter::<u64>::default();
        metrics.register(|registry| registry.register("events_fired", "Fired", fired.clone()));
        fired.inc();
        metrics.due().begin().end(Outcome::Success);
        metrics.watch_restarted("pods");
        metrics.leading();
        let text = metrics.exposition().unwrap();
        for line in [
            "kubeci_events_fired_total 1",
            r#"kubeci_reconcile_total{result="success"} 1"#,
            r#"kubeci_reconcile_duration_seconds_bucket{le="0.001"} 1"#,
            "kubeci_queue_depth 0",
            r#"kubeci_watch_restarts_total{resource="pods"} 1"#,
            "kubeci_leader 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
