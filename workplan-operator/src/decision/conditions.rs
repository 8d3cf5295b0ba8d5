//! The conditions of a Workplan that are about its pods and its folder.

use jiff::Timestamp;
use kubeci_api::{WorkplanSpec, WorkplanStatus};
use kubeci_compiler::Limits;
use kubeci_engine::{is_condition, set_condition};

use super::relayed;

const CLEANED: &str = "WorkspaceCleaned";
/// Whether steps share relay pods. `False` is no problem.
pub const RELAYED: &str = "Relayed";
/// The folder stays on the node for some time. No problem.
pub const KEPT: &str = "Kept";
/// The folder was kept, and is removed now. No problem.
pub const KEEP_ENDED: &str = "KeepEnded";
/// What a rerun has taken over from another Workplan.
const TAKEN_OVER: &str = "TakenOver";
/// A rerun uses the folder. No problem.
pub const IN_USE: &str = "InUse";
const PODS_ENDED: &str = "PodsEnded";
/// Whether no pod is created. Either value is no problem.
pub const SUSPENDED: &str = "Suspended";

pub fn cleaned(status: &mut WorkplanStatus, now: Timestamp, reason: &str, message: &str) {
    set_condition(status, CLEANED, "True", reason, message, now);
}

pub fn uncleaned(status: &mut WorkplanStatus, now: Timestamp, reason: &str, message: &str) {
    set_condition(status, CLEANED, "False", reason, message, now);
}

pub fn is_cleaned(status: &WorkplanStatus) -> bool {
    is_condition(status, CLEANED, "True")
}

pub fn taken_over(status: &mut WorkplanStatus, now: Timestamp, message: &str) {
    set_condition(status, TAKEN_OVER, "True", "StepsTakenOver", message, now);
}

/// Whether the operator has set the tasks of a rerun, or is about to.
pub fn has_taken_over(status: &WorkplanStatus) -> bool {
    is_condition(status, TAKEN_OVER, "True")
}

/// Whether the status says that the folder is kept. Another reason is written before the folder is removed.
pub fn is_kept(status: &WorkplanStatus) -> bool {
    is_uncleaned_for(status, KEPT)
}

/// Whether the removal of a kept folder has begun.
pub fn has_keep_ended(status: &WorkplanStatus) -> bool {
    is_uncleaned_for(status, KEEP_ENDED)
}

fn is_uncleaned_for(status: &WorkplanStatus, reason: &str) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|it| it.type_ == CLEANED && it.reason == reason)
}

/// Sets the condition `Suspended`, if the plan is suspended or was so before.
pub fn suspended(status: &mut WorkplanStatus, now: Timestamp, is_suspended: bool, message: &str) {
    if is_suspended {
        set_condition(status, SUSPENDED, "True", "Suspended", message, now);
    } else if is_condition(status, SUSPENDED, "True") {
        let message = "pods are created";
        set_condition(status, SUSPENDED, "False", "Resumed", message, now);
    }
}

/// Pods continue to run after their steps have ended.
pub fn pods_kept(status: &mut WorkplanStatus, now: Timestamp, message: &str) {
    set_condition(status, PODS_ENDED, "False", "SidecarRuns", message, now);
}

pub fn pods_ended(status: &mut WorkplanStatus, now: Timestamp, reason: &str, message: &str) {
    set_condition(status, PODS_ENDED, "True", reason, message, now);
}

pub fn has_kept_pods(status: &WorkplanStatus) -> bool {
    is_condition(status, PODS_ENDED, "False")
}

/// Sets the condition `Relayed`, unless it is set.
pub fn relayed_once(
    status: &mut WorkplanStatus,
    spec: &WorkplanSpec,
    limits: &Limits,
    now: Timestamp,
) {
    if !status.conditions.iter().any(|it| it.type_ == RELAYED) {
        let max_parallel = spec.max_parallel.map(Into::into);
        let relayed = relayed::relayed(&spec.tasks, &spec.finally, max_parallel, limits);
        set_condition(
            status,
            RELAYED,
            relayed.value,
            relayed.reason,
            &relayed.message,
            now,
        );
    }
}
