//! Writes the statuses of Workplans.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kubeci_api::{Phase, WorkplanStatus};
use kubeci_controller::{EventRecorder, now};

use crate::decision::{Action, Decision, fit};
use crate::reconciliation::Reconciliation;
use crate::status_change::StatusChange;
use crate::status_debounce::{StatusDebounce, StatusUpdate, WriteBudget};
use crate::workplan_events;
use crate::workplan_requests::RequestError;
use crate::workplan_state::{WorkplanState, WorkplanStates};

pub struct StatusWriter {
    states: Arc<WorkplanStates>,
    budget: WriteBudget,
    recorder: EventRecorder,
}

impl StatusWriter {
    pub fn new(states: Arc<WorkplanStates>, recorder: EventRecorder) -> Self {
        Self {
            states,
            budget: WriteBudget::default(),
            recorder,
        }
    }

    /// The status of a Workplan that is not written yet, if there is one.
    pub fn dirty(&self, uid: &str, flushed: &WorkplanStatus) -> Option<WorkplanStatus> {
        let dirty = self.states.read(uid, |state| state.status.dirty(flushed));
        dirty.flatten()
    }

    /// Writes the status if it has changed; returns the time of the write if it is delayed.
    pub async fn write(
        &self,
        run: &mut Reconciliation,
        decision: &Decision,
    ) -> Result<Option<Timestamp>, RequestError> {
        let uid = run.workplan.uid().unwrap_or_default();
        let next = &decision.status;
        if run.flushed == *next {
            self.states.change(&uid, |state| state.status.clear());
            return Ok(None);
        }
        let until = self.delay(run, &uid, next);
        if until.is_some() && may_wait(run, decision) {
            return Ok(until);
        }
        match self.flush(run, next).await {
            Err(error) if error.is_too_large() => {
                return self.flush_without_steps(run, next, &error).await;
            }
            flushed => flushed?,
        }
        self.states.change(&uid, |state| {
            if next.phase.is_some_and(Phase::is_final) {
                state.status = StatusDebounce::default();
            } else {
                state.status.flushed(now());
            }
        });
        Ok(None)
    }

    fn delay(&self, run: &Reconciliation, uid: &str, next: &WorkplanStatus) -> Option<Timestamp> {
        let update = StatusUpdate {
            order: run.workplan.spec.order,
            size: run.size,
            flushed: &run.flushed,
            next,
        };
        let delay = |state: &mut WorkplanState| state.status.delay(&update, &self.budget, now());
        self.states.upsert(uid, delay)
    }

    /// Writes a status, and an Event for each new problem.
    async fn flush(
        &self,
        run: &mut Reconciliation,
        next: &WorkplanStatus,
    ) -> Result<(), RequestError> {
        let change = StatusChange::between(&run.flushed, next);
        let meta = run
            .requests
            .write_status(&run.workplan, &run.flushed, &change)
            .await?;
        run.replaced(meta);
        run.workplan.status = Some(next.clone());
        let before = std::mem::replace(&mut run.flushed, next.clone());
        log_phase(run, &before, next);
        workplan_events::record(&self.recorder, &run.workplan, &before, next).await;
        Ok(())
    }

    /// Writes a status that is too large without its steps. If that is too large, only the Events are written.
    async fn flush_without_steps(
        &self,
        run: &mut Reconciliation,
        next: &WorkplanStatus,
        error: &RequestError,
    ) -> Result<Option<Timestamp>, RequestError> {
        let least = fit::least(next, &error.to_string());
        match self.flush(run, &least).await {
            Err(error) if error.is_too_large() => {
                let before = &run.flushed;
                workplan_events::record(&self.recorder, &run.workplan, before, &least).await;
            }
            flushed => flushed?,
        }
        Ok(None)
    }
}

fn log_phase(run: &Reconciliation, before: &WorkplanStatus, after: &WorkplanStatus) {
    let phase = |status: &WorkplanStatus| status.phase.unwrap_or_default();
    if phase(before) != phase(after) {
        let (namespace, name) = (run.workplan.namespace(), run.workplan.name_any());
        let (phase, reason) = (phase(after).as_str(), &after.reason);
        tracing::info!(namespace, workplan = name, phase, reason, "phase changed");
    }
}

/// Whether nothing depends on the write: the plan goes on, nothing is deleted, and no pod was refused. No pod shows that
/// one was refused, so that another leader would not know it.
fn may_wait(run: &Reconciliation, decision: &Decision) -> bool {
    let creates = |action: &Action| matches!(action, Action::CreatePod(_));
    let ended = decision.status.phase.is_some_and(Phase::is_final);
    !ended && decision.actions.iter().all(creates) && run.observed.refusals.is_empty()
}
