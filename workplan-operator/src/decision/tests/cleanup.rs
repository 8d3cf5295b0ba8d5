//! Plans that have ended or are being deleted, and their clean-up.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kubeci_api::Order;
use rstest::rstest;
use serde_json::{Value, json};

use super::fixtures::*;
use super::*;
use crate::refusal::Verdict;
use crate::testing::workplan;

/// A plan whose only pod has ended, as its status says.
fn ended() -> (Workplan, ObservedState) {
    let workplan = workplan(Order::Linear, &["a"]);
    let state = observed([(0, pod(0, "| a=0"))]);
    let decision = decide(&workplan, &state);
    (after(workplan, &decision), state)
}

#[rstest]
#[case::asks(NodeState::Ready, SweepState::NotAsked, None, &[Action::Sweep])]
#[case::waits(NodeState::Ready, SweepState::Underway, None, &[])]
#[case::failed(NodeState::Ready, SweepState::Failed("busy".into()), Some(("False", "SweepFailed")), &[])]
#[case::done(NodeState::Ready, SweepState::Done, Some(("True", "Removed")), &[Action::RemoveFinalizer])]
#[case::away(NodeState::NotReady, SweepState::NotAsked, Some(("False", "NodeNotReady")), &[])]
#[case::gone(NodeState::Gone, SweepState::NotAsked, Some(("True", "NodeGone")), &[Action::RemoveFinalizer])]
fn law_5_folder_of_ended_plan_is_removed(
    #[case] node: NodeState,
    #[case] sweep: SweepState,
    #[case] expected: Option<(&str, &str)>,
    #[case] actions: &[Action],
) {
    let (workplan, mut state) = ended();
    (state.node, state.sweep) = (node, sweep);
    let decision = decided(&workplan, &state);
    assert_eq!(
        (cleaned(&decision), decision.actions.as_slice()),
        (expected, actions)
    );
    assert_eq!(decision.status.phase, Some(Phase::Completed));
}

/// A failed plan whose folder is kept for an hour.
fn kept() -> (Workplan, ObservedState) {
    let mut workplan = workplan(Order::Linear, &["a"]);
    let keep = json!({"keep": {"for": "1h"}});
    workplan.spec.workspace = serde_json::from_value(keep).unwrap();
    let state = observed([(0, pod(0, "| a=1"))]);
    let decision = decided(&workplan, &state);
    (after(workplan, &decision), state)
}

/// An hour after the end of the step.
fn keep_end() -> Timestamp {
    "2026-01-01T01:00:02Z".parse().unwrap()
}

#[rstest]
#[case::kept(NodeState::Ready, 0, ("False", "Kept"), &[])]
#[case::away(NodeState::NotReady, 0, ("False", "NodeNotReady"), &[])]
#[case::gone(NodeState::Gone, 0, ("True", "NodeGone"), &[Action::RemoveFinalizer])]
#[case::last_second(NodeState::Ready, 50 * 60 + 1, ("False", "Kept"), &[])]
#[case::over(NodeState::Ready, 50 * 60 + 2, ("False", "KeepEnded"), &[Action::Sweep])]
#[case::over_and_away(NodeState::NotReady, 50 * 60 + 2, ("False", "NodeNotReady"), &[])]
fn law_5_kept_folder_is_removed_after_its_time(
    #[case] node: NodeState,
    #[case] seconds: i64,
    #[case] expected: (&str, &str),
    #[case] actions: &[Action],
) {
    let (workplan, mut state) = kept();
    state.node = node;
    state.now += jiff::SignedDuration::from_secs(seconds);
    let decision = decided(&workplan, &state);
    assert_eq!(
        (cleaned(&decision), decision.actions.as_slice()),
        (Some(expected), actions)
    );
    let waits = state.now < keep_end() && node != NodeState::Gone;
    assert_eq!(decision.wake_at.is_some(), state.now < keep_end());
    assert!(!waits || decision.wake_at == Some(keep_end()));
}

#[test]
fn kept_folder_is_named_with_its_time() {
    let (workplan, state) = kept();
    let decision = decided(&workplan, &state);
    let conditions = decision.status.conditions.iter();
    let messages = conditions.map(|it| it.message.as_str());
    let words = ["/kubeci/ns/_/plan", "n1", "2026-01-01T01:00:02Z", "delete"];
    let mut named = messages.filter(|it| words.iter().all(|word| it.contains(word)));
    assert!(named.next().is_some(), "{:?}", decision.status.conditions);
}

#[test]
fn law_5_removal_of_kept_folder_goes_on() {
    let (workplan, mut state) = kept();
    let before = state.now;
    state.now = keep_end();
    let workplan = after(workplan.clone(), &decided(&workplan, &state));
    state.now = before;
    assert_eq!(decided(&workplan, &state).actions, [Action::Sweep]);
}

#[test]
fn law_5_deletion_removes_kept_folder() {
    let (workplan, state) = kept();
    let decision = decided(&deleted(workplan), &state);
    assert_eq!(cleaned(&decision), Some(("False", "KeepEnded")));
    assert_eq!(decision.actions, [Action::DeletePod(0), Action::Sweep]);
}

#[test]
fn law_5_removed_folder_frees_the_workplan() {
    let (workplan, mut state) = ended();
    state.sweep = SweepState::Done;
    let mut workplan = after(workplan.clone(), &decide(&workplan, &state));
    state.sweep = SweepState::NotAsked;
    assert_eq!(
        decided(&workplan, &state).actions,
        [Action::RemoveFinalizer]
    );
    workplan.finalizers_mut().clear();
    assert_eq!(decided(&workplan, &state).actions, []);
}

#[test]
fn law_5_folder_stays_while_a_container_may_run() {
    let (workplan, mut state) = ended();
    state.pods = BTreeMap::from([(0, pod(0, "| a=run"))]);
    assert_eq!(decided(&workplan, &state).actions, []);
    state.pods.clear();
    assert_eq!(decided(&workplan, &state).actions, [Action::ListPods]);
    state.certainty = Certainty::Listed;
    assert_eq!(decided(&workplan, &state).actions, [Action::Sweep]);
}

#[rstest]
#[case::failed(json!({}), Action::Sweep)]
#[case::cancelled(json!({"cancel": true}), Action::ListPods)]
#[case::fail_fast(json!({"failFast": true}), Action::ListPods)]
#[case::timeout(json!({"timeout": "1m"}), Action::ListPods)]
fn law_5_skipped_steps_may_have_a_pod(#[case] settings: Value, #[case] action: Action) {
    let workplan = workplan(Order::Linear, &["a", "b:a"]);
    let state = observed([(0, pod(0, "| a=1"))]);
    let decision = decide(&workplan, &state);
    let mut workplan = after(workplan, &decision);
    assert_eq!(phases(&decision.status), "fs");
    let mut spec = serde_json::to_value(&workplan.spec).unwrap();
    let Value::Object(settings) = settings else {
        panic!("not an object");
    };
    spec.as_object_mut().unwrap().extend(settings);
    workplan.spec = serde_json::from_value(spec).unwrap();
    assert_eq!(decided(&workplan, &state).actions, [action]);
}

#[test]
fn unplaced_plan_leaves_nothing() {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut state = observed([]);
    let message = "no".to_owned();
    state.refusals.insert(
        0,
        Refusal {
            verdict: Verdict::Never,
            reason: "PodRefused",
            message,
        },
    );
    assert_eq!(decided(&workplan, &state).actions, [Action::ListPods]);
    state.certainty = Certainty::Listed;
    let decision = decided(&workplan, &state);
    assert_eq!(cleaned(&decision), Some(("True", "NeverPlaced")));
    assert_eq!(decision.actions, [Action::RemoveFinalizer]);
}

#[test]
fn gone_node_fails_the_plan() {
    let workplan = workplan(Order::Linear, &["a", "b"]);
    let mut state = observed([(0, pod(0, "| a=run"))]);
    state.node = NodeState::NotReady;
    assert_eq!(summary(&decided(&workplan, &state)), "NodeNotReady");
    state.node = NodeState::Gone;
    let decision = decided(&workplan, &state);
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
fn law_5_deleted_plan_stops_pods_then_is_swept() {
    let workplan = deleted(workplan(Order::Linear, &["a", "b"]));
    let mut state = observed([(0, pod(0, "| a=run"))]);
    let decision = decided(&workplan, &state);
    assert_eq!(decision.actions, [Action::DeletePod(0), Action::ListPods]);
    assert_eq!(summary(&decision), "Deleting");
    assert_eq!(
        decision.status.node.as_deref(),
        Some("n1"),
        "known when the pods are gone"
    );
    let workplan = after(workplan, &decision);

    state.certainty = Certainty::Listed;
    state.pods.get_mut(&0).unwrap().deleting = true;
    assert_eq!(decided(&workplan, &state).actions, []);
    state.pods.clear();
    assert_eq!(decided(&workplan, &state).actions, [Action::Sweep]);
    state.sweep = SweepState::Done;
    let done = decided(&workplan, &state);
    assert_eq!(done.actions, [Action::RemoveFinalizer]);
    assert_eq!(
        Some(done.status),
        workplan.status,
        "nobody would read another"
    );
}

#[test]
fn deleted_plan_waits_for_unready_node() {
    let workplan = deleted(workplan(Order::Linear, &["a"]));
    let mut state = observed([(0, pod(0, "| a=run"))]);
    state.pods.get_mut(&0).unwrap().deleting = true;
    state.node = NodeState::NotReady;
    let decision = decided(&workplan, &state);
    assert_eq!(cleaned(&decision), Some(("False", "NodeNotReady")));
    assert_eq!(decision.actions, []);
}

#[test]
fn deleted_plan_creates_no_pod() {
    let workplan = deleted(workplan(Order::Linear, &["a"]));
    let mut state = observed([]);
    assert_eq!(decided(&workplan, &state).actions, [Action::ListPods]);
    state.certainty = Certainty::Listed;
    assert_eq!(
        decided(&workplan, &state).actions,
        [Action::RemoveFinalizer]
    );
}
