//! Pods into which somebody has put containers that are no steps.

use jiff::SignedDuration;
use kubeci_api::{Order, WorkspaceKind};
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
fn law_5_a_pod_that_a_sidecar_keeps_is_deleted_after_a_grace() {
    let plan = workplan(Order::Linear, &["| a"]);
    let mut facts = facts([(0, pod(0, "| a=0 mesh=run"))]);
    facts.now = at(1);
    let early = decided(&plan, &facts);
    assert_eq!(early.status.phase, Some(Phase::Completed));
    assert_eq!(pods_ended(&early), None, "most end by themselves");
    assert_eq!((early.actions.len(), early.wake_at), (0, Some(at(5))));

    facts.now = at(5);
    let told = decided(&after(plan.clone(), &early), &facts);
    let (status, why, said) = pods_ended(&told).unwrap();
    assert_eq!((status, why), ("False", "SidecarRuns"));
    assert!(
        said.starts_with("the pod plan-0 is kept by mesh until 2026-01-01T00:00:32Z"),
        "{said}"
    );
    assert_eq!((told.actions.len(), told.wake_at), (0, Some(at(30))));

    facts.now = at(30);
    let due = decided(&after(plan.clone(), &told), &facts);
    assert_eq!(due.actions, [Action::DeletePod(0)]);
    let (status, why, said) = pods_ended(&due).unwrap();
    assert_eq!((status, why), ("True", "PodDeleted"));
    assert!(
        said.contains("plan-0 was deleted, which mesh kept"),
        "{said}"
    );
    assert!(said.contains("30s before"), "{said}");

    let plan = after(plan, &due);
    facts.pods.get_mut(&0).unwrap().deleting = true;
    let deleting = decided(&plan, &facts);
    assert_eq!(deleting.actions, []);
    assert_eq!(pods_ended(&deleting), pods_ended(&due), "it stays said");
    facts.pods.clear();
    facts.certainty = Certainty::Listed;
    assert_eq!(decided(&plan, &facts).actions, [Action::Sweep]);
}

#[test]
fn a_sidecar_that_ends_by_itself_leaves_the_pod() {
    let plan = workplan(Order::Linear, &["| a"]);
    let mut facts = facts([(0, pod(0, "| a=1 mesh=run"))]);
    facts.now = at(6);
    let kept = decided(&plan, &facts);
    facts.pods = BTreeMap::from([(0, pod(0, "| a=1 mesh=143"))]);
    let ended = decided(&after(plan, &kept), &facts);
    let (status, why, _) = pods_ended(&ended).unwrap();
    assert_eq!((status, why), ("True", "Ended"));
    assert_eq!(ended.actions, [Action::Sweep], "its pod stays for its logs");
}

#[rstest]
#[case::native("*mesh=run | a=0")]
#[case::native_that_is_started_again("*mesh=wait:CrashLoopBackOff | a=0")]
fn what_the_kubelet_ends_with_a_pod_is_left_to_it(#[case] containers: &str) {
    let plan = workplan(Order::Linear, &["| a"]);
    let decision = decided(&plan, &facts([(0, pod(0, containers))]));
    assert_eq!(decision.status.phase, Some(Phase::Completed));
    assert_eq!((decision.actions.len(), pods_ended(&decision)), (0, None));
}

#[rstest]
#[case::runs("run")]
#[case::has_no_image("wait:ImagePullBackOff")]
fn a_pod_is_ended_as_soon_as_its_own_steps_are(#[case] sidecar: &str) {
    let plan = workplan(Order::Linear, &["| a", "b:a"]);
    let kept = pod(0, &format!("| a=0 mesh={sidecar}"));
    let decision = decided(&plan, &facts([(0, kept), (1, pod(1, "| b=run"))]));
    assert_eq!(phases(&decision.status), "cr");
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

#[test]
fn a_pod_with_a_folder_of_its_own_ends_too() {
    let mut plan = workplan_of(relay(&["| a b:a"]));
    plan.spec.workspace = WorkspaceKind::EmptyDir;
    plan.metadata.finalizers = None;
    let decision = decided(
        &plan,
        &facts([(0, pod(0, "| kubeci-runner=0 a=0 b=0 mesh=run"))]),
    );
    assert_eq!(decision.status.phase, Some(Phase::Completed));
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

#[test]
fn no_grace_means_at_once() {
    let plan = workplan(Order::Linear, &["| a"]);
    let mut facts = facts([(0, pod(0, "| a=0 mesh=run"))]);
    (facts.now, facts.sidecar_grace) = (at(0), SignedDuration::ZERO);
    assert_eq!(decided(&plan, &facts).actions, [Action::DeletePod(0)]);
}

#[rstest]
#[case::before_all_steps(Order::Linear, "mesh-init=1 a | b", "ff")]
#[case::between_steps(Order::Linear, "a=0 mesh-init=1 | b", "cf")]
#[case::of_a_relay(Order::Relay, "mesh-init=1 | kubeci-runner a b", "ff")]
fn an_init_container_of_others_that_fails_is_named(
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
    let decision = decided(&plan, &facts([(0, pod)]));
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        (expected, "InitContainerFailed")
    );
    let said = message(&decision);
    for word in ["mesh-init", "is no step", "exit code 1", "iptables: denied"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn an_init_container_of_others_that_never_ends_is_given_up() {
    let plan = workplan_of(relay(&["| a b:a"]));
    let mut facts = facts([(0, pod(0, "mesh-init=run | kubeci-runner a b"))]);
    facts.now = "2026-01-01T00:00:09Z".parse().unwrap();
    let told = decided(&plan, &facts);
    assert_eq!(
        (phases(&told.status).as_str(), summary(&told)),
        ("pp", "InitContainerRuns")
    );
    assert!(message(&told).contains("mesh-init, which is no step"));
    facts.now = "2026-01-01T00:05:01Z".parse().unwrap();
    let given_up = decided(&after(plan, &told), &facts);
    assert_eq!(
        (phases(&given_up.status).as_str(), summary(&given_up)),
        ("fs", "InitContainerRuns")
    );
    assert_eq!(given_up.actions, [Action::DeletePod(0)]);
}

#[test]
fn an_init_container_of_others_without_an_image_is_given_up() {
    let plan = workplan(Order::Linear, &["a"]);
    let mut facts = facts([(0, pod(0, "mesh-init=wait:ErrImagePull | a"))]);
    facts.now = "2026-01-01T00:00:03Z".parse().unwrap();
    let told = decided(&plan, &facts);
    assert_eq!(summary(&told), "ImagePullBackOff");
    assert!(message(&told).contains("mesh-init, which is no step"));
    facts.now = "2026-01-01T00:05:00Z".parse().unwrap();
    assert_eq!(phases(&decided(&plan, &facts).status), "f");
}
