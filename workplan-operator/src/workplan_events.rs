//! Warning Events for conditions that need attention, and an Event for each approval that begins to wait for a user. Other
//! expected changes have no Event.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kubeci_api::{Phase, StepPhase, StepStatus, Task, Workplan, WorkplanStatus};
use kubeci_controller::{EventRecorder, Notice, Warning};

use crate::admission::QUEUED;
use crate::decision::{AWAITING_APPROVAL, IN_USE, KEEP_ENDED, KEPT, RELAYED, SUSPENDED};

/// Reasons to wait that usually end without intervention.
const TRANSIENT: [&str; 12] = [
    AWAITING_APPROVAL,
    "Cancelled",
    "Deleting",
    "NodeNotReady",
    "NotScheduled",
    "PodNameInUse",
    "PodNotTaken",
    "PodStarting",
    QUEUED,
    "Retrying",
    "Suspended",
    "Unschedulable",
];

/// Records an Event for each condition that has begun to report a problem, and for each approval that has begun to wait.
pub async fn record(
    recorder: &EventRecorder,
    workplan: &Workplan,
    before: &WorkplanStatus,
    after: &WorkplanStatus,
) {
    let reference = workplan.object_ref(&());
    for condition in new_problems(before, after) {
        let warning = Warning {
            reason: &condition.reason,
            action: match condition.type_.as_str() {
                "Succeeded" => "Run",
                _ => "CleanUp",
            },
            note: &condition.message,
        };
        recorder.warn(&reference, warning).await;
    }
    for note in new_approvals(workplan, before, after) {
        let notice = Notice {
            reason: AWAITING_APPROVAL,
            action: "Run",
            note: &note,
        };
        recorder.notify(&reference, notice).await;
    }
}

/// The approvals that have begun to wait.
fn new_approvals<'a>(
    workplan: &'a Workplan,
    before: &'a WorkplanStatus,
    after: &'a WorkplanStatus,
) -> impl Iterator<Item = String> {
    let status = |status: &'a WorkplanStatus, name: &str| {
        let mut steps = status.steps.iter();
        steps.find(|step| step.name == name)
    };
    let waits = |step: &&StepStatus| step.phase == StepPhase::Running;
    let steps = workplan.spec.tasks.iter().flat_map(Task::steps);
    let approvals = steps.filter(|step| step.approval.is_some());
    approvals.filter_map(move |step| {
        let is_known = status(before, &step.name).is_some_and(|it| waits(&it));
        let waiting = status(after, &step.name).filter(waits)?;
        let message = waiting.message.as_deref().unwrap_or_default();
        (!is_known).then(|| format!("the step {} {message}", step.name))
    })
}

/// The conditions that have begun to report a problem.
fn new_problems<'a>(
    before: &'a WorkplanStatus,
    after: &'a WorkplanStatus,
) -> impl Iterator<Item = &'a Condition> {
    let failed = after.phase == Some(Phase::Failed) && before.phase != after.phase;
    // The status of a running plan has no reason.
    let waits = |condition: &Condition| {
        condition.status == "Unknown"
            && after.reason.as_ref() == Some(&condition.reason)
            && !TRANSIENT.contains(&condition.reason.as_str())
            // The failure is published when the Workplan has ended.
            && !["StepFailed", "Timeout", "PendingTimeout"].contains(&condition.reason.as_str())
    };
    let is_new = |condition: &Condition| {
        let mut known = before.conditions.iter();
        !known.any(|known| known.type_ == condition.type_ && known.reason == condition.reason)
    };
    after
        .conditions
        .iter()
        .filter(move |condition| match condition.type_.as_str() {
            // The steps of a plan without a relay run, each in its own pod. A user has suspended it.
            RELAYED | SUSPENDED => false,
            _ if [KEPT, KEEP_ENDED, IN_USE].contains(&condition.reason.as_str()) => false,
            "Succeeded" => failed || (waits(condition) && is_new(condition)),
            _ => condition.status == "False" && is_new(condition),
        })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kubeci_api::Order;
    use rstest::rstest;

    use super::*;
    use crate::testing::workplan;

    fn status(phase: Phase, conditions: &[(&str, &str, &str)]) -> WorkplanStatus {
        let reason = conditions.iter().find(|(type_, ..)| *type_ == "Succeeded");
        let reason = reason.filter(|(.., reason)| *reason != "Running");
        let conditions = conditions.iter().map(|(type_, status, reason)| Condition {
            type_: (*type_).into(),
            status: (*status).into(),
            reason: (*reason).into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        });
        WorkplanStatus {
            phase: Some(phase),
            reason: reason.map(|(.., reason)| (*reason).to_owned()),
            conditions: conditions.collect(),
            ..WorkplanStatus::default()
        }
    }

    const RUNNING: (&str, &str, &str) = ("Succeeded", "Unknown", "Running");
    const FAILED: (&str, &str, &str) = ("Succeeded", "False", "StepFailed");
    const KEEPS: (&str, &str, &str) = ("WorkspaceCleaned", "False", KEPT);
    const UNSWEPT: (&str, &str, &str) = ("WorkspaceCleaned", "False", "SweepFailed");

    #[test]
    fn approval_has_an_event_when_it_begins() {
        let plan = workplan(Order::Graph, &["a", "gate?:a"]);
        let status = |phase| WorkplanStatus {
            steps: vec![StepStatus {
                name: "gate".into(),
                phase,
                message: Some("waits for approval: go?".into()),
                ..StepStatus::default()
            }],
            ..WorkplanStatus::default()
        };
        let (pending, waits) = (status(StepPhase::Pending), status(StepPhase::Running));
        let notes = |before, after| new_approvals(&plan, before, after).collect::<Vec<_>>();
        let expected = ["the step gate waits for approval: go?"];
        assert_eq!(notes(&pending, &waits), expected);
        let unwritten = WorkplanStatus::default();
        assert_eq!(notes(&unwritten, &waits), expected);
        assert!(notes(&waits, &waits).is_empty());
        assert!(notes(&waits, &status(StepPhase::Completed)).is_empty());
    }

    #[rstest]
    #[case::ran(status(Phase::Running, &[RUNNING]), status(Phase::Completed, &[("Succeeded", "True", "Completed")]), &[])]
    #[case::failed(status(Phase::Running, &[RUNNING]), status(Phase::Failed, &[FAILED]), &["StepFailed"])]
    #[case::has_failed(status(Phase::Failed, &[FAILED]), status(Phase::Failed, &[FAILED]), &[])]
    #[case::unschedulable(status(Phase::Pending, &[]), status(Phase::Pending, &[("Succeeded", "Unknown", "Unschedulable")]), &[])]
    #[case::quota(status(Phase::Pending, &[]), status(Phase::Pending, &[("Succeeded", "Unknown", "QuotaExceeded")]), &["QuotaExceeded"])]
    #[case::no_volume(status(Phase::Pending, &[]), status(Phase::Pending, &[("Succeeded", "Unknown", "FailedMount")]), &["FailedMount"])]
    #[case::still_no_volume(status(Phase::Pending, &[("Succeeded", "Unknown", "FailedMount")]), status(Phase::Pending, &[("Succeeded", "Unknown", "FailedMount")]), &[])]
    #[case::runs_on_after_a_failure(status(Phase::Running, &[RUNNING]), status(Phase::Running, &[("Succeeded", "Unknown", "StepFailed")]), &[])]
    #[case::suspended(status(Phase::Pending, &[]), status(Phase::Pending, &[("Succeeded", "Unknown", "Suspended"), ("Suspended", "True", "Suspended")]), &[])]
    #[case::resumed(status(Phase::Running, &[RUNNING]), status(Phase::Running, &[RUNNING, ("Suspended", "False", "Resumed")]), &[])]
    #[case::cancelled(status(Phase::Running, &[RUNNING]), status(Phase::Cancelled, &[("Succeeded", "False", "Cancelled")]), &[])]
    #[case::is_stopped(status(Phase::Running, &[RUNNING]), status(Phase::Running, &[("Succeeded", "Unknown", "Timeout")]), &[])]
    #[case::at_its_timeout(status(Phase::Running, &[RUNNING]), status(Phase::Failed, &[("Succeeded", "False", "Timeout")]), &["Timeout"])]
    #[case::kept_by_a_sidecar(status(Phase::Failed, &[FAILED]), status(Phase::Failed, &[FAILED, ("PodsEnded", "False", "SidecarRuns")]), &["SidecarRuns"])]
    #[case::unswept(status(Phase::Failed, &[FAILED]), status(Phase::Failed, &[FAILED, UNSWEPT]), &["SweepFailed"])]
    #[case::kept(status(Phase::Failed, &[FAILED]), status(Phase::Failed, &[FAILED, KEEPS]), &[])]
    #[case::unswept_after_a_keep(status(Phase::Failed, &[FAILED, KEEPS]), status(Phase::Failed, &[FAILED, UNSWEPT]), &["SweepFailed"])]
    #[case::without_a_relay(status(Phase::Running, &[RUNNING]), status(Phase::Running, &[RUNNING, ("Relayed", "False", "NoRelay")]), &[])]
    #[case::still_unswept(status(Phase::Failed, &[FAILED, UNSWEPT]), status(Phase::Failed, &[FAILED, UNSWEPT]), &[])]
    fn only_new_problems_have_events(
        #[case] before: WorkplanStatus,
        #[case] after: WorkplanStatus,
        #[case] expected: &[&str],
    ) {
        let reasons: Vec<&str> = new_problems(&before, &after)
            .map(|condition| condition.reason.as_str())
            .collect();
        assert_eq!(reasons, expected);
    }
}
