//! Pods with containers that are not steps.

use jiff::SignedDuration;
use kubeci_api::{Order, Workspace};
use rstest::rstest;

use super::fixtures::*;
use super::*;
use crate::testing::{relay, workplan, workplan_of};

const ENDED: &str = "2026-01-01T00:00:02Z";

fn at(seconds: i64) -> Timestamp {
    ENDED.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn pods_ended(decision: &Decision) -> Option<(&str, &str, &str)> {
    let mut conditions = decision.status.conditions.iter();
    let condition = conditions.find(|condition| condition.type_ == "PodsEnded")?;
    Some((
        &condition.status,
        condition.reason.as_str(),
        condition.message.as_str(),
    ))
}

#[test]
fn law_5_pod_kept_by_sidecar_is_deleted_after_grace() {
    let plan = workplan(Order::Linear, &["| a"]);
    let mut state = observed([(0, pod(0, "| a=0 mesh=run"))]);
    state.now = at(1);
    let early = decided(&plan, &state);
    assert_eq!(early.status.phase, Some(Phase::Completed));
    assert_eq!(pods_ended(&early), None, "most end by themselves");
    assert_eq!((early.actions.len(), early.wake_at), (0, Some(at(5))));

    state.now = at(5);
    let kept = decided(&after(plan.clone(), &early), &state);
    let (status, why, text) = pods_ended(&kept).unwrap();
    assert_eq!((status, why), ("False", "SidecarRuns"));
    assert!(
        text.starts_with("mesh keeps the pod plan-0 running until 2026-01-01T00:00:32Z"),
        "{text}"
    );
    assert_eq!((kept.actions.len(), kept.wake_at), (0, Some(at(30))));

    state.now = at(30);
    let due = decided(&after(plan.clone(), &kept), &state);
    assert_eq!(due.actions, [Action::DeletePod(0)]);
    let (status, why, text) = pods_ended(&due).unwrap();
    assert_eq!((status, why), ("True", "PodDeleted"));
    assert!(
        text.contains("plan-0 was deleted, because mesh kept it running"),
        "{text}"
    );
    assert!(text.contains("30s before"), "{text}");

    let plan = after(plan, &due);
    state.pods.get_mut(&0).unwrap().deleting = true;
    let deleting = decided(&plan, &state);
    assert_eq!(deleting.actions, []);
    assert_eq!(pods_ended(&deleting), pods_ended(&due), "it stays reported");
    state.pods.clear();
    state.certainty = Certainty::Listed;
    assert_eq!(decided(&plan, &state).actions, [Action::Sweep]);
}

#[test]
fn ended_sidecar_leaves_the_pod() {
    let plan = workplan(Order::Linear, &["| a"]);
    let mut state = observed([(0, pod(0, "| a=1 mesh=run"))]);
    state.now = at(6);
    let kept = decided(&plan, &state);
    state.pods = BTreeMap::from([(0, pod(0, "| a=1 mesh=143"))]);
    let ended = decided(&after(plan, &kept), &state);
    let (status, why, _) = pods_ended(&ended).unwrap();
    assert_eq!((status, why), ("True", "Ended"));
    assert_eq!(ended.actions, [Action::Sweep], "its pod stays for its logs");
}

#[rstest]
#[case::native("*mesh=run | a=0")]
#[case::native_that_is_started_again("*mesh=wait:CrashLoopBackOff | a=0")]
fn native_sidecar_is_left_to_the_kubelet(#[case] containers: &str) {
    let plan = workplan(Order::Linear, &["| a"]);
    let decision = decided(&plan, &observed([(0, pod(0, containers))]));
    assert_eq!(decision.status.phase, Some(Phase::Completed));
    assert_eq!((decision.actions.len(), pods_ended(&decision)), (0, None));
}

#[rstest]
#[case::runs("run")]
#[case::has_no_image("wait:ImagePullBackOff")]
fn pod_is_deleted_once_its_own_steps_end(#[case] sidecar: &str) {
    let plan = workplan(Order::Linear, &["| a", "b:a"]);
    let kept = pod(0, &format!("| a=0 mesh={sidecar}"));
    let decision = decided(&plan, &observed([(0, kept), (1, pod(1, "| b=run"))]));
    assert_eq!(phases(&decision.status), "cr");
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

#[test]
fn pod_with_empty_dir_is_deleted() {
    let mut plan = workplan_of(relay(&["| a b:a"]));
    plan.spec.workspace = Workspace::EmptyDir;
    plan.metadata.finalizers = None;
    let decision = decided(
        &plan,
        &observed([(0, pod(0, "| kubeci-runner=0 a=0 b=0 mesh=run"))]),
    );
    assert_eq!(decision.status.phase, Some(Phase::Completed));
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

#[test]
fn pod_without_grace_is_deleted_at_once() {
    let plan = workplan(Order::Linear, &["| a"]);
    let mut state = observed([(0, pod(0, "| a=0 mesh=run"))]);
    (state.now, state.sidecar_grace) = (at(0), SignedDuration::ZERO);
    assert_eq!(decided(&plan, &state).actions, [Action::DeletePod(0)]);
}

#[rstest]
#[case::before_all_steps(Order::Linear, "mesh-init=1 a | b", "ff")]
#[case::between_steps(Order::Linear, "a=0 mesh-init=1 | b", "cf")]
#[case::of_a_relay(Order::Relay, "mesh-init=1 | kubeci-runner a b", "ff")]
fn failed_foreign_init_container_is_named(
    #[case] order: Order,
    #[case] containers: &str,
    #[case] expected: &str,
    #[values(PodPhase::Pending, PodPhase::Failed)] phase: PodPhase,
) {
    let plan = match order {
        Order::Relay => workplan_of(relay(&["| a b"])),
        _ => workplan(order, &["a | b"]),
    };
    let mut pod = pod(0, containers);
    pod.phase = phase;
    for container in &mut pod.containers {
        if let ContainerState::Ended(end) = &mut container.state
            && end.exit_code == 1
        {
            end.message = "iptables: denied".into();
        }
    }
    let decision = decided(&plan, &observed([(0, pod)]));
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        (expected, "InitContainerFailed")
    );
    let text = message(&decision);
    for word in [
        "mesh-init",
        "is not a step",
        "exit code 1",
        "iptables: denied",
    ] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn endless_foreign_init_container_is_given_up() {
    let plan = workplan_of(relay(&["| a b:a"]));
    let mut state = observed([(0, pod(0, "mesh-init=run | kubeci-runner a b"))]);
    state.now = "2026-01-01T00:00:09Z".parse().unwrap();
    let kept = decided(&plan, &state);
    assert_eq!(
        (phases(&kept.status).as_str(), summary(&kept)),
        ("pp", "InitContainerRuns")
    );
    assert!(message(&kept).contains("mesh-init, which is not a step"));
    state.now = "2026-01-01T00:05:01Z".parse().unwrap();
    let given_up = decided(&after(plan, &kept), &state);
    assert_eq!(
        (phases(&given_up.status).as_str(), summary(&given_up)),
        ("fs", "InitContainerRuns")
    );
    assert_eq!(given_up.actions, [Action::DeletePod(0)]);
}

#[test]
fn foreign_init_container_without_image_is_given_up() {
    let plan = workplan(Order::Linear, &["a"]);
    let mut state = observed([(0, pod(0, "mesh-init=wait:ErrImagePull | a"))]);
    state.now = "2026-01-01T00:00:03Z".parse().unwrap();
    let kept = decided(&plan, &state);
    assert_eq!(summary(&kept), "ImagePullBackOff");
    assert!(message(&kept).contains("mesh-init, which is not a step"));
    state.now = "2026-01-01T00:05:00Z".parse().unwrap();
    assert_eq!(phases(&decided(&plan, &state).status), "f");
}
