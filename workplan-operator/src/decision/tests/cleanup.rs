//! Plans that are over or deleted, and what is left to do for them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kubeci_api::Order;
use rstest::rstest;

use super::fixtures::*;
use super::*;
use crate::refusal::Verdict;
use crate::testing::workplan;

/// A plan whose only pod has ended, as its status says.
fn ended() -> (Workplan, ObservedState) {
    let workplan = workplan(Order::Linear, &["a"]);
    let facts = facts([(0, pod(0, "| a=0"))]);
    let decision = decide(&workplan, &facts);
    (after(workplan, &decision), facts)
}

#[rstest]
#[case::asks(NodeState::Ready, SweepState::NotAsked, None, &[Action::Sweep])]
#[case::waits(NodeState::Ready, SweepState::Underway, None, &[])]
#[case::failed(NodeState::Ready, SweepState::Failed("busy".into()), Some(("False", "SweepFailed")), &[])]
#[case::done(NodeState::Ready, SweepState::Done, Some(("True", "Removed")), &[Action::RemoveFinalizer])]
#[case::away(NodeState::NotReady, SweepState::NotAsked, Some(("False", "NodeNotReady")), &[])]
#[case::gone(NodeState::Gone, SweepState::NotAsked, Some(("True", "NodeGone")), &[Action::RemoveFinalizer])]
fn law_5_the_folder_is_removed(
    #[case] node: NodeState,
    #[case] sweep: SweepState,
    #[case] expected: Option<(&str, &str)>,
    #[case] actions: &[Action],
) {
    let (workplan, mut facts) = ended();
    (facts.node, facts.sweep) = (node, sweep);
    let decision = decided(&workplan, &facts);
    assert_eq!(
        (cleaned(&decision), decision.actions.as_slice()),
        (expected, actions)
    );
    assert_eq!(decision.status.phase, Some(Phase::Completed));
}

#[test]
fn law_5_a_folder_that_was_removed_frees_the_workplan() {
    let (workplan, mut facts) = ended();
    facts.sweep = SweepState::Done;
    let mut workplan = after(workplan.clone(), &decide(&workplan, &facts));
    facts.sweep = SweepState::NotAsked;
    assert_eq!(
        decided(&workplan, &facts).actions,
        [Action::RemoveFinalizer]
    );
    workplan.finalizers_mut().clear();
    assert_eq!(decided(&workplan, &facts).actions, []);
}

#[test]
fn law_5_nothing_is_swept_while_a_container_may_run() {
    let (workplan, mut facts) = ended();
    facts.pods = BTreeMap::from([(0, pod(0, "| a=run"))]);
    assert_eq!(decided(&workplan, &facts).actions, []);
    facts.pods.clear();
    assert_eq!(decided(&workplan, &facts).actions, [Action::ListPods]);
    facts.certainty = Certainty::Listed;
    assert_eq!(decided(&workplan, &facts).actions, [Action::Sweep]);
}

#[test]
fn a_plan_that_was_never_placed_leaves_nothing() {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut facts = facts([]);
    let message = "no".to_owned();
    facts.refusals.insert(
        0,
        Refusal {
            verdict: Verdict::Never,
            reason: "PodRefused",
            message,
        },
    );
    assert_eq!(decided(&workplan, &facts).actions, [Action::ListPods]);
    facts.certainty = Certainty::Listed;
    let decision = decided(&workplan, &facts);
    assert_eq!(cleaned(&decision), Some(("True", "NeverPlaced")));
    assert_eq!(decision.actions, [Action::RemoveFinalizer]);
}

#[test]
fn a_node_that_is_gone_ends_the_plan() {
    let workplan = workplan(Order::Linear, &["a", "b"]);
    let mut facts = facts([(0, pod(0, "| a=run"))]);
    facts.node = NodeState::NotReady;
    assert_eq!(summary(&decided(&workplan, &facts)), "NodeNotReady");
    facts.node = NodeState::Gone;
    let decision = decided(&workplan, &facts);
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        ("ff", "NodeGone")
    );
    assert_eq!(cleaned(&decision), None, "its pod is deleted first");
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

fn deleted(mut workplan: Workplan) -> Workplan {
    workplan.meta_mut().deletion_timestamp = Some(Time(now()));
    workplan
}

#[test]
fn law_5_a_deleted_plan_stops_its_pods_then_sweeps_then_goes() {
    let workplan = deleted(workplan(Order::Linear, &["a", "b"]));
    let mut facts = facts([(0, pod(0, "| a=run"))]);
    let decision = decided(&workplan, &facts);
    assert_eq!(decision.actions, [Action::DeletePod(0), Action::ListPods]);
    assert_eq!(summary(&decision), "Deleting");
    assert_eq!(
        decision.status.node.as_deref(),
        Some("n1"),
        "known when the pods are gone"
    );
    let workplan = after(workplan, &decision);

    facts.certainty = Certainty::Listed;
    facts.pods.get_mut(&0).unwrap().deleting = true;
    assert_eq!(decided(&workplan, &facts).actions, []);
    facts.pods.clear();
    assert_eq!(decided(&workplan, &facts).actions, [Action::Sweep]);
    facts.sweep = SweepState::Done;
    let done = decided(&workplan, &facts);
    assert_eq!(done.actions, [Action::RemoveFinalizer]);
    assert_eq!(
        Some(done.status),
        workplan.status,
        "nobody would read another"
    );
}

#[test]
fn a_deleted_plan_says_that_it_waits_for_its_node() {
    let workplan = deleted(workplan(Order::Linear, &["a"]));
    let mut facts = facts([(0, pod(0, "| a=run"))]);
    facts.pods.get_mut(&0).unwrap().deleting = true;
    facts.node = NodeState::NotReady;
    let decision = decided(&workplan, &facts);
    assert_eq!(cleaned(&decision), Some(("False", "NodeNotReady")));
    assert_eq!(decision.actions, []);
}

#[test]
fn a_deleted_plan_creates_no_pod() {
    let workplan = deleted(workplan(Order::Linear, &["a"]));
    let mut facts = facts([]);
    assert_eq!(decided(&workplan, &facts).actions, [Action::ListPods]);
    facts.certainty = Certainty::Listed;
    assert_eq!(
        decided(&workplan, &facts).actions,
        [Action::RemoveFinalizer]
    );
}
