//! The state of one reconcile of a Workplan.

use std::collections::HashSet;

use jiff::Timestamp;
use kube::core::ObjectMeta;
use kubeci_api::{Workplan, WorkplanStatus};

use crate::observed::ObservedState;
use crate::workplan_cache::Expectations;
use crate::workplan_requests::{RequestError, WorkplanRequests};

pub struct Reconciliation {
    pub requests: WorkplanRequests,
    /// With its next status, which may not be written yet.
    pub workplan: Workplan,
    /// The status that is written.
    pub flushed: WorkplanStatus,
    /// The bytes of the Workplan as JSON.
    pub size: usize,
    pub expectations: Expectations,
    pub observed: ObservedState,
    /// The tasks whose pods were created, or refused, in this reconcile.
    pub created: HashSet<usize>,
    /// An error that does not stop the reconcile.
    pub error: Option<RequestError>,
}

impl Reconciliation {
    /// A write has replaced the metadata of the Workplan.
    pub fn replaced(&mut self, mut meta: ObjectMeta) {
        meta.managed_fields = None;
        if let Some(version) = self.workplan.metadata.resource_version.take() {
            self.expectations.replaced(version);
        }
        self.workplan.metadata = meta;
    }
}

/// The result of a reconcile.
#[derive(Default)]
pub struct Reconciled {
    /// When to requeue the Workplan, unless it changes before.
    pub requeue_at: Option<Timestamp>,
    /// Whether a status is not written yet.
    pub dirty: bool,
}
