//! Warning Events for what somebody should look at; nothing is said of what goes as it should.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use kubeci_api::{Phase, Workplan, WorkplanStatus};

/// Reasons to wait that need somebody to do something.
const NEED_HELP: [&str; 3] = [
    "QuotaExceeded",
    "ServiceAccountMissing",
    "OperatorForbidden",
];

/// The longest note that the API server takes.
const NOTE_MAX: usize = 1000;

pub struct Announcer {
    recorder: Recorder,
}

impl Announcer {
    pub fn new(client: Client, identity: String) -> Self {
        let reporter = Reporter {
            controller: "kube.ci/workplan-operator".into(),
            instance: Some(identity),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
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
    let is_new = |condition: &Condition| {
        let mut known = before.conditions.iter();
        !known.any(|known| known.type_ == condition.type_ && known.reason == condition.reason)
    };
    after
        .conditions
        .iter()
        .filter(move |condition| match condition.type_.as_str() {
            "Succeeded" => {
                failed || (NEED_HELP.contains(&condition.reason.as_str()) && is_new(condition))
            }
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
