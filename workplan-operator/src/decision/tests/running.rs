//! States of a plan that runs, and what is decided about them.

use kube::ResourceExt;
use kubeci_api::Order;
use rstest::rstest;

use super::fixtures::*;
use super::*;
use crate::testing::workplan;

#[test]
fn new_plan_gets_first_pod_and_no_status() {
    let workplan = workplan(Order::Linear, &["a | b", "c"]);
    let decision = decided(&workplan, &observed([]));
    assert_eq!(decision.actions, [Action::CreatePod(0)]);
    assert_eq!(decision.status, WorkplanStatus::default());
}

#[test]
fn finalizer_comes_before_the_first_pod() {
    let mut workplan = workplan(Order::Linear, &["a"]);
    workplan.finalizers_mut().clear();
    assert_eq!(
        decided(&workplan, &observed([])).actions,
        [Action::AddFinalizer]
    );
}

#[rstest]
#[case::started("a=run | b", "rp", &[])]
#[case::serial_done("a=0 | b", "cp", &[])]
#[case::one_of_two("a=0 | b=run", "cr", &[])]
#[case::all_done("a=0 | b=0", "cc", &[Action::CreatePod(1)])]
#[case::waiting_its_turn("a=wait:PodInitializing | b=wait:PodInitializing", "", &[])]
fn law_1_step_ends_with_its_container(
    #[case] containers: &str,
    #[case] expected: &str,
    #[case] actions: &[Action],
) {
    let workplan = workplan(Order::Linear, &["a | b", "c:b"]);
    let decision = decided(&workplan, &observed([(0, pod(0, containers))]));
    assert!(
        phases(&decision.status).starts_with(expected),
        "{}",
        phases(&decision.status)
    );
    assert_eq!(decision.actions, actions);
}

#[test]
fn law_1_graph_task_waits_only_for_its_dependencies() {
    let workplan = workplan(Order::Graph, &["| slow fast", "x:fast", "y:slow", "z:x,y"]);
    let decision = decided(&workplan, &observed([(0, pod(0, "| slow=run fast=0"))]));
    assert_eq!(decision.actions, [Action::CreatePod(1)]);
    assert_eq!(decision.status.progress.as_deref(), Some("1/5"));
    assert_eq!(decision.status.task_index, Some(0));
    assert_eq!(decision.status.node.as_deref(), Some("n1"));
}

#[test]
fn law_4_pods_wait_until_the_first_is_placed() {
    let workplan = workplan(Order::Graph, &["a", "b", "c"]);
    assert_eq!(
        decided(&workplan, &observed([])).actions,
        [Action::CreatePod(0)]
    );
    let mut unplaced = pod(0, "| a");
    unplaced.node = None;
    assert_eq!(decided(&workplan, &observed([(0, unplaced)])).actions, []);
    let placed = observed([(0, pod(0, "| a"))]);
    assert_eq!(
        decided(&workplan, &placed).actions,
        [Action::CreatePod(1), Action::CreatePod(2)]
    );
}

#[test]
fn first_pod_may_end_unplaced() {
    let workplan = workplan(Order::Graph, &["a", "b"]);
    let mut never = pod(0, "| a");
    (never.node, never.phase) = (None, PodPhase::Failed);
    assert_eq!(
        decided(&workplan, &observed([(0, never)])).actions,
        [Action::CreatePod(1)]
    );
}

#[test]
fn failed_step_skips_only_its_dependents() {
    let workplan = workplan(Order::Graph, &["| a b", "c:a | d", "e:b", "f:c,e"]);
    let decision = decided(&workplan, &observed([(0, pod(0, "| a=3 b=0"))]));
    assert_eq!(phases(&decision.status), "fcspps");
    assert_eq!(
        decision.actions,
        [Action::CreatePod(1), Action::CreatePod(2)]
    );
    assert_eq!(summary(&decision), "a: exit code 3");
    let skipped = decision.status.steps[2].message.as_deref();
    assert_eq!(skipped, Some("skipped: its dependency a did not complete"));
}

#[test]
fn failed_serial_step_ends_its_pod() {
    let workplan = workplan(Order::Linear, &["a b | c"]);
    let stopped = pod(0, "a=1 b=wait:PodInitializing | c=wait:PodInitializing");
    let decision = decided(&workplan, &observed([(0, stopped)]));
    assert_eq!(phases(&decision.status), "fss");
    assert_eq!(decision.status.phase, Some(Phase::Failed));
    assert_eq!(decision.actions, [Action::Sweep]);
    let expected = "the step a failed: exit code 1. 2 steps were skipped. Log of the step: kubectl -n ns logs plan-0 -c a";
    assert_eq!(message(&decision), expected);
}

#[test]
fn steps_left_out_of_a_pod_stay_skipped() {
    let workplan = workplan(Order::Linear, &["a", "b:a | c"]);
    let mut rest = pod(1, "| c=0");
    rest.phase = PodPhase::Succeeded;
    let decision = decided(&workplan, &observed([(0, pod(0, "| a=1")), (1, rest)]));
    assert_eq!(phases(&decision.status), "fsc");
}

#[test]
fn completed_plan_is_swept() {
    let workplan = workplan(Order::Linear, &["a | b"]);
    let decision = decided(&workplan, &observed([(0, pod(0, "a=0 | b=0"))]));
    let status = &decision.status;
    assert_eq!(status.phase, Some(Phase::Completed));
    assert_eq!(
        (summary(&decision), message(&decision)),
        ("", "every step has completed")
    );
    assert_eq!(status.progress.as_deref(), Some("2/2"));
    assert_eq!(status.finished_at, status.steps[1].finished_at);
    assert_eq!(status.conditions[0].status, "True");
    assert_eq!(decision.actions, [Action::Sweep]);
}

#[rstest]
#[case::succeeded(PodPhase::Succeeded, None, "c", "")]
#[case::evicted(PodPhase::Failed, Some("Evicted"), "f", "Evicted")]
#[case::no_reason(PodPhase::Failed, None, "f", "PodFailed")]
fn pod_phase_ends_silent_containers(
    #[case] phase: PodPhase,
    #[case] why: Option<&str>,
    #[case] expected: &str,
    #[case] expected_reason: &str,
) {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut pod = pod(0, "| a=run");
    (pod.phase, pod.reason) = (phase, why.map(Into::into));
    let decision = decided(&workplan, &observed([(0, pod)]));
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        (expected, expected_reason)
    );
}

#[rstest]
#[case::oom("OOMKilled", "a: OOMKilled", "resources.limits.memory")]
#[case::no_such_command("StartError", "a: StartError", "exec: \"nope\"")]
#[case::error("Error", "a: exit code 137", "exec: \"nope\"")]
fn container_end_has_summary_and_advice(
    #[case] why: &str,
    #[case] expected: &str,
    #[case] text: &str,
) {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut pod = pod(0, "| a=137");
    if let ContainerState::Ended(end) = &mut pod.containers[0].state {
        (end.reason, end.message) = (why.into(), "exec: \"nope\" not found".into());
    }
    let decision = decided(&workplan, &observed([(0, pod)]));
    assert_eq!(summary(&decision), expected);
    assert!(message(&decision).contains(text), "{}", message(&decision));
}

#[rstest]
#[case::exit_code("Error", "disk full", "Error", Some("disk full"), "a: exit code 137")]
#[case::without_log("Error", "", "Error", None, "a: exit code 137")]
#[case::no_command("StartError", "", "StartError", None, "a: StartError")]
#[case::too_little_memory(
    "StartError",
    "unable to set memory limit to 1048576",
    "StartError",
    Some(
        "the container cannot start with its limit of memory; raise resources.limits.memory: unable to set memory limit to 1048576"
    ),
    "a: StartError"
)]
fn step_failure_has_reason_and_message(
    #[case] why: &str,
    #[case] log: &str,
    #[case] expected: &str,
    #[case] expected_message: Option<&str>,
    #[case] expected_summary: &str,
) {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut pod = pod(0, "| a=137");
    if let ContainerState::Ended(end) = &mut pod.containers[0].state {
        (end.reason, end.message) = (why.into(), log.into());
    }
    let decision = decided(&workplan, &observed([(0, pod)]));
    let step = &decision.status.steps[0];
    assert_eq!(step.reason.as_deref(), Some(expected));
    assert_eq!(step.message.as_deref(), expected_message);
    assert_eq!(step.attempts, [], "one attempt is not listed");
    assert_eq!(reason(&decision), "StepFailed");
    assert_eq!(summary(&decision), expected_summary);
    assert_eq!(decision.status.conditions[0].reason, "StepFailed");
}

/// Version 0.1.0 wrote no reasons of steps, and no summary.
#[test]
fn status_of_earlier_version_is_read() {
    let mut workplan = workplan(Order::Graph, &["| a b", "c:b"]);
    workplan.status = serde_json::from_value(serde_json::json!({
        "phase": "running", "reason": "a: exit code 3", "taskIndex": 0, "node": "n1", "progress": "0/3",
        "message": "the step a failed: exit code 3: disk full. Its log: kubectl -n ns logs plan-0 -c a",
        "observedGeneration": 1,
        "steps": [
            {"name": "a", "phase": "failed", "pod": "plan-0", "container": "a", "exitCode": 3,
             "finishedAt": "2026-01-01T00:00:02.000000Z", "message": "exit code 3: disk full"},
            {"name": "b", "phase": "running", "pod": "plan-0", "container": "b"},
            {"name": "c", "phase": "pending"},
        ],
    }))
    .unwrap();
    let decision = decided(&workplan, &observed([(0, pod(0, "| a=3 b=0"))]));
    assert_eq!(phases(&decision.status), "fcp");
    assert_eq!(decision.actions, [Action::CreatePod(1)]);
    let step = &decision.status.steps[0];
    assert_eq!(step.reason.as_deref(), Some("Error"));
    assert_eq!(step.message.as_deref(), Some("disk full"));
    assert_eq!(
        (reason(&decision), summary(&decision)),
        ("StepFailed", "a: exit code 3")
    );
    let expected = "the step a failed: exit code 3: disk full. Log of the step: kubectl -n ns logs plan-0 -c a";
    assert_eq!(message(&decision), expected);
}

#[test]
fn pods_are_listed_before_slots_are_given() {
    let mut workplan = workplan(Order::Graph, &["| a b", "| c", "| d"]);
    workplan.spec.max_parallel = 2.try_into().ok();
    let mut state = observed([(0, pod(0, "| a=run b=0"))]);
    assert_eq!(decided(&workplan, &state).actions, [Action::ListPods]);
    state.certainty = Certainty::Listed;
    let decision = decided(&workplan, &state);
    assert_eq!(decision.actions, [Action::CreatePod(1)]);
    let expected = "waiting for one of 2 slots (maxParallel)";
    assert_eq!(decision.status.steps[3].message.as_deref(), Some(expected));
    // A pod that the watch had not returned has the slot.
    state.pods.insert(2, pod(2, "| d"));
    assert_eq!(decided(&workplan, &state).actions, []);
}

#[test]
fn deleted_pod_is_waited_for_then_missing() {
    let workplan = workplan(Order::Linear, &["a | b", "c:b"]);
    let mut going = pod(0, "a=0 | b=run");
    going.deleting = true;
    let decision = decided(&workplan, &observed([(0, going.clone())]));
    assert_eq!(
        (phases(&decision.status).as_str(), decision.actions.len()),
        ("crp", 0)
    );
    let workplan = after(workplan, &decision);

    assert_eq!(decide(&workplan, &observed([])).actions, [Action::ListPods]);
    let mut asked = observed([]);
    asked.certainty = Certainty::Listed;
    let gone = decided(&workplan, &asked);
    assert_eq!(
        (phases(&gone.status).as_str(), summary(&gone)),
        ("cfs", "PodDeleted")
    );
    assert_eq!(gone.actions, [Action::Sweep]);

    going.containers[1] = container("b=143", false);
    let stopped = decided(&workplan, &observed([(0, going)]));
    assert_eq!(
        (phases(&stopped.status).as_str(), summary(&stopped)),
        ("cfs", "PodDeleted")
    );
}

#[test]
fn law_6_unrecorded_pod_is_created_again() {
    let workplan = workplan(Order::Linear, &["a", "b"]);
    assert_eq!(
        decided(&workplan, &observed([])).actions,
        [Action::CreatePod(0)]
    );
    let decision = decided(&workplan, &observed([(0, pod(0, "| a=0"))]));
    assert_eq!(decision.actions, [Action::CreatePod(1)]);
    let workplan = after(workplan, &decision);
    assert_eq!(
        decided(&workplan, &observed([(0, pod(0, "| a=0"))])).actions,
        [Action::CreatePod(1)]
    );
}
