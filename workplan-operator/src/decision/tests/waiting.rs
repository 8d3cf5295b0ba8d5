//! Everything that a pod can wait for before its containers start: told within ten seconds, and what is wrong given
//! up after five minutes.

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

fn unschedulable(said: &str) -> ObservedPod {
    let mut pod = unplaced();
    pod.unschedulable = Some(said.into());
    pod
}

fn warning(reason: &str, message: &str, second: i64) -> PodWarning {
    PodWarning {
        reason: reason.into(),
        message: message.into(),
        at: at(second),
    }
}

fn looked(pod: &ObservedPod, warning: Option<PodWarning>, second: i64) -> Decision {
    let plan = workplan(Order::Linear, &["a"]);
    let mut facts = facts([(0, pod.clone())]);
    facts.now = at(second);
    facts.warnings = warning.map(|it| (0, it)).into_iter().collect();
    decided(&plan, &facts)
}

#[rstest]
#[case::config_map(
    "FailedMount",
    "configmap \"absent\" not found",
    "correct the Workflow's volumes"
)]
#[case::attach(
    "FailedAttachVolume",
    "Multi-Attach error",
    "correct the Workflow's volumes"
)]
#[case::own_folder(
    "FailedMount",
    "volume \"kubeci-workspace\" : mkdir /kubeci: read-only file system",
    "make /kubeci writable"
)]
#[case::sandbox(
    "FailedCreatePodSandBox",
    "failed to setup network",
    "See to the network"
)]
#[case::unknown("SomethingElse", "said so", "Correct what it names")]
fn law_7_what_a_pods_events_say_is_told_and_given_up(
    #[case] why: &str,
    #[case] said: &str,
    #[case] advice: &str,
) {
    let warning = Some(warning(why, said, 2));
    let told = looked(&unmounted(), warning.clone(), 3);
    assert_eq!((phases(&told.status).as_str(), summary(&told)), ("p", why));
    let message = message(&told);
    for word in [
        said,
        advice,
        "plan-0",
        "n1",
        "fails if this lasts for 5 minutes",
    ] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(told.status.conditions[0].reason, why);
    let given_up = looked(&unmounted(), warning, 300);
    assert_eq!(
        (phases(&given_up.status).as_str(), summary(&given_up)),
        ("f", why)
    );
    assert_eq!(given_up.actions, [Action::DeletePod(0)]);
}

#[test]
fn a_pod_is_looked_at_again_while_it_stands_still() {
    let wakes = [0, 3, 8, 20, 100].map(|second| looked(&unmounted(), None, second).wake_at);
    let expected = [3, 8, 13, 30, 150].map(|second| Some(at(second)));
    assert_eq!(wakes, expected);
    let stalled = [0, 2, 3, 100].map(|second| is_stalled(&unmounted(), at(second)));
    assert_eq!(stalled, [false, false, true, true]);
    assert!(!is_stalled(&unplaced(), at(100)), "its condition says it");
    assert!(!is_stalled(&pod(0, "| a=run"), at(100)));
}

#[test]
fn what_is_merely_slow_is_told_and_not_given_up() {
    assert_eq!(
        looked(&unmounted(), None, 7).status,
        WorkplanStatus::default()
    );
    for second in [8, 3600] {
        let told = looked(&unmounted(), None, second);
        assert_eq!(
            (phases(&told.status).as_str(), summary(&told)),
            ("p", "PodStarting")
        );
        assert!(message(&told).contains("its volumes are being mounted"));
    }
    let told = looked(&pod(0, "| a=wait:ContainerCreating"), None, 9);
    assert!(message(&told).contains("the container a of the pod plan-0 is not up yet"));
}

#[test]
fn what_was_wrong_before_the_pod_went_on_does_not_count() {
    let mut pod = unmounted();
    pod.prepared = Some(at(20));
    let past = Some(warning("FailedMount", "past", 19));
    assert_eq!(summary(&looked(&pod, past, 30)), "PodStarting");
    let now = Some(warning("FailedPostStartHook", "now", 29));
    assert_eq!(summary(&looked(&pod, now, 30)), "FailedPostStartHook");
}

#[test]
fn a_node_that_does_not_take_a_pod_is_told() {
    let mut pod = unmounted();
    pod.started = None;
    let told = looked(&pod, None, 9);
    assert_eq!(summary(&told), "PodNotTaken");
    assert!(message(&told).contains("the kubelet of the node n1"));
}

#[test]
fn a_pod_that_runs_is_not_given_up_for_what_its_events_say() {
    let plan = workplan_of(relay(&["| a b"]));
    let pod = pod(0, "| kubeci-runner=0 a=run b=wait:ContainerCreating");
    let mut facts = facts([(0, pod)]);
    facts.warnings = BTreeMap::from([(0, warning("FailedMount", "no", 400))]);
    let decision = decided(&plan, &facts);
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
fn a_volume_claim_that_is_missing_is_told_as_such(
    #[case] said: &str,
    #[case] why: &str,
    #[case] advice: &str,
) {
    let told = looked(&unschedulable(said), None, 1);
    assert_eq!((phases(&told.status).as_str(), summary(&told)), ("p", why));
    assert!(message(&told).contains(advice), "{}", message(&told));
    assert!(!message(&told).contains("resources.requests"));
    let given_up = looked(&unschedulable(said), None, 300);
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
fn who_fits_on_no_node_is_told_what_helps_and_waited_for(
    #[case] said: &str,
    #[case] has: &[&str],
    #[case] has_not: &[&str],
) {
    let pod = unschedulable(&format!("0/2 nodes are available: {said}"));
    let told = looked(&pod, None, 10_000);
    assert_eq!(
        (phases(&told.status).as_str(), summary(&told)),
        ("p", "Unschedulable")
    );
    let (_, advice) = message(&told).split_once("once one has room").unwrap();
    for word in has {
        assert!(advice.contains(word), "{advice}");
    }
    for word in has_not {
        assert!(!advice.contains(word), "{advice}");
    }
}

#[test]
fn scheduling_gates_are_named_and_given_up() {
    let mut pod = unplaced();
    pod.gates = vec!["example.com/quota".into()];
    let told = looked(&pod, None, 1);
    assert_eq!(summary(&told), "SchedulingGated");
    assert!(message(&told).contains("example.com/quota"));
    assert_eq!(told.wake_at, Some(at(8)));
    let given_up = looked(&pod, None, 300);
    assert_eq!(
        (phases(&given_up.status).as_str(), given_up.actions),
        ("f", vec![Action::DeletePod(0)])
    );
}

#[test]
fn a_scheduler_that_says_nothing_is_told() {
    assert_eq!(looked(&unplaced(), None, 7).wake_at, Some(at(8)));
    let told = looked(&unplaced(), None, 8);
    assert_eq!(
        (summary(&told), told.wake_at, told.status.phase),
        ("NotScheduled", None, Some(Phase::Pending))
    );
}

#[test]
fn any_reason_to_wait_that_the_kubelet_gives_is_told() {
    let told = looked(&pod(0, "| a=wait:SomethingNew"), None, 1);
    assert_eq!(
        (phases(&told.status).as_str(), summary(&told)),
        ("p", "SomethingNew")
    );
    let given_up = looked(&pod(0, "| a=wait:SomethingNew"), None, 300);
    assert_eq!(phases(&given_up.status), "f");
}
