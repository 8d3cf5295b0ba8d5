//! A folder that is kept for some time after its plan has ended.

use jiff::Timestamp;
use kubeci_api::{Workplan, WorkplanStatus};

use super::conditions;
use super::folder_use::end_of_keep;
use crate::workspace::Folder;

/// Until when the folder of an ended plan is kept, for itself or for reruns that have used it. A time that is past does
/// not count, nor one that another clock has seen to be past.
pub fn kept_until(
    workplan: &Workplan,
    status: &WorkplanStatus,
    now: Timestamp,
) -> Option<Timestamp> {
    if conditions::has_keep_ended(status) {
        return None;
    }
    let own = end_of_keep(workplan, status, status.phase?);
    let of_user = status.folder.as_ref().and_then(|it| it.kept_until.as_ref());
    let until = own.max(of_user.map(|it| it.0));
    until.filter(|until| *until > now)
}

/// What the condition says while the folder is kept.
pub fn kept(workplan: &Workplan, node: &str, until: Timestamp) -> String {
    format!(
        "the folder {} stays on the node {node} until {}, as spec.workspace.keep says; to remove it earlier, delete \
         the Workplan",
        Folder::of(workplan).host_path().display(),
        seconds(until)
    )
}

/// The time in whole seconds, as conditions have it.
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
