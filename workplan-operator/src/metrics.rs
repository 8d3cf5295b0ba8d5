//! The metrics of this operator, beside those of all operators.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::workplan_admission::WorkplanAdmission;
use crate::workplan_index::WorkplanIndex;

#[derive(Clone)]
pub struct Metrics {
    pub shared: kubeci_controller::Metrics,
    pub pods_created: Counter,
    sweeps: Family<SweepLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SweepLabels {
    result: SweepResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SweepResult {
    Started,
    Refused,
}

impl EncodeLabelValue for SweepResult {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder,
    ) -> std::fmt::Result {
        let text = match self {
            Self::Started => "started",
            Self::Refused => "refused",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

impl Metrics {
    pub fn new(shared: kubeci_controller::Metrics, workplans: Arc<WorkplanIndex>) -> Self {
        let metrics = Self {
            shared,
            pods_created: Counter::default(),
            sweeps: Family::default(),
        };
        metrics.shared.register(|registry| {
            registry.register(
                "pods_created",
                "Pods created for Workplans",
                metrics.pods_created.clone(),
            );
            registry.register(
                "sweeps",
                "Sweep pods, which remove folders from a node",
                metrics.sweeps.clone(),
            );
            registry.register_collector(Box::new(ByPhase(workplans)));
        });
        metrics
    }

    /// Adds the metrics of the caps.
    pub fn register_admission(&self, admission: Arc<WorkplanAdmission>) {
        self.shared
            .register(|registry| registry.register_collector(Box::new(Capped(admission))));
    }

    pub fn sweep(&self, result: SweepResult) {
        self.sweeps.get_or_create(&SweepLabels { result }).inc();
    }
}

/// The number of Workplans by phase, counted for each scrape.
struct ByPhase(Arc<WorkplanIndex>);

impl std::fmt::Debug for ByPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ByPhase").field(&self.0.len()).finish()
    }
}

impl Collector for ByPhase {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let gauge = ConstGauge::new(0_i64);
        let mut family = encoder.encode_descriptor(
            "workplans",
            "Workplans by phase",
            None,
            gauge.metric_type(),
        )?;
        for (phase, count) in self.0.by_phase() {
            ConstGauge::new(count).encode(family.encode_family(&[("phase", phase.as_str())])?)?;
        }
        Ok(())
    }
}

/// What runs and what waits because of the caps, counted for each scrape.
struct Capped(Arc<WorkplanAdmission>);

impl std::fmt::Debug for Capped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0.counts())
    }
}

impl Collector for Capped {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let (running, queued) = self.0.counts();
        let [queued, workplans, pods] = [queued, running.workplans, running.pods].map(gauge);
        let kind = queued.metric_type();
        queued.encode(encoder.encode_descriptor(
            "workplans_queued",
            "Workplans that wait because of the caps",
            None,
            kind,
        )?)?;
        workplans.encode(encoder.encode_descriptor(
            "workplans_admitted",
            "Workplans that run, if there is a cap",
            None,
            kind,
        )?)?;
        pods.encode(encoder.encode_descriptor(
            "pods_admitted",
            "The most pods that the Workplans that run may have, if there is a cap",
            None,
            kind,
        )?)
    }
}
