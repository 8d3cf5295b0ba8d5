//! The metrics of this operator, beside those of every operator.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use kubeci_triggers::Counters;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The most values of the label `resource`. Beyond, events count as `other`.
const RESOURCES_MAX: u64 = 50;

#[derive(Clone)]
pub struct Metrics {
    pub runtime: kubeci_controller::Metrics,
    events_observed: Family<ResourceLabel, Counter>,
    resources: Arc<AtomicU64>,
    events_matched: Counter,
    events_fired: Counter,
    workplans_created: Counter,
    workplans_not_created: Counter,
    workplans_deleted: Counter,
    undiscovered_kinds: Gauge,
    watches: Gauge,
    workflows: Gauge,
    events_queued: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabel {
    resource: String,
}

impl Metrics {
    pub fn new(runtime: kubeci_controller::Metrics) -> Self {
        let metrics = Self {
            runtime,
            events_observed: Family::default(),
            resources: Arc::default(),
            events_matched: Counter::default(),
            events_fired: Counter::default(),
            workplans_created: Counter::default(),
            workplans_not_created: Counter::default(),
            workplans_deleted: Counter::default(),
            undiscovered_kinds: Gauge::default(),
            watches: Gauge::default(),
            workflows: Gauge::default(),
            events_queued: Gauge::default(),
        };
        metrics.runtime.register(|registry| {
            metrics.register_counters(registry);
            metrics.register_gauges(registry);
        });
        metrics
    }

    fn register_counters(&self, registry: &mut Registry) {
        registry.register(
            "events_observed",
            "Events that the watches returned",
            self.events_observed.clone(),
        );
        registry.register(
            "events_matched",
            "Events of objects that match a trigger",
            self.events_matched.clone(),
        );
        registry.register(
            "events_fired",
            "Events that fire",
            self.events_fired.clone(),
        );
        registry.register(
            "workplans_created",
            "Workplans created",
            self.workplans_created.clone(),
        );
        registry.register(
            "workplans_not_created",
            "Failed attempts to create a Workplan",
            self.workplans_not_created.clone(),
        );
        registry.register(
            "workplans_deleted",
            "Ended Workplans deleted because they exceeded the history of their Workflow",
            self.workplans_deleted.clone(),
        );
    }

    fn register_gauges(&self, registry: &mut Registry) {
        registry.register(
            "undiscovered_kinds",
            "Kinds that triggers name and the API server does not serve",
            self.undiscovered_kinds.clone(),
        );
        registry.register(
            "watches",
            "Watches of the objects that triggers name",
            self.watches.clone(),
        );
        registry.register("workflows", "Workflows", self.workflows.clone());
        registry.register(
            "events_queued",
            "Objects whose next event waits because of the cap on Workplans",
            self.events_queued.clone(),
        );
    }

    /// Counts an event of a resource.
    pub fn event_observed(&self, resource: &str) {
        let label = |resource: &str| ResourceLabel {
            resource: resource.to_owned(),
        };
        if let Some(counter) = self.events_observed.get(&label(resource)) {
            counter.inc();
            return;
        }
        let has_label = self.resources.fetch_add(1, Relaxed) < RESOURCES_MAX;
        let label = label(if has_label { resource } else { "other" });
        self.events_observed.get_or_create(&label).inc();
    }

    pub fn workplan_deleted(&self) {
        self.workplans_deleted.inc();
    }

    /// Adds the increments of the engine.
    pub fn add(&self, counters: Counters) {
        self.events_matched.inc_by(counters.matched);
        self.events_fired.inc_by(counters.fired);
        self.workplans_created.inc_by(counters.created);
        self.workplans_not_created.inc_by(counters.not_created);
    }

    pub fn set_undiscovered_kinds(&self, count: usize) {
        set(&self.undiscovered_kinds, count);
    }

    pub fn set_watches(&self, count: usize) {
        set(&self.watches, count);
    }

    pub fn set_events_queued(&self, count: usize) {
        set(&self.events_queued, count);
    }

    pub fn set_workflows(&self, count: usize) {
        set(&self.workflows, count);
    }
}

fn set(gauge: &Gauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
}
