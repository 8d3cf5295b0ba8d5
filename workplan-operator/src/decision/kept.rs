//! A folder that is kept for some time after its plan has ended.

use jiff::{SignedDuration, Timestamp};
use kubeci_api::{Workplan, WorkplanStatus};

use super::conditions;
use crate::workspace::Folder;

/// Until when the folder of an ended plan is kept. A time that is past does not count, nor one that another clock has
/// seen to be past.
pub fn kept_until(
    workplan: &Workplan,
    status: &WorkplanStatus,
    now: Timestamp,
) -> Option<Timestamp> {
    if conditions::has_keep_ended(status) {
        return None;
    }
    let kept_for = workplan.spec.workspace.kept_for(status.phase?)?;
    let kept_for = SignedDuration::try_from(kept_for).ok()?;
    let until = status.finished_at.as_ref()?.0.checked_add(kept_for).ok()?;
    Some(until).filter(|until| *until > now)
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
