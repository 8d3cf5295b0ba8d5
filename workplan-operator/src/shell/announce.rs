//! Warning Events for what somebody should look at; nothing is said of what goes as it should.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};
use kubeci_api::{Phase, Workplan, WorkplanStatus};

/// Reasons to wait that pass by themselves as a rule.
const PASSING: [&str; 7] = [
    "Deleting",
    "NodeNotReady",
    "NotScheduled",
    "PodNameInUse",
    "PodNotTaken",
    "PodStarting",
    "Unschedulable",
];

/// The longest note that the API server takes.
const NOTE_MAX: usize = 1000;

pub struct Announcer {
    recorder: Recorder,
}

impl Announcer {
    pub fn new(recorder: Recorder) -> Self {
        Self { recorder }
    }

    pub async fn announce(
        &self,
        workplan: &Workplan,
        before: &WorkplanStatus,
        after: &WorkplanStatus,
    ) {
        let reference = workplan.object_ref(&());
        for condition in news(before, after) {
            let event = Event {
                type_: EventType::Warning,
                reason: condition.reason.clone(),
                note: Some(condition.message.chars().take(NOTE_MAX).collect()),
                action: if condition.type_ == "Succeeded" {
                    "Run"
                } else {
                    "CleanUp"
                }
                .into(),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, &reference).await {
                // As in a namespace that goes away; the status says it too.
                tracing::debug!(%error, reason = event.reason, "an Event cannot be written");
            }
        }
    }
}

/// The conditions that have begun to say that something is wrong.
fn news<'a>(
    before: &'a WorkplanStatus,
    after: &'a WorkplanStatus,
) -> impl Iterator<Item = &'a Condition> {
    let failed = after.phase == Some(Phase::Failed) && before.phase != after.phase;
    // Of a plan that merely runs the status itself gives no reason.
    let waits = |condition: &Condition| {
        condition.status == "Unknown"
            && after.reason.as_ref() == Some(&condition.reason)
            && !PASSING.contains(&condition.reason.as_str())
            // The plan goes on; that it failed is said when it has ended.
            && condition.reason != "StepFailed"
    };
    let is_new = |condition: &Condition| {
        let mut known = before.conditions.iter();
        !known.any(|known| known.type_ == condition.type_ && known.reason == condition.reason)
    };
    after
        .conditions
        .iter()
        .filter(move |condition| match condition.type_.as_str() {
            "Succeeded" => failed || (waits(condition) && is_new(condition)),
            _ => condition.status == "False" && is_new(condition),
        })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use rstest::rstest;

    use super::*;

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
    const UNSWEPT: (&str, &str, &str) = ("WorkspaceCleaned", "False", "SweepFailed");

    #[rstest]
    #[case::ran(status(Phase::Running, &[RUNNING]), status(Phase::Completed, &[("Succeeded", "True", "Completed")]), &[])]
    #[case::failed(status(Phase::Running, &[RUNNING]), status(Phase::Failed, &[FAILED]), &["StepFailed"])]
    #[case::has_failed(status(Phase::Failed, &[FAILED]), status(Phase::Failed, &[FAILED]), &[])]
    #[case::unschedulable(status(Phase::Pending, &[]), status(Phase::Pending, &[("Succeeded", "Unknown", "Unschedulable")]), &[])]
    #[case::quota(status(Phase::Pending, &[]), status(Phase::Pending, &[("Succeeded", "Unknown", "QuotaExceeded")]), &["QuotaExceeded"])]
    #[case::no_volume(status(Phase::Pending, &[]), status(Phase::Pending, &[("Succeeded", "Unknown", "FailedMount")]), &["FailedMount"])]
    #[case::still_no_volume(status(Phase::Pending, &[("Succeeded", "Unknown", "FailedMount")]), status(Phase::Pending, &[("Succeeded", "Unknown", "FailedMount")]), &[])]
    #[case::runs_on_after_a_failure(status(Phase::Running, &[RUNNING]), status(Phase::Running, &[("Succeeded", "Unknown", "StepFailed")]), &[])]
    #[case::kept_by_a_sidecar(status(Phase::Failed, &[FAILED]), status(Phase::Failed, &[FAILED, ("PodsEnded", "False", "SidecarRuns")]), &["SidecarRuns"])]
    #[case::unswept(status(Phase::Failed, &[FAILED]), status(Phase::Failed, &[FAILED, UNSWEPT]), &["SweepFailed"])]
    #[case::still_unswept(status(Phase::Failed, &[FAILED, UNSWEPT]), status(Phase::Failed, &[FAILED, UNSWEPT]), &[])]
    fn only_new_trouble_is_told(
        #[case] before: WorkplanStatus,
        #[case] after: WorkplanStatus,
        #[case] expected: &[&str],
    ) {
        let reasons: Vec<&str> = news(&before, &after)
            .map(|condition| condition.reason.as_str())
            .collect();
        assert_eq!(reasons, expected);
    }
}
