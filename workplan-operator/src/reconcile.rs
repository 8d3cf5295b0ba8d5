//! Reconciles a Workplan: observes, decides, writes the status, and carries out the actions.

use std::collections::HashSet;
use std::sync::Arc;

use kube::{Client, ResourceExt};
use kubeci_api::names::WORKSPACE_FINALIZER;
use kubeci_api::{Phase, Workplan};

use crate::decision::{Action, Decision, decide, holds_folder, rerun, with_user};
use crate::observed::{Certainty, assigned_node};
use crate::observer::Observer;
use crate::pod_creator::PodCreator;
use crate::reconciliation::{Reconciled, Reconciliation};
use crate::status_change::StatusChange;
use crate::status_writer::StatusWriter;
use crate::sweeper::SweepRounds;
use crate::workplan_cache::{CachedWorkplan, WorkplanCache};
use crate::workplan_index::{IndexedWorkplan, WorkplanIndex};
use crate::workplan_key::WorkplanKey;
use crate::workplan_requests::{RequestError, WorkplanRequests};
use crate::workplan_state::{WorkplanState, WorkplanStates};
use crate::workspace::Folder;

/// How often a conflict is retried without a requeue.
const CONFLICT_RETRIES: usize = 3;

pub struct Reconciler {
    pub client: Client,
    pub workplans: Arc<WorkplanIndex>,
    pub cache: Arc<WorkplanCache>,
    pub states: Arc<WorkplanStates>,
    pub observer: Observer,
    pub pod_creator: PodCreator,
    pub status_writer: StatusWriter,
    pub sweeps: Arc<SweepRounds>,
}

impl Reconciler {
    pub async fn reconcile(
        &self,
        key: &WorkplanKey,
        indexed: &IndexedWorkplan,
    ) -> Result<Reconciled, RequestError> {
        if indexed.is_done() && !self.observer.has_open_pod(key, &indexed.uid) {
            self.forget(&indexed.uid);
            return Ok(Reconciled::default());
        }
        if self.observer.waits(key, &indexed.uid) {
            return Ok(Reconciled::default());
        }
        for _ in 0..CONFLICT_RETRIES {
            match self.reconcile_once(key, indexed).await {
                Err(error) if error.is_conflict() => {}
                result => return result,
            }
        }
        self.reconcile_once(key, indexed).await
    }

    async fn reconcile_once(
        &self,
        key: &WorkplanKey,
        indexed: &IndexedWorkplan,
    ) -> Result<Reconciled, RequestError> {
        let Some((cached, _permit)) = self.cache.take(key, indexed).await? else {
            return Ok(Reconciled::default());
        };
        self.workplans.update(key, &cached.workplan);
        self.observer.admission.observe(key);
        let uid = cached.workplan.uid().unwrap_or_default();
        if is_done(&cached.workplan)
            && (holds_folder(&cached.workplan) || !self.observer.has_open_pod(key, &uid))
        {
            self.forget(&uid);
            return Ok(Reconciled::default());
        }
        let mut run = self.begin(&uid, cached).await?;
        let reconciled = self.run(&uid, &mut run).await?;
        run.workplan.status = Some(run.flushed);
        self.workplans.update(key, &run.workplan);
        self.observer.admission.observe(key);
        self.cache.put(CachedWorkplan {
            workplan: run.workplan,
            size: run.size,
            expectations: run.expectations,
        });
        Ok(reconciled)
    }

    async fn begin(
        &self,
        uid: &str,
        cached: CachedWorkplan,
    ) -> Result<Reconciliation, RequestError> {
        let CachedWorkplan {
            mut workplan,
            size,
            expectations,
        } = cached;
        let flushed = workplan.status.clone().unwrap_or_default();
        if let Some(dirty) = self.status_writer.dirty(uid, &flushed) {
            workplan.status = Some(dirty);
        }
        Ok(Reconciliation {
            requests: WorkplanRequests::new(&self.client, &workplan),
            observed: self.observer.observe(&workplan).await?,
            workplan,
            flushed,
            size,
            expectations,
            created: HashSet::new(),
            error: None,
        })
    }

    async fn run(&self, uid: &str, run: &mut Reconciliation) -> Result<Reconciled, RequestError> {
        let decision = self.decide(run).await?;
        let write_at = self.status_writer.write(run, &decision).await?;
        for action in &decision.actions {
            self.carry_out(run, *action).await?;
        }
        if let Some(error) = run.error.take() {
            return Err(error);
        }
        let (refusals, now) = (&run.observed.refusals, run.observed.now);
        let record = |state: &mut WorkplanState| state.refused_pods.record(refusals, now);
        let retry_at = if refusals.is_empty() {
            self.states.change(uid, record).flatten()
        } else {
            self.states.upsert(uid, record)
        };
        let times = [decision.wake_at, write_at, retry_at];
        Ok(Reconciled {
            requeue_at: times.into_iter().flatten().min(),
            dirty: write_at.is_some(),
        })
    }

    /// Drops what is kept of a Workplan that is deleted or done.
    pub fn forget(&self, uid: &str) {
        self.cache.remove(uid);
        self.states.remove(uid);
    }

    /// Decides, and again after each action that changes the observed state: a list of the pods, the finalizer, created
    /// pods.
    async fn decide(&self, run: &mut Reconciliation) -> Result<Decision, RequestError> {
        loop {
            let decision = decide(&run.workplan, &run.observed);
            let watched = run.observed.certainty == Certainty::Watched;
            if watched && decision.actions.contains(&Action::ListPods) {
                self.observer.list_pods(run).await?;
            } else if decision.actions.contains(&Action::AddFinalizer) {
                let meta = run.requests.add_finalizer(&run.workplan).await?;
                run.replaced(meta);
            } else if !self.pod_creator.create(run, &decision).await {
                return Ok(decision);
            }
        }
    }

    async fn carry_out(
        &self,
        run: &mut Reconciliation,
        action: Action,
    ) -> Result<(), RequestError> {
        match action {
            Action::DeletePod(task) => match run.observed.pods.get(&task) {
                Some(pod) => run.requests.delete_pod(pod).await,
                None => Ok(()),
            },
            Action::StopPod(task) => match run.observed.pods.get(&task) {
                Some(pod) => run.requests.stop_pod(pod).await,
                None => Ok(()),
            },
            Action::Sweep => {
                if let Some(node) = assigned_node(&run.workplan, &run.observed.pods) {
                    self.sweeps.request(node, Folder::of(&run.workplan));
                }
                Ok(())
            }
            Action::RemoveFinalizer => self.remove_finalizer(run).await,
            Action::SetTasks => set_tasks(run).await,
            Action::UseFolder => use_folder(run).await,
            Action::AddFinalizer | Action::CreatePod(_) | Action::ListPods => Ok(()),
        }
    }

    async fn remove_finalizer(&self, run: &mut Reconciliation) -> Result<(), RequestError> {
        let meta = run.requests.remove_finalizer(&run.workplan).await?;
        if let Some(node) = assigned_node(&run.workplan, &run.observed.pods) {
            self.sweeps.forget(node, &Folder::of(&run.workplan));
        }
        run.replaced(meta);
        Ok(())
    }
}

/// Enters a rerun in the status of the Workplan whose folder it uses.
async fn use_folder(run: &Reconciliation) -> Result<(), RequestError> {
    let Some(holder) = run.observed.holder.as_deref() else {
        return Ok(());
    };
    let before = holder.status.clone().unwrap_or_default();
    let change = StatusChange::between(&before, &with_user(&before, &run.workplan));
    let written = run.requests.write_status(holder, &before, &change).await;
    written.map(|_| ())
}

/// Sets the tasks of a rerun. The watch returns it with them.
async fn set_tasks(run: &mut Reconciliation) -> Result<(), RequestError> {
    let Some(origin) = run.observed.origin.take() else {
        return Ok(());
    };
    let spec = rerun::spec(&run.workplan, &origin);
    let meta = run.requests.set_spec(&run.workplan, &spec, &origin).await?;
    run.replaced(meta);
    run.size += kubeci_compiler::stored_bytes(&spec);
    run.workplan.spec = spec;
    Ok(())
}

/// Whether a Workplan has ended and is cleaned up.
fn is_done(workplan: &Workplan) -> bool {
    let phase = workplan.status.as_ref().and_then(|status| status.phase);
    let has_finalizer = workplan
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == WORKSPACE_FINALIZER);
    phase.is_some_and(Phase::is_final) && !has_finalizer
}
