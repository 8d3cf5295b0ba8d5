//! Pods in which one of kubeci's own containers has not completed.

use kubeci_api::RetryOn;
use rstest::rstest;

use super::fixtures::{decided, message, observed, phases, pod, summary};
use super::*;
use crate::pod_builder::RUNNER;
use crate::testing::{relay, workplan_of};

/// Its steps were started at 00:02, when there was no step runner.
fn started_without(runner: &str) -> ObservedPod {
    let mut pod = pod(0, &format!("| kubeci-runner={runner} a=128 b=128"));
    for step in &mut pod.containers[1..] {
        let ContainerState::Ended(end) = &mut step.state else {
            unreachable!()
        };
        end.reason = "StartError".into();
        end.started = None;
        end.message = format!("exec: {RUNNER:?}: stat {RUNNER}: no such file or directory");
    }
    pod
}

fn come_at(mut pod: ObservedPod, time: &str) -> ObservedPod {
    if let ContainerState::Ended(end) = &mut pod.containers[0].state {
        end.started = Some(time.parse().unwrap());
    }
    pod
}

fn decide(pod: ObservedPod) -> Decision {
    let plan = workplan_of(relay(&["| a b:a"]));
    let mut state = observed([(0, pod)]);
    state.now = "2026-01-01T00:00:13Z".parse().unwrap();
    decided(&plan, &state)
}

#[test]
fn missing_step_runner_fails_the_steps() {
    let decision = decide(pod(0, "| kubeci-runner=wait:ErrImageNeverPull a b"));
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        ("fs", "RunnerNotInstalled")
    );
    let text = message(&decision);
    assert!(text.contains("the image of the workplan operator, which contains the step runner"));
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

#[test]
fn steps_wait_for_a_late_step_runner() {
    let decision = decide(started_without("wait:ErrImagePull"));
    assert_eq!(phases(&decision.status), "pp");
    assert_eq!(decision.actions, []);
    assert!(decision.wake_at.is_some(), "it is not waited for for ever");
    assert_eq!(summary(&decision), "ImagePullBackOff");
    for step in decision.status.steps {
        assert_eq!(step.reason.as_deref(), Some("RunnerNotInstalled"));
    }
}

/// Its steps have ended, but the kubelet retries the pull of the step runner without end.
#[test]
fn law_5_pod_without_step_runner_is_deleted() {
    let plan = workplan_of(relay(&["| a b:a"]));
    let state = observed([(0, started_without("wait:ErrImagePull"))]);
    let given_up = decided(&plan, &state);
    assert_eq!(phases(&given_up.status), "fs");
    assert_eq!(given_up.actions, [Action::DeletePod(0)]);
}

#[rstest]
fn law_6_pod_with_late_step_runner_is_replaced(#[values("0", "125")] runner: &str) {
    let mut pod = come_at(started_without(runner), "2026-01-01T00:00:12Z");
    pod.phase = PodPhase::Failed;
    let decision = decide(pod.clone());
    assert_eq!(phases(&decision.status), "pp");
    assert_eq!(decision.actions, []);
    assert!(decision.wake_at.is_some());
    let attempt = &decision.status.steps[0].attempts[0];
    assert_eq!(attempt.reason.as_deref(), Some("RunnerNotInstalled"));
    assert_eq!(attempt.failure, Some(RetryOn::Infrastructure));
    assert_eq!(
        decision.status.node.as_deref(),
        Some("n1"),
        "where its folder lies"
    );
    pod.deleting = true;
    let decision = decide(pod);
    assert_eq!(
        (phases(&decision.status).as_str(), decision.actions),
        ("pp", vec![])
    );
}

/// If a node starts containers too early, a new pod would have the same result.
#[test]
fn step_runner_in_time_is_final() {
    let decision = decide(come_at(started_without("0"), "2026-01-01T00:00:01Z"));
    assert_eq!(phases(&decision.status), "fs");
    assert!(
        message(&decision).contains("no such file"),
        "{}",
        message(&decision)
    );
}

#[test]
fn completed_step_outlasts_late_step_runner() {
    let mut pod = come_at(started_without("0"), "2026-01-01T00:00:12Z");
    if let ContainerState::Ended(end) = &mut pod.containers[1].state {
        (end.exit_code, end.reason) = (0, "Completed".into());
    }
    assert_eq!(phases(&decide(pod).status), "cf");
}
