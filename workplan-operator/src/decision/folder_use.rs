//! A folder that a rerun uses after its Workplan has ended.
//!
//! The Workplan whose folder it is, its holder, alone removes it. A rerun enters itself in the status of the holder, as
//! long as that says that the folder is kept. The holder leaves the folder alone until the rerun has ended without
//! pods, or is gone. Both statuses are written only if they are unchanged, and the holder states that the folder is no
//! longer kept before it is removed. So there is always exactly one Workplan that removes the folder, and none does so
//! while it is in use.

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use kubeci_api::{FolderStatus, FolderUser, Phase, Workplan, WorkplanStatus};

use super::conditions;
use super::workplan::{has_finalizer, holds_folder};
use crate::observed::{FolderUse, ObservedState};
use crate::workspace::workflow;

/// Whether a rerun has the folder of another Workplan.
pub enum Folder<'a> {
    /// It is entered in the status of the holder.
    Used(&'a Workplan),
    /// It may enter itself there.
    Free,
    /// It has a folder of its own. The text says why.
    Own(String),
}

/// How far a Workplan is that uses the folder of another one. Its finalizer stays as long as it may have pods.
pub fn folder_use(user: &Workplan) -> FolderUse {
    let status = user.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    if !phase.is_final() || has_finalizer(user) {
        return FolderUse::InUse;
    }
    FolderUse::Returned(end_of_keep(user, &status, phase))
}

/// When the time is over for which the folder of an ended plan is kept.
pub fn end_of_keep(
    workplan: &Workplan,
    status: &WorkplanStatus,
    phase: Phase,
) -> Option<Timestamp> {
    let kept_for = SignedDuration::try_from(workplan.spec.workspace.kept_for(phase)?).ok()?;
    let finished = status.finished_at.as_ref()?.0;
    finished.checked_add(kept_for).ok()
}

/// The folder of a rerun of `origin`.
pub fn folder_of<'a>(rerun: &Workplan, origin: &Workplan, state: &'a ObservedState) -> Folder<'a> {
    let of = origin.name_any();
    if !holds_folder(origin) {
        return Folder::Own("as an emptyDir volume always is".into());
    }
    let Some(holder) = state.holder.as_deref() else {
        return Folder::Own(format!("because the folder of {of} was removed"));
    };
    let status = holder.status.clone().unwrap_or_default();
    match used_by(&status) {
        Some(user) if rerun.uid().as_ref() == Some(&user.uid) => return Folder::Used(holder),
        Some(user) => {
            let user = &user.name;
            return Folder::Own(format!("because {user} uses the folder of {of}"));
        }
        None => {}
    }
    let is_deleted = holder.meta().deletion_timestamp.is_some();
    if is_deleted || !conditions::is_kept(&status) || status.node.is_none() {
        return Folder::Own(format!("because the folder of {of} was not kept"));
    }
    // The path of the folder has the name of the Workflow.
    let workflow_of_rerun = workflow(rerun).or_else(|| workflow(origin));
    if workflow_of_rerun != workflow(holder) {
        return Folder::Own(format!("because {of} belongs to another Workflow"));
    }
    Folder::Free
}

/// The status of the holder after a rerun has entered itself.
pub fn with_user(holder: &WorkplanStatus, rerun: &Workplan) -> WorkplanStatus {
    let user = FolderUser {
        name: rerun.name_any(),
        uid: rerun.uid().unwrap_or_default(),
    };
    let folder = holder.folder.clone().unwrap_or_default();
    WorkplanStatus {
        folder: Some(FolderStatus {
            used_by: Some(user),
            ..folder
        }),
        ..holder.clone()
    }
}

/// The Workplan that uses the folder of this one.
pub fn used_by(status: &WorkplanStatus) -> Option<&FolderUser> {
    status.folder.as_ref()?.used_by.as_ref()
}

/// Removes the user of the folder, if it has returned the folder. The folder is kept as long as either of them wants.
pub fn take_back(status: &mut WorkplanStatus, state: &ObservedState) {
    let (Some(folder), FolderUse::Returned(until)) = (&mut status.folder, &state.user) else {
        return;
    };
    folder.used_by = None;
    let kept_until = folder.kept_until.as_ref().map(|it| it.0).max(*until);
    folder.kept_until = kept_until.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime);
    if *folder == FolderStatus::default() {
        status.folder = None;
    }
}
