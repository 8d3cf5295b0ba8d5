//! Final steps, and the pods that they are in.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kubeci_api::{Order, StepPhase};
use rstest::rstest;

use super::fixtures::*;
use super::*;
use crate::testing::{relay, workplan, workplan_of};

fn with_finally(mut workplan: Workplan, finally: &[&str]) -> Workplan {
    workplan.spec.finally = finally.iter().map(|&name| name.to_owned()).collect();
    workplan
}

/// The second pod of the first task.
fn second(containers: &str, first: &ObservedPod) -> ObservedPod {
    let mut second = pod(0, containers);
    second.name = "plan-0-a2".into();
    second.succeed(first.clone());
    second
}

#[test]
fn final_pod_comes_after_the_last_end() {
    let plan = with_finally(workplan(Order::Graph, &["| a", "| b", "| f"]), &["f"]);
    let mut b = pod(1, "| b=run");
    b.name = "plan-1".into();
    let runs = decided(&plan, &listed(5, [(0, pod(0, "| a=3")), (1, b.clone())]));
    assert_eq!(
        (phases(&runs.status).as_str(), runs.actions),
        ("frp", vec![])
    );
    assert_eq!(runs.status.finally_at, None);
    let mut b = pod(1, "| b=0");
    b.name = "plan-1".into();
    let ended = decided(&plan, &listed(6, [(0, pod(0, "| a=3")), (1, b)]));
    assert_eq!(ended.actions, [Action::CreatePod(2)]);
    assert_eq!(ended.status.phase, Some(Phase::Running));
    assert_eq!(ended.status.finally_at.map(|it| it.0), Some(at(6)));
}

#[test]
fn final_step_runs_in_another_pod_after_a_cancel() {
    let plan = cancelled(with_finally(
        workplan_of(relay(&["| a b:a f g:f"])),
        &["f", "g"],
    ));
    let running = pod(0, "a=run b=run f=run g=run");
    let stops = decided(&plan, &listed(20, [(0, running)]));
    assert_eq!(stops.actions, [Action::StopPod(0)]);
    let plan = after(plan, &stops);

    let first = stopped(pod(0, "a=143 b=77 f=77 g=77"));
    let next = decided(&plan, &listed(22, [(0, first.clone())]));
    assert_eq!(phases(&next.status), "fspp");
    assert_eq!(next.actions, [Action::CreatePod(0)]);
    let said = "the Workplan was cancelled. Its final steps run";
    assert!(message(&next).starts_with(said), "{}", message(&next));
    assert_eq!(next.status.phase, Some(Phase::Running));
    let attempts = &next.status.steps[2].attempts;
    let reasons: Vec<_> = attempts.iter().map(|it| it.reason.as_deref()).collect();
    assert_eq!(reasons, [Some("PodStopped"), None]);
    let plan = after(plan, &next);

    let runs = decided(&plan, &listed(24, [(0, second("f=run g=run", &first))]));
    assert_eq!(
        (phases(&runs.status).as_str(), runs.actions.len()),
        ("fsrp", 0)
    );
    let plan = after(plan, &runs);
    let ended = decided(&plan, &listed(26, [(0, second("f=0 g=4", &first))]));
    assert_eq!(phases(&ended.status), "fscf");
    let status = (ended.status.phase, reason(&ended));
    assert_eq!(status, (Some(Phase::Cancelled), "Cancelled"));
    let said = "The final step g failed, too: exit code 4.";
    assert!(message(&ended).ends_with(said), "{}", message(&ended));
}

#[test]
fn interrupted_final_step_starts_again() {
    let plan = cancelled(with_finally(workplan_of(relay(&["| a f"])), &["f"]));
    let stops = decided(&plan, &listed(20, [(0, pod(0, "a=run f=run"))]));
    let plan = after(plan, &stops);
    let first = stopped(pod(0, "a=0 f=143"));
    let next = decided(&plan, &listed(22, [(0, first)]));
    assert_eq!(
        (phases(&next.status).as_str(), next.actions.as_slice()),
        ("cp", &[Action::CreatePod(0)][..])
    );
}

#[test]
fn pod_of_final_steps_is_not_stopped() {
    let plan = with_finally(workplan_of(relay(&["| a f"])), &["f"]);
    let runs = decided(&plan, &listed(20, [(0, pod(0, "a=137 f=run"))]));
    assert_eq!(phases(&runs.status), "fr");
    let mut plan = cancelled(after(plan, &runs));
    plan.spec.fail_fast = true;
    let goes_on = decided(&plan, &listed(21, [(0, pod(0, "a=137 f=run"))]));
    assert_eq!(
        (phases(&goes_on.status).as_str(), goes_on.actions),
        ("fr", vec![])
    );
    let ended = decided(&plan, &listed(22, [(0, pod(0, "a=137 f=0"))]));
    assert_eq!(
        (ended.status.phase, summary(&ended)),
        (Some(Phase::Failed), "a: exit code 137")
    );
}

#[test]
fn final_step_that_cannot_observe_an_end_moves() {
    let plan = with_finally(workplan_of(relay(&["| a f"])), &["f"]);
    let moves = decided(&plan, &listed(20, [(0, pod(0, "a=128 f=run"))]));
    assert_eq!(phases(&moves.status), "fp");
    assert_eq!(moves.actions, [Action::DeletePod(0)]);
}

#[rstest]
#[case::cancelled(true)]
#[case::suspended(false)]
fn suspend_holds_only_a_plan_that_goes_on(#[case] cancel: bool) {
    let mut plan = with_finally(workplan(Order::Linear, &["| a", "| f"]), &["f"]);
    (plan.spec.suspend, plan.spec.cancel) = (true, cancel);
    let decision = decided(&plan, &listed(20, []));
    let expected: &[Action] = if cancel { &[Action::CreatePod(1)] } else { &[] };
    assert_eq!(decision.actions, expected);
}

#[test]
fn final_steps_have_a_pending_timeout_of_their_own() {
    let mut plan = with_finally(workplan(Order::Linear, &["| a", "| f"]), &["f"]);
    plan.metadata.creation_timestamp = Some(Time(at(0)));
    let mut waits = pod(1, "| f");
    waits.name = "plan-1".into();
    (waits.node, waits.started, waits.prepared) = (None, None, None);
    waits.unschedulable = Some("0/1 nodes are available".into());
    let ended = decided(&plan, &listed(9000, [(0, pod(0, "| a=0"))]));
    assert_eq!(ended.actions, [Action::CreatePod(1)]);
    let plan = after(plan, &ended);
    let pods = || [(0, pod(0, "| a=0")), (1, waits.clone())];
    let waiting = decided(&plan, &listed(12_600, pods()));
    assert_eq!(waiting.wake_at, Some(at(12_601)));
    let plan = after(plan, &waiting);
    let stops = decided(&plan, &listed(12_601, pods()));
    assert_eq!(stops.actions, [Action::DeletePod(1)]);
    assert_eq!(reason(&stops), "FinallyPendingTimeout");
    let plan = after(plan, &stops);
    let ended = decided(&plan, &listed(12_602, [(0, pod(0, "| a=0"))]));
    assert_eq!(phases(&ended.status), "cs");
    assert_eq!(ended.status.phase, Some(Phase::Failed));
    let said = "no final step started within the pendingTimeout of 1h; the Workplan waited: Unschedulable: ";
    assert!(message(&ended).starts_with(said), "{}", message(&ended));
    assert_eq!(ended.status.steps[1].phase, StepPhase::Skipped);
}
