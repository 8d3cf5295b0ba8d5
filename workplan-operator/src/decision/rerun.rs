//! A rerun before its tasks are set: what it takes over from another Workplan, and its spec.

use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use kubeci_api::{FolderStatus, Phase, Rerun, StepStatus, Workplan, WorkplanSpec, WorkplanStatus};
use kubeci_engine::{Cause, TakeOverError, invalid_status, take_over};

use super::action::{Action, Decision};
use super::conditions;
use super::folder_use::{Folder, folder_of};
use crate::observed::ObservedState;
use crate::plan;

const REFUSED: &str = "RerunRefused";

/// Why a Workplan cannot be run again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RerunError {
    #[error(
        "spec.rerun.of: this namespace has no Workplan {0}; name one that `kubectl get workplans` lists"
    )]
    Missing(String),
    #[error("spec.rerun.of: a Workplan cannot run itself again; name another Workplan")]
    OfItself,
    #[error(
        "spec.rerun.of: {of} has not ended, its phase is {}; create the rerun after its end", .phase.as_str()
    )]
    NotEnded { of: String, phase: Phase },
    #[error("spec.rerun.of: {0} has no tasks, because it is a rerun that was refused itself")]
    NoTasks(String),
    #[error("spec.rerun.of: the plan of {of} is invalid: {message}")]
    Invalid { of: String, message: String },
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    #[error(
        "spec.tasks: a rerun has the tasks of the Workplan that it runs again; leave tasks out"
    )]
    WithTasks,
}

/// Whether the operator has yet to set the tasks.
pub fn has_no_tasks(workplan: &Workplan) -> bool {
    workplan.spec.rerun.is_some() && workplan.spec.tasks.is_empty()
}

/// The decision about a rerun without tasks: it takes over the steps, then its tasks are set. After a kill it does both
/// again, so that the status and the tasks always are those of the same Workplan.
pub fn prepare(
    workplan: &Workplan,
    rerun: &Rerun,
    mut status: WorkplanStatus,
    state: &ObservedState,
) -> Decision {
    match taken_over(workplan, rerun, state) {
        Ok((origin, steps)) => {
            let folder = folder_of(workplan, origin, state);
            if let Folder::Free = folder {
                return Decision {
                    actions: vec![Action::UseFolder],
                    wake_at: Some(state.now),
                    ..Decision::wait(status)
                };
            }
            let message = message(&rerun.of, &steps, &folder);
            use_folder(&mut status, &folder);
            status.phase = Some(Phase::Pending);
            status.observed_generation = workplan.meta().generation;
            status.steps = steps;
            conditions::taken_over(&mut status, state.now, &message);
            Decision {
                actions: vec![Action::SetTasks],
                ..Decision::wait(status)
            }
        }
        Err(error) => {
            status.steps.clear();
            use_folder(&mut status, &Folder::Own(String::new()));
            Decision::wait(refused(workplan, status, &error, state.now))
        }
    }
}

/// The status of a rerun with tasks that the operator has not set.
pub fn with_tasks(workplan: &Workplan, status: WorkplanStatus, now: Timestamp) -> Decision {
    Decision::wait(refused(workplan, status, &RerunError::WithTasks, now))
}

fn refused(
    workplan: &Workplan,
    status: WorkplanStatus,
    error: &RerunError,
    now: Timestamp,
) -> WorkplanStatus {
    let cause = Cause::new(REFUSED, error.to_string());
    invalid_status(status, &cause, workplan.meta().generation, now)
}

/// The other Workplan, and the steps with what is taken over.
fn taken_over<'a>(
    workplan: &Workplan,
    rerun: &Rerun,
    state: &'a ObservedState,
) -> Result<(&'a Workplan, Vec<StepStatus>), RerunError> {
    let of = rerun.of.clone();
    if of == workplan.name_any() {
        return Err(RerunError::OfItself);
    }
    let Some(origin) = state.origin.as_deref() else {
        return Err(RerunError::Missing(of));
    };
    let status = origin.status.as_ref();
    let phase = status.and_then(|it| it.phase).unwrap_or_default();
    if !phase.is_final() {
        return Err(RerunError::NotEnded { of, phase });
    }
    if origin.spec.tasks.is_empty() {
        return Err(RerunError::NoTasks(of));
    }
    let plan = plan::validate(&origin.spec).map_err(|error| RerunError::Invalid {
        of: of.clone(),
        message: error.to_string(),
    })?;
    let recorded = status.map_or(&[][..], |it| &it.steps);
    let steps = take_over(&plan, recorded, &of, &rerun.from)?;
    Ok((origin, steps))
}

/// All pods of the rerun run on the node of its folder.
fn use_folder(status: &mut WorkplanStatus, folder: &Folder) {
    let holder = match folder {
        Folder::Used(holder) => Some(holder),
        Folder::Free | Folder::Own(_) => None,
    };
    let node = holder.and_then(|it| it.status.as_ref()?.node.clone());
    status.node = node;
    status.folder = holder.map(|holder| FolderStatus {
        of: Some(holder.name_any()),
        ..FolderStatus::default()
    });
}

fn message(of: &str, steps: &[StepStatus], folder: &Folder) -> String {
    let mut taken_over = steps.iter().filter(|it| it.taken_over_from.is_some());
    let count = taken_over.by_ref().count();
    let all = steps.len();
    let folder = match folder {
        Folder::Used(_) | Folder::Free => format!("The folder is that of {of}, with its files"),
        Folder::Own(why) => format!("The folder is empty at the start, {why}"),
    };
    format!("{count} of {all} steps are taken over from {of}, the others run. {folder}")
}

/// The spec of a rerun: that of the other Workplan, with the fields that the user writes.
pub fn spec(workplan: &Workplan, origin: &Workplan) -> WorkplanSpec {
    WorkplanSpec {
        rerun: workplan.spec.rerun.clone(),
        cancel: workplan.spec.cancel,
        suspend: workplan.spec.suspend,
        ..origin.spec.clone()
    }
}
