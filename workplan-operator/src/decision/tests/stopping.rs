//! Plans and steps that are ended: time limits, the first failure, cancel, suspend.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kubeci_api::{Order, StepPhase};
use rstest::rstest;

use super::fixtures::*;
use super::*;
use crate::testing::{relay, workplan, workplan_of};

fn timed(mut workplan: Workplan, step: &str, seconds: u64) -> Workplan {
    let tasks = workplan.spec.tasks.iter_mut();
    let mut steps = tasks.flat_map(|it| it.serial_steps.iter_mut().chain(&mut it.parallel_steps));
    let step = steps.find(|it| it.name == step).unwrap();
    step.timeout = Some(Duration::from_secs(seconds).into());
    workplan
}

fn ends(text: &str) -> ObservedPod {
    let mut pod = pod(0, text);
    for container in &mut pod.containers {
        if let ContainerState::Ended(end) = &mut container.state {
            end.finished = Some(at(13));
        }
    }
    pod
}

#[test]
fn step_is_stopped_at_its_timeout() {
    let plan = timed(workplan(Order::Linear, &["a | b"]), "a", 10);
    let running = || [(0, pod(0, "a=run | b"))];
    let before = decided(&plan, &listed(11, running()));
    assert_eq!((before.actions, before.wake_at), (vec![], Some(at(12))));
    let watched = ObservedState {
        certainty: Certainty::Watched,
        ..listed(12, running())
    };
    assert_eq!(decide(&plan, &watched).actions, [Action::ListPods]);

    let stops = decided(&plan, &listed(12, running()));
    assert_eq!(stops.actions, [Action::StopPod(0)]);
    let step = &stops.status.steps[0];
    assert_eq!(
        (step.phase, step.reason.as_deref()),
        (StepPhase::Running, Some("Timeout"))
    );
    assert_eq!(step.stopping_since.as_ref().map(|it| it.0), Some(at(12)));

    let plan = after(plan, &stops);
    let ended = decided(&plan, &listed(14, [(0, stopped(ends("a=143 | b")))]));
    assert_eq!(phases(&ended.status), "fs");
    assert_eq!(
        (reason(&ended), summary(&ended)),
        ("StepFailed", "a: Timeout")
    );
    let expected = "the step a failed: Timeout: the step ran longer than its timeout of 10s. \
                    1 step was skipped. Log of the step: kubectl -n ns logs plan-0 -c a";
    assert_eq!(message(&ended), expected);
    assert_eq!(ended.status.steps[0].exit_code, Some(143));
    assert_eq!(ended.status.steps[0].stopping_since, None);
}

/// The node may report that the pod has ended before it reports the ends of its containers.
#[test]
fn timeout_without_exit_code_names_the_log() {
    let plan = timed(workplan(Order::Linear, &["a |"]), "a", 10);
    let stops = decided(&plan, &listed(12, [(0, pod(0, "a=run |"))]));
    let plan = after(plan, &stops);
    let ended = decided(&plan, &listed(14, [(0, stopped(pod(0, "a=run |")))]));
    assert_eq!(ended.status.steps[0].exit_code, None);
    let log = "Log of the step: kubectl -n ns logs plan-0 -c a";
    assert!(message(&ended).ends_with(log), "{}", message(&ended));
}

#[rstest]
#[case::before_the_pod_is_stopped("a=run |", &[Action::StopPod(0)])]
#[case::ended_with_0("a=0 |", &[Action::Sweep])]
fn recorded_stop_is_continued(#[case] containers: &str, #[case] actions: &[Action]) {
    let plan = timed(workplan(Order::Linear, &["a"]), "a", 10);
    let stops = decided(&plan, &listed(12, [(0, pod(0, "a=run |"))]));
    let plan = after(plan, &stops);
    let next = decided(&plan, &listed(20, [(0, ends(containers))]));
    assert_eq!(next.actions, actions);
    assert_eq!(next.status.steps[0].reason.as_deref(), Some("Timeout"));
}

/// The kubelet may start the next container before it receives the stop.
#[test]
fn step_after_a_stopped_one_is_held_until_the_pod_ends() {
    let plan = timed(workplan(Order::Linear, &["a b:a |"]), "a", 10);
    let stops = decided(&plan, &listed(12, [(0, pod(0, "a=run b |"))]));
    let plan = after(plan, &stops);
    let held = decided(&plan, &listed(14, [(0, ends("a=0 b |"))]));
    assert_eq!(
        (phases(&held.status).as_str(), held.actions.as_slice()),
        ("fp", &[Action::StopPod(0)][..])
    );
    let plan = after(plan, &held);
    let never = decided(&plan, &listed(15, [(0, stopped(ends("a=0 b |")))]));
    assert_eq!(
        (phases(&never.status).as_str(), summary(&never)),
        ("fs", "a: Timeout")
    );
    let started = decided(&plan, &listed(15, [(0, stopped(ends("a=0 b=137 |")))]));
    assert_eq!(
        (phases(&started.status).as_str(), summary(&started)),
        ("ff", "a: Timeout")
    );
    assert_eq!(started.status.steps[1].reason.as_deref(), Some("Stopped"));
}

#[test]
fn step_that_ended_in_time_is_not_stopped() {
    let plan = timed(workplan(Order::Linear, &["a"]), "a", 10);
    let stops = decided(&plan, &listed(12, [(0, pod(0, "a=run |"))]));
    let plan = after(plan, &stops);
    let ended = decided(&plan, &listed(13, [(0, pod(0, "a=0 |"))]));
    assert_eq!(phases(&ended.status), "c");
}

#[test]
fn step_runner_keeps_the_limits_of_its_relay() {
    let plan = timed(workplan_of(relay(&["| a b"])), "a", 10);
    let decision = decided(&plan, &listed(60, [(0, pod(0, "a=run b=run"))]));
    assert_eq!(decision.actions, []);
}

#[test]
fn step_beside_a_stopped_one_is_stopped_with_it() {
    let plan = workplan(Order::Linear, &["a b"]);
    let mut pod = stopped(pod(0, "a=0 b=137 |"));
    pod.phase = PodPhase::Failed;
    let decision = decided(&plan, &listed(20, [(0, pod)]));
    assert_eq!(summary(&decision), "b: Stopped");
}

#[test]
fn plan_ends_at_its_timeout() {
    let mut plan = workplan(Order::Linear, &["| a b", "c"]);
    plan.spec.timeout = Some(Duration::from_mins(1).into());
    let running = || [(0, pod(0, "| a=run b=0"))];
    assert_eq!(decided(&plan, &listed(61, running())).wake_at, Some(at(62)));
    let stops = decided(&plan, &listed(62, running()));
    assert_eq!(
        (phases(&stops.status).as_str(), reason(&stops)),
        ("rcs", "Timeout")
    );
    assert_eq!(stops.actions, [Action::StopPod(0)]);
    let plan = after(plan, &stops);
    let mut ended = stopped(pod(0, "| a=137 b=0"));
    if let ContainerState::Ended(end) = &mut ended.containers[0].state {
        end.finished = Some(at(90));
    }
    let ended = decided(&plan, &listed(95, [(0, ended)]));
    assert_eq!(
        (ended.status.phase, reason(&ended)),
        (Some(Phase::Failed), "Timeout")
    );
    let expected = "the Workplan ran longer than its timeout of 1m; it waited for the step a. 1 step was skipped.";
    assert_eq!(message(&ended), expected);
    assert_eq!(ended.status.steps[0].reason.as_deref(), Some("Stopped"));
}

#[test]
fn pending_plan_fails_with_what_it_waited_on() {
    let mut plan = workplan(Order::Linear, &["| a", "| b"]);
    plan.metadata.creation_timestamp = Some(Time(at(0)));
    let mut waits = pod(0, "| a");
    (waits.node, waits.started, waits.prepared) = (None, None, None);
    waits.unschedulable = Some("0/1 nodes are available: 1 Insufficient cpu.".into());
    let waiting = |second| listed(second, [(0, waits.clone())]);
    assert_eq!(decided(&plan, &waiting(3600)).wake_at, Some(at(3601)));
    let stops = decided(&plan, &waiting(3601));
    assert_eq!(stops.actions, [Action::DeletePod(0)]);
    assert_eq!(
        (phases(&stops.status).as_str(), reason(&stops)),
        ("ps", "PendingTimeout")
    );
    let plan = after(plan, &stops);
    let ended = decided(&plan, &listed(3602, []));
    assert_eq!(
        (ended.status.phase, reason(&ended)),
        (Some(Phase::Failed), "PendingTimeout")
    );
    let text = message(&ended);
    let expected =
        "no step started within the pendingTimeout of 1h; the Workplan waited: Unschedulable: ";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.ends_with("No step has run."), "{text}");
}

#[test]
fn plan_that_runs_has_no_pending_timeout() {
    let mut plan = workplan(Order::Linear, &["| a", "| b"]);
    plan.metadata.creation_timestamp = Some(Time(at(0)));
    let decision = decided(&plan, &listed(7200, [(0, pod(0, "| a=run"))]));
    assert_eq!((decision.actions, decision.wake_at), (vec![], None));
}

#[test]
fn allowed_failure_does_not_end_the_plan() {
    let mut plan = workplan(Order::Graph, &["| a", "| b"]);
    plan.spec.fail_fast = true;
    plan.spec.tasks[0].parallel_steps[0].allow_failure = true;
    let mut b = pod(1, "| b=run");
    b.name = "plan-1".into();
    let goes_on = decided(&plan, &listed(20, [(0, pod(0, "| a=3")), (1, b)]));
    assert_eq!(phases(&goes_on.status), "fr");
    assert_eq!(goes_on.actions, []);
}

#[test]
fn pod_that_no_node_has_taken_is_deleted() {
    let plan = cancelled(workplan(Order::Linear, &["| a"]));
    let mut waits = pod(0, "| a");
    waits.started = None;
    let decision = decided(&plan, &listed(20, [(0, waits)]));
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

/// The API server lists a pod whose container has just started as one that has not.
#[test]
fn step_whose_start_is_reported_late_is_stopped() {
    let mut plan = workplan(Order::Graph, &["| a", "b | c:b"]);
    plan.spec.fail_fast = true;
    let mut b = pod(1, "b | c");
    b.name = "plan-1".into();
    let stops = decided(&plan, &listed(20, [(0, pod(0, "| a=3")), (1, b)]));
    assert_eq!(stops.actions, [Action::StopPod(1)]);
    let plan = after(plan, &stops);
    let mut b = pod(1, "b=run | c");
    b.name = "plan-1".into();
    b.stopped = true;
    let runs = decided(&plan, &listed(21, [(0, pod(0, "| a=3")), (1, b)]));
    let plan = after(plan, &runs);
    let mut b = stopped(pod(1, "b=143 | c"));
    b.name = "plan-1".into();
    let ended = decided(&plan, &listed(22, [(0, pod(0, "| a=3")), (1, b)]));
    assert_eq!(phases(&ended.status), "ffs");
    assert_eq!(ended.status.steps[1].reason.as_deref(), Some("Stopped"));
}

#[test]
fn first_failure_ends_a_plan_with_fail_fast() {
    let mut plan = workplan(Order::Graph, &["| a", "| b", "| c:b"]);
    plan.spec.fail_fast = true;
    let mut b = pod(1, "| b=run");
    b.name = "plan-1".into();
    let stops = decided(&plan, &listed(20, [(0, pod(0, "| a=3")), (1, b.clone())]));
    assert_eq!(phases(&stops.status), "frs");
    assert_eq!(stops.actions, [Action::StopPod(1)]);
    let skipped = stops.status.steps[2].message.as_deref();
    assert_eq!(
        skipped,
        Some("skipped: the step a failed, and failFast is set")
    );
    let plan = after(plan, &stops);
    let mut b = stopped(pod(1, "| b=143"));
    if let ContainerState::Ended(end) = &mut b.containers[0].state {
        end.finished = Some(at(20));
    }
    let ended = decided(&plan, &listed(22, [(0, pod(0, "| a=3")), (1, b)]));
    assert_eq!(
        (phases(&ended.status).as_str(), summary(&ended)),
        ("ffs", "a: exit code 3")
    );
    let stopped = ended.status.steps[1].message.as_deref();
    assert_eq!(
        stopped,
        Some("the step was stopped: the step a failed, and failFast is set")
    );
}

#[rstest]
#[case::no_pod(None, "ss", &[Action::RemoveFinalizer])]
#[case::not_started(Some("a | b"), "pp", &[Action::StopPod(0)])]
#[case::running(Some("a=run | b"), "rp", &[Action::StopPod(0)])]
#[case::one_has_ended(Some("a=0 | b=run"), "cr", &[Action::StopPod(0)])]
fn cancelled_plan_is_stopped(
    #[case] containers: Option<&str>,
    #[case] expected: &str,
    #[case] actions: &[Action],
) {
    let plan = cancelled(workplan(Order::Linear, &["a | b"]));
    let pods = containers.map(|it| (0, pod(0, it)));
    let decision = decided(&plan, &listed(20, pods));
    assert_eq!(phases(&decision.status), expected);
    assert_eq!(decision.actions, actions);
    assert_eq!(reason(&decision), "Cancelled");
    let has_ended = decision.status.phase == Some(Phase::Cancelled);
    assert_eq!(has_ended, containers.is_none());
    let succeeded = &decision.status.conditions[0];
    let value = if has_ended { "False" } else { "Unknown" };
    assert_eq!(
        (succeeded.status.as_str(), succeeded.reason.as_str()),
        (value, "Cancelled")
    );
}

#[test]
fn pod_that_the_watch_has_not_returned_is_stopped() {
    let plan = cancelled(workplan(Order::Linear, &["| a"]));
    assert_eq!(decide(&plan, &observed([])).actions, [Action::ListPods]);
    let stops = decided(&plan, &listed(20, [(0, pod(0, "| a"))]));
    let plan = after(plan, &stops);
    assert_eq!(decide(&plan, &observed([])).actions, [Action::ListPods]);
    let watched = |pod| decide(&plan, &observed([(0, pod)])).actions;
    assert_eq!(watched(pod(0, "| a")), [Action::StopPod(0)]);
    let mut waits = pod(0, "| a");
    waits.started = None;
    assert_eq!(watched(waits), [Action::ListPods]);
}

#[test]
fn cancelled_plan_says_what_it_waits_for() {
    let plan = cancelled(workplan(Order::Linear, &["| a"]));
    let away = |second| ObservedState {
        node: NodeState::NotReady,
        ..listed(second, [(0, pod(0, "| a=run"))])
    };
    let stops = decided(&plan, &away(20));
    let expected =
        "the Workplan was cancelled. Its steps are being stopped; it waits: NodeNotReady: ";
    assert!(message(&stops).starts_with(expected), "{}", message(&stops));
    let plan = after(plan, &stops);
    assert_eq!(message(&decided(&plan, &away(30))), message(&stops));
    let back = decided(&plan, &listed(40, [(0, stopped(ends("| a=143")))]));
    assert_eq!(message(&back), "the Workplan was cancelled.");
}

#[test]
fn suspended_plan_can_be_cancelled() {
    let mut plan = cancelled(workplan(Order::Linear, &["| a"]));
    plan.spec.suspend = true;
    let decision = decided(&plan, &listed(20, []));
    assert_eq!(decision.status.phase, Some(Phase::Cancelled));
}

#[test]
fn cancelled_relay_skips_what_has_not_started() {
    let plan = cancelled(workplan_of(relay(&["| a b:a"])));
    let stops = decided(&plan, &listed(20, [(0, pod(0, "a=run b=run"))]));
    assert_eq!(phases(&stops.status), "rp");
    assert_eq!(stops.actions, [Action::StopPod(0)]);
    let plan = after(plan, &stops);
    let ended = decided(&plan, &listed(22, [(0, stopped(ends("a=143 b=77")))]));
    assert_eq!(
        (phases(&ended.status).as_str(), ended.status.phase),
        ("fs", Some(Phase::Cancelled))
    );
    assert_eq!(
        message(&ended),
        "the Workplan was cancelled. 1 step was skipped."
    );
}

#[test]
fn cancel_comes_too_late_for_an_ended_plan() {
    let plan = cancelled(workplan(Order::Linear, &["a"]));
    let decision = decided(&plan, &listed(20, [(0, pod(0, "a=0 |"))]));
    assert_eq!(decision.status.phase, Some(Phase::Completed));
}

#[test]
fn suspended_plan_creates_no_pod() {
    let mut plan = workplan(Order::Linear, &["| a", "| b"]);
    plan.spec.suspend = true;
    let new = decided(&plan, &observed([]));
    assert_eq!(
        (new.actions.as_slice(), reason(&new)),
        (&[][..], "Suspended")
    );
    let running = decided(&plan, &observed([(0, pod(0, "| a=0"))]));
    assert_eq!(
        (running.actions.as_slice(), phases(&running.status).as_str()),
        (&[][..], "cp")
    );
    let condition = |decision: &Decision| {
        let mut conditions = decision.status.conditions.iter();
        let condition = conditions.find(|it| it.type_ == "Suspended").unwrap();
        condition.status.clone()
    };
    assert_eq!(condition(&running), "True");
    let mut plan = after(plan, &running);
    plan.spec.suspend = false;
    let resumed = decided(&plan, &observed([(0, pod(0, "| a=0"))]));
    assert_eq!(resumed.actions, [Action::CreatePod(1)]);
    assert_eq!(
        (condition(&resumed).as_str(), reason(&resumed)),
        ("False", "")
    );
}
