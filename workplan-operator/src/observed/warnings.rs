//! Events of pods about what keeps them from starting.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;

/// The Event that explains best what keeps a pod from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodWarning {
    pub reason: String,
    pub message: String,
    pub at: Timestamp,
}

/// Of the warnings of this last time the most frequent one counts. Others only sum up that its cause lasts.
const LATELY: SignedDuration = SignedDuration::from_mins(3);

/// Warnings that do not tell what keeps a pod from starting: about placement, which is in the pod's own condition, and
/// about a hook, whose failure ends only its own container.
const OTHERS: [&str; 2] = ["FailedScheduling", "FailedPostStartHook"];

/// The kubelet has not received a ConfigMap or Secret yet. It tries again within a second.
const NOT_SYNCED: [&str; 2] = [
    "failed to sync configmap cache",
    "failed to sync secret cache",
];
/// From this number on it lasts.
const LASTING: i32 = 4;

/// The warning that counts for each pod, by its uid.
#[must_use]
pub fn warnings(events: &[Event]) -> HashMap<String, PodWarning> {
    let mut known: HashMap<&str, Vec<(i32, PodWarning)>> = HashMap::new();
    for event in events {
        if let (Some(uid), Some(warning)) = (&event.involved_object.uid, read(event)) {
            known.entry(uid).or_default().push((times(event), warning));
        }
    }
    let counts = known
        .into_iter()
        .filter_map(|(uid, all)| Some((uid.to_owned(), counting(all)?)));
    counts.collect()
}

fn counting(all: Vec<(i32, PodWarning)>) -> Option<PodWarning> {
    let last = all.iter().map(|(_, warning)| warning.at).max()?;
    let late = all
        .into_iter()
        .filter(|(_, warning)| last.duration_since(warning.at) <= LATELY);
    let counting = late.max_by_key(|(times, warning)| (*times, warning.at));
    counting.map(|(_, warning)| warning)
}

fn read(event: &Event) -> Option<PodWarning> {
    let reason = event
        .reason
        .clone()
        .filter(|reason| !OTHERS.contains(&reason.as_str()))
        .filter(|_| event.type_.as_deref() == Some("Warning"))?;
    let message = event.message.clone().unwrap_or_default();
    let is_passing = times(event) < LASTING && NOT_SYNCED.iter().any(|text| message.contains(text));
    Some(PodWarning {
        reason,
        message,
        at: at(event).filter(|_| !is_passing)?,
    })
}

fn at(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref();
    let series = series.and_then(|series| series.last_observed_time.as_ref());
    let micro = series.or(event.event_time.as_ref()).map(|time| time.0);
    let second = event.last_timestamp.as_ref().map(|time| time.0);
    micro.into_iter().chain(second).max()
}

fn times(event: &Event) -> i32 {
    let series = event.series.as_ref().and_then(|series| series.count);
    series.or(event.count).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(reason: &str, message: &str, at: &str, count: i32) -> Value {
        json!({
            "metadata": {}, "involvedObject": {"uid": "pod"}, "type": "Warning",
            "reason": reason, "message": message, "count": count,
            "lastTimestamp": format!("2026-01-01T00:{at}Z"),
        })
    }

    fn counting_message(events: &[Value]) -> Option<String> {
        let events: Vec<Event> = events
            .iter()
            .map(|event| serde_json::from_value(event.clone()).unwrap())
            .collect();
        warnings(&events).remove("pod").map(|it| it.message)
    }

    #[test]
    fn most_frequent_warning_counts() {
        let cause = event("FailedMount", "configmap not found", "02:00", 8);
        let summary = event("FailedMount", "timed out", "02:03", 1);
        assert_eq!(
            counting_message(&[cause, summary]).unwrap(),
            "configmap not found"
        );
    }

    #[test]
    fn old_warning_does_not_count() {
        let past = event("FailedMount", "past", "01:00", 8);
        let now = event("FailedCreatePodSandBox", "now", "09:00", 1);
        assert_eq!(counting_message(&[past, now]).unwrap(), "now");
    }

    #[test]
    fn failed_hook_keeps_no_pod_from_starting() {
        let hook = event("FailedPostStartHook", "PostStartHook failed", "02:00", 1);
        assert_eq!(counting_message(&[hook]), None);
    }

    #[test]
    fn unsynced_volume_counts_when_it_lasts() {
        let message = "MountVolume.SetUp failed for volume \"kube-api-access-x\" : failed to sync configmap cache: \
                       timed out waiting for the condition";
        let unsynced = |count| event("FailedMount", message, "01:00", count);
        assert_eq!(counting_message(&[unsynced(LASTING - 1)]), None);
        assert_eq!(counting_message(&[unsynced(LASTING)]).unwrap(), message);
    }

    #[test]
    fn normal_and_scheduling_events_do_not_count() {
        let mut normal = event("Pulling", "pulling", "01:00", 1);
        normal["type"] = json!("Normal");
        let placement = event("FailedScheduling", "no room", "01:00", 1);
        assert_eq!(counting_message(&[normal, placement]), None);
    }
}
