//! All reasons for which a pod waits before its containers start. They are reported within ten seconds; problems fail
//! the steps after five minutes.

use jiff::SignedDuration;
use kubeci_api::Order;
use rstest::rstest;

use super::fixtures::*;
use super::*;
use crate::testing::{relay, workplan, workplan_of};

const CREATED: &str = "2026-01-01T00:00:00Z";

fn at(seconds: i64) -> Timestamp {
    CREATED.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// A pod that is on no node.
fn unplaced() -> ObservedPod {
    let mut pod = pod(0, "| a");
    (pod.node, pod.started, pod.prepared) = (None, None, None);
    pod
}

/// A pod that its node has taken, and whose volumes are not mounted.
fn unmounted() -> ObservedPod {
    let mut pod = pod(0, "| a=wait:ContainerCreating");
    pod.prepared = None;
    pod
}

fn unschedulable(text: &str) -> ObservedPod {
    let mut pod = unplaced();
    pod.unschedulable = Some(text.into());
    pod
}

fn warning(reason: &str, message: &str, second: i64) -> PodWarning {
    PodWarning {
        reason: reason.into(),
        message: message.into(),
        at: at(second),
    }
}

fn decided_at(pod: &ObservedPod, warning: Option<PodWarning>, second: i64) -> Decision {
    let plan = workplan(Order::Linear, &["a"]);
    let mut state = observed([(0, pod.clone())]);
    state.now = at(second);
    state.warnings = warning.map(|it| (0, it)).into_iter().collect();
    decided(&plan, &state)
}

#[rstest]
#[case::config_map(
    "FailedMount",
    "configmap \"absent\" not found",
    "correct spec.volumes"
)]
#[case::attach("FailedAttachVolume", "Multi-Attach error", "correct spec.volumes")]
#[case::own_folder(
    "FailedMount",
    "volume \"kubeci-workspace\" : mkdir /kubeci: read-only file system",
    "make /kubeci writable"
)]
#[case::sandbox(
    "FailedCreatePodSandBox",
    "failed to setup network",
    "Check the network"
)]
#[case::unknown(
    "SomethingElse",
    "not found",
    "Correct the object that the message names"
)]
fn law_7_pod_warning_is_reported_then_given_up(
    #[case] why: &str,
    #[case] text: &str,
    #[case] advice: &str,
) {
    let warning = Some(warning(why, text, 2));
    let decision = decided_at(&unmounted(), warning.clone(), 3);
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        ("p", why)
    );
    let message = message(&decision);
    for word in [
        text,
        advice,
        "plan-0",
        "n1",
        "fails if this lasts for 5 minutes",
    ] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(decision.status.conditions[0].reason, why);
    let given_up = decided_at(&unmounted(), warning, 300);
    assert_eq!(
        (phases(&given_up.status).as_str(), summary(&given_up)),
        ("f", why)
    );
    assert_eq!(given_up.actions, [Action::DeletePod(0)]);
}

#[test]
fn stalled_pod_is_reconciled_ever_later() {
    let wakes = [0, 3, 8, 20, 100].map(|second| decided_at(&unmounted(), None, second).wake_at);
    let expected = [3, 8, 13, 30, 150].map(|second| Some(at(second)));
    assert_eq!(wakes, expected);
    let stalled = [0, 2, 3, 100].map(|second| is_stalled(&unmounted(), at(second)));
    assert_eq!(stalled, [false, false, true, true]);
    assert!(!is_stalled(&unplaced(), at(100)), "its condition says it");
    assert!(!is_stalled(&pod(0, "| a=run"), at(100)));
}

#[test]
fn slow_pod_is_reported_and_not_given_up() {
    assert_eq!(
        decided_at(&unmounted(), None, 7).status,
        WorkplanStatus::default()
    );
    for second in [8, 3600] {
        let decision = decided_at(&unmounted(), None, second);
        assert_eq!(
            (phases(&decision.status).as_str(), summary(&decision)),
            ("p", "PodStarting")
        );
        assert!(message(&decision).contains("its volumes are being mounted"));
    }
    let decision = decided_at(&pod(0, "| a=wait:ContainerCreating"), None, 9);
    assert!(message(&decision).contains("the container a of the pod plan-0 has not started"));
}

#[test]
fn warning_before_progress_does_not_count() {
    let mut pod = unmounted();
    pod.prepared = Some(at(20));
    let past = Some(warning("FailedMount", "past", 19));
    assert_eq!(summary(&decided_at(&pod, past, 30)), "PodStarting");
    let now = Some(warning("FailedPostStartHook", "now", 29));
    assert_eq!(summary(&decided_at(&pod, now, 30)), "FailedPostStartHook");
}

#[test]
fn pod_not_taken_by_node_is_reported() {
    let mut pod = unmounted();
    pod.started = None;
    let decision = decided_at(&pod, None, 9);
    assert_eq!(summary(&decision), "PodNotTaken");
    assert!(message(&decision).contains("the kubelet of the node n1"));
}

#[test]
fn running_pod_outlasts_its_warnings() {
    let plan = workplan_of(relay(&["| a b"]));
    let pod = pod(0, "| kubeci-runner=0 a=run b=wait:ContainerCreating");
    let mut state = observed([(0, pod)]);
    state.warnings = BTreeMap::from([(0, warning("FailedMount", "no", 400))]);
    let decision = decided(&plan, &state);
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        ("rp", "PodStarting")
    );
}

#[rstest]
#[case::absent(
    r#"0/2 nodes are available: persistentvolumeclaim "absent" not found. not found"#,
    "VolumeClaimNotFound",
    "Create the PersistentVolumeClaim"
)]
#[case::unbound(
    "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/2 nodes are available",
    "VolumeClaimNotBound",
    "StorageClass"
)]
fn missing_volume_claim_is_named_then_given_up(
    #[case] text: &str,
    #[case] why: &str,
    #[case] advice: &str,
) {
    let decision = decided_at(&unschedulable(text), None, 1);
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        ("p", why)
    );
    assert!(
        message(&decision).contains(advice),
        "{}",
        message(&decision)
    );
    assert!(!message(&decision).contains("resources.requests"));
    let given_up = decided_at(&unschedulable(text), None, 300);
    assert_eq!(
        (phases(&given_up.status).as_str(), summary(&given_up)),
        ("f", why)
    );
    assert_eq!(given_up.actions, [Action::DeletePod(0)]);
}

#[rstest]
#[case::room("2 Insufficient cpu.", &["resources.requests"], &["tolerations", "nodeSelector"])]
#[case::taint("1 node(s) had untolerated taint {a: b}.", &["tolerations"], &["resources.requests"])]
#[case::selector("2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Insufficient cpu.", &["nodeSelector"], &["resources.requests", "tolerations"])]
#[case::volume("1 node(s) had volume node affinity conflict.", &["volumes"], &["resources.requests"])]
#[case::port("1 node(s) didn't have free ports for the requested pod ports.", &["host port"], &["tolerations"])]
#[case::two("1 Insufficient memory, 1 node(s) had untolerated taint {a: b}.", &["resources.requests", "tolerations"], &["host port"])]
#[case::other("1 node(s) were somehow wrong.", &["resources.requests", "nodeSelector", "tolerations"], &[])]
fn unschedulable_pod_has_fitting_advice(
    #[case] text: &str,
    #[case] has: &[&str],
    #[case] has_not: &[&str],
) {
    let pod = unschedulable(&format!("0/2 nodes are available: {text}"));
    let decision = decided_at(&pod, None, 10_000);
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        ("p", "Unschedulable")
    );
    let (_, advice) = message(&decision)
        .split_once("when a node has room")
        .unwrap();
    for word in has {
        assert!(advice.contains(word), "{advice}");
    }
    for word in has_not {
        assert!(!advice.contains(word), "{advice}");
    }
}

#[test]
fn scheduling_gates_are_named_then_given_up() {
    let mut pod = unplaced();
    pod.gates = vec!["example.com/quota".into()];
    let decision = decided_at(&pod, None, 1);
    assert_eq!(summary(&decision), "SchedulingGated");
    assert!(message(&decision).contains("example.com/quota"));
    assert_eq!(decision.wake_at, Some(at(8)));
    let given_up = decided_at(&pod, None, 300);
    assert_eq!(
        (phases(&given_up.status).as_str(), given_up.actions),
        ("f", vec![Action::DeletePod(0)])
    );
}

#[test]
fn silent_scheduler_is_reported() {
    assert_eq!(decided_at(&unplaced(), None, 7).wake_at, Some(at(8)));
    let decision = decided_at(&unplaced(), None, 8);
    assert_eq!(
        (summary(&decision), decision.wake_at, decision.status.phase),
        ("NotScheduled", None, Some(Phase::Pending))
    );
}

#[test]
fn unknown_waiting_reason_is_reported() {
    let decision = decided_at(&pod(0, "| a=wait:SomethingNew"), None, 1);
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        ("p", "SomethingNew")
    );
    let given_up = decided_at(&pod(0, "| a=wait:SomethingNew"), None, 300);
    assert_eq!(phases(&given_up.status), "f");
}
