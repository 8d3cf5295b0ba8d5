//! What `/metrics` serves of this operator beside what every operator serves.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use kubeci_triggers::Counters;

/// Clusters have hundreds of resources; more label values than this are counted as `other`.
const RESOURCES_MAX: u64 = 50;

#[derive(Clone)]
pub struct Metrics {
    pub runtime: kubeci_runtime::Metrics,
    seen: Family<ResourceLabel, Counter>,
    resources: std::sync::Arc<AtomicU64>,
    matched: Counter,
    fired: Counter,
    created: Counter,
    refused: Counter,
    deleted: Counter,
    pub unresolved: Gauge,
    pub watches: Gauge,
    pub workflows: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabel {
    resource: String,
}

impl Metrics {
    pub fn new(runtime: kubeci_runtime::Metrics) -> Self {
        let metrics = Self {
            runtime,
            seen: Family::default(),
            resources: std::sync::Arc::default(),
            matched: Counter::default(),
            fired: Counter::default(),
            created: Counter::default(),
            refused: Counter::default(),
            deleted: Counter::default(),
            unresolved: Gauge::default(),
            watches: Gauge::default(),
            workflows: Gauge::default(),
        };
        metrics.runtime.register(|registry| {
            let Self {
                seen,
                matched,
                fired,
                created,
                refused,
                deleted,
                unresolved,
                watches,
                workflows,
                ..
            } = metrics.clone();
            registry.register(
                "events_seen",
                "Events that watches of triggers showed",
                seen,
            );
            registry.register(
                "events_matched",
                "Events of objects that triggers mean",
                matched,
            );
            registry.register(
                "events_fired",
                "Events that a Workplan was to be created for",
                fired,
            );
            registry.register("workplans_created", "Workplans created", created);
            registry.register(
                "workplans_not_created",
                "Attempts that created no Workplan",
                refused,
            );
            registry.register(
                "workplans_deleted",
                "Ended Workplans deleted because they were beyond the history that is kept",
                deleted,
            );
            registry.register(
                "unresolved_kinds",
                "Kinds that triggers name and the API does not serve",
                unresolved,
            );
            registry.register("watches", "Watches of what triggers name", watches);
            registry.register("workflows", "Workflows", workflows);
        });
        metrics
    }

    pub fn event_observed(&self, resource: &str) {
        use std::sync::atomic::Ordering::Relaxed;
        let label = |resource: &str| ResourceLabel {
            resource: resource.to_owned(),
        };
        if let Some(counter) = self.seen.get(&label(resource)) {
            counter.inc();
            return;
        }
        let known = self.resources.fetch_add(1, Relaxed) < RESOURCES_MAX;
        self.seen
            .get_or_create(&label(if known { resource } else { "other" }))
            .inc();
    }

    pub fn deleted(&self) {
        self.deleted.inc();
    }

    pub fn count(&self, counters: Counters) {
        self.matched.inc_by(counters.matched);
        self.fired.inc_by(counters.fired);
        self.created.inc_by(counters.created);
        self.refused.inc_by(counters.not_created);
    }
}
