//! Steps that are attempted again in a new pod.

use kubeci_api::{Backoff, Order, Retry, RetryOn, StepStatus};
use rstest::rstest;

use super::fixtures::*;
use super::*;
use crate::pod_builder;
use crate::testing::{relay, workplan, workplan_of};

fn with_retry(mut workplan: Workplan, step: &str, on: &[RetryOn]) -> Workplan {
    let tasks = workplan.spec.tasks.iter_mut();
    let mut steps =
        tasks.flat_map(|task| task.serial_steps.iter_mut().chain(&mut task.parallel_steps));
    let step = steps.find(|it| it.name == step).unwrap();
    let pause = std::time::Duration::from_secs(10);
    step.retry = Some(Retry {
        limit: 2,
        backoff: Some(Backoff {
            initial: Some(pause.into()),
            ..Backoff::default()
        }),
        on: on.to_vec(),
        ..Retry::default()
    });
    workplan
}

/// Soon after the ends of the containers.
fn early() -> Timestamp {
    "2026-01-01T00:00:03Z".parse().unwrap()
}

fn reaches(state: &mut ObservedState, wake_at: Option<Timestamp>) {
    state.now = wake_at.unwrap().max(state.now);
}

fn second_pod(before: ObservedPod, containers: &str) -> ObservedPod {
    let mut pod = pod(0, containers);
    pod.name = "plan-0-a2".into();
    pod.succeed(before);
    pod
}

fn next_pod(workplan: &Workplan, decision: &Decision) -> String {
    let number = pod_builder::number(workplan, 0, &decision.status.steps);
    pod_builder::name(workplan, 0, number)
}

fn reasons(step: &StepStatus) -> Vec<&str> {
    let attempts = step.attempts.iter();
    attempts.filter_map(|it| it.reason.as_deref()).collect()
}

fn out_of_memory(mut pod: ObservedPod, name: &str) -> ObservedPod {
    let mut containers = pod.containers.iter_mut();
    let container = containers.find(|it| it.name == name).unwrap();
    if let ContainerState::Ended(end) = &mut container.state {
        end.reason = "OOMKilled".into();
    }
    pod
}

#[test]
fn failed_step_starts_again_beside_ended_ones() {
    let plan = workplan(Order::Linear, &["| a b", "c:a"]);
    let mut plan = with_retry(plan, "a", &[RetryOn::Failure]);
    let mut state = observed([(0, pod(0, "| a=3 b=run"))]);
    state.now = early();
    let failed = decided(&plan, &state);
    assert_eq!(phases(&failed.status), "prp");
    assert_eq!(failed.status.phase, Some(Phase::Running));
    assert_eq!(failed.actions, []);
    assert_eq!(summary(&failed), "Retrying");
    assert!(message(&failed).contains("attempt 2 of 3 starts at"));
    plan = after(plan, &failed);

    reaches(&mut state, failed.wake_at);
    assert_eq!(decided(&plan, &state).actions, [], "its pod still runs");
    state.pods = [(0, pod(0, "| a=3 b=0"))].into();
    let again = decided(&plan, &state);
    assert_eq!(phases(&again.status), "pcp");
    assert_eq!(again.actions, [Action::CreatePod(0)]);
    assert_eq!(next_pod(&plan, &again), "plan-0-a2");
    plan = after(plan, &again);

    let second = second_pod(pod(0, "| a=3 b=0"), "| a=0");
    state.pods = [(0, second)].into();
    let completed = decided(&plan, &state);
    assert_eq!(phases(&completed.status), "ccp");
    assert_eq!(completed.actions, [Action::CreatePod(1)]);
    let a = &completed.status.steps[0];
    assert_eq!((a.attempt(), a.pod.as_deref()), (2, Some("plan-0-a2")));
    assert_eq!((reasons(a), a.retry_at.as_ref()), (vec!["Error"], None));
}

#[test]
fn law_6_unrecorded_attempts_are_read_from_all_pods() {
    let plan = workplan(Order::Linear, &["a b | c"]);
    let plan = with_retry(plan, "a", &[RetryOn::Failure]);
    let first = pod(0, "a=3 b=wait:PodInitializing | c=wait:PodInitializing");
    let state = observed([(0, second_pod(first, "a=run b | c"))]);
    let decision = decided(&plan, &state);
    assert_eq!(phases(&decision.status), "rpp");
    assert_eq!(decision.status.steps[0].attempt(), 2);
    assert_eq!(decision.actions, []);
}

#[test]
fn last_failed_attempt_is_the_cause() {
    let plan = workplan(Order::Linear, &["a b | c"]);
    let plan = with_retry(plan, "a", &[RetryOn::Failure]);
    let pods = second_pod(pod(0, "a=3 b | c"), "a=4 b | c");
    let mut third = second_pod(pods, "a=5 b | c");
    third.name = "plan-0-a3".into();
    let first = third.earlier.remove(0);
    let mut second = pod(0, "a=4 b | c");
    second.name = "plan-0-a2".into();
    third.earlier = vec![first, second];
    let decision = decided(&plan, &observed([(0, third)]));
    assert_eq!(phases(&decision.status), "fss");
    assert_eq!(summary(&decision), "a: exit code 5");
    let text = "exit code 5. It was attempt 3 of the step a. 2 steps were skipped. Log of the step: kubectl -n ns logs plan-0-a3 -c a";
    assert!(message(&decision).contains(text), "{}", message(&decision));
}

#[rstest]
#[case::rejected("OutOfcpu")]
#[case::admission("UnexpectedAdmissionError")]
#[case::evicted("Evicted")]
fn pod_lost_before_any_start_is_replaced(#[case] reason: &str) {
    let mut plan = workplan(Order::Linear, &["a b | c"]);
    let mut lost = pod(0, "a b | c");
    (lost.phase, lost.reason) = (PodPhase::Failed, Some(reason.into()));
    let mut state = observed([(0, lost)]);
    let decision = decided(&plan, &state);
    assert_eq!(phases(&decision.status), "ppp");
    assert_eq!(decision.status.phase, Some(Phase::Pending));
    let step = &decision.status.steps[0];
    assert_eq!(reasons(step), [reason]);
    assert_eq!(step.attempts[0].failure, Some(RetryOn::Infrastructure));
    assert_eq!(decision.actions, [], "after a pause");
    plan = after(plan, &decision);
    reaches(&mut state, decision.wake_at);
    let again = decided(&plan, &state);
    assert_eq!(again.actions, [Action::CreatePod(0)]);
    assert_eq!(next_pod(&plan, &again), "plan-0-a2");
}

#[test]
fn pod_deleted_before_any_start_is_replaced() {
    let plan = workplan(Order::Linear, &["a"]);
    let mut going = pod(0, "| a=wait:ContainerCreating");
    going.deleting = true;
    let decision = decided(&plan, &observed([(0, going)]));
    let step = &decision.status.steps[0];
    assert_eq!(step.reason.as_deref(), Some("PodDeleted"));
    let plan = after(plan, &decision);
    let mut gone = observed([]);
    assert_eq!(decide(&plan, &gone).actions, [Action::ListPods]);
    gone.certainty = Certainty::Listed;
    let decision = decided(&plan, &gone);
    assert_eq!(phases(&decision.status), "p");
    assert_eq!(reasons(&decision.status.steps[0]), ["PodDeleted"]);
    let plan = after(plan, &decision);
    reaches(&mut gone, decision.wake_at);
    assert_eq!(decided(&plan, &gone).actions, [Action::CreatePod(0)]);
}

#[rstest]
#[case::listed(&[RetryOn::Infrastructure], "cpp")]
#[case::not_listed(&[RetryOn::Failure], "cfs")]
fn step_lost_after_its_start_follows_its_policy(#[case] on: &[RetryOn], #[case] expected: &str) {
    let plan = with_retry(workplan(Order::Linear, &["a b:a | c:b"]), "b", on);
    let mut lost = pod(0, "a=0 b=run | c");
    (lost.phase, lost.reason) = (PodPhase::Failed, Some("Evicted".into()));
    let decision = decided(&plan, &observed([(0, lost)]));
    assert_eq!(phases(&decision.status), expected);
}

#[rstest]
#[case::of_kubelet("ContainerStatusUnknown", 137)]
#[case::of_runtime("Unknown", 255)]
fn step_with_unknown_end_is_lost(
    #[case] reason: &str,
    #[case] exit_code: i32,
    #[values(Order::Linear, Order::Relay)] order: Order,
) {
    let tasks = match order {
        Order::Relay => workplan_of(relay(&["| a c"])),
        Order::Linear | Order::Graph => workplan(order, &["| a c"]),
    };
    let plan = with_retry(tasks, "a", &[RetryOn::Infrastructure]);
    let mut lost = pod(0, &format!("| a={exit_code} c=run"));
    if let ContainerState::Ended(end) = &mut lost.containers[0].state {
        end.reason = reason.into();
    }
    let mut state = observed([(0, lost)]);
    state.now = early();
    let decision = decided(&plan, &state);
    assert_eq!(phases(&decision.status), "pr");
    let lost = &decision.status.steps[0];
    assert_eq!(reasons(lost), ["ContainerStatusUnknown"]);
    assert_eq!(lost.attempts[0].failure, Some(RetryOn::Infrastructure));
}

#[test]
fn relay_starts_again_after_lack_of_memory() {
    let plan = workplan_of(relay(&["| a b:a c"]));
    let mut plan = with_retry(plan, "a", &[RetryOn::OomKilled]);
    let killed = |containers| out_of_memory(pod(0, containers), "a");
    let mut state = observed([(0, killed("| a=137 b=run c=run"))]);
    state.now = early();
    let decision = decided(&plan, &state);
    assert_eq!(phases(&decision.status), "ppr");
    let b = &decision.status.steps[1];
    assert_eq!(b.message.as_deref(), Some("waiting for a"));
    plan = after(plan, &decision);
    reaches(&mut state, decision.wake_at);
    state.pods = [(0, killed("| a=137 b=77 c=0"))].into();
    let again = decided(&plan, &state);
    assert_eq!(phases(&again.status), "ppc");
    assert_eq!(
        again.status.steps[1].message.as_deref(),
        Some("waiting for a")
    );
    assert_eq!(again.actions, [Action::CreatePod(0)]);
}

fn postponed(mut pod: ObservedPod, name: &str) -> ObservedPod {
    let mut containers = pod.containers.iter_mut();
    let container = containers.find(|it| it.name == name).unwrap();
    if let ContainerState::Ended(end) = &mut container.state {
        let head = "kubeci/1 postponed up=2026-01-01T00:00:01Z ended=1.000000";
        end.message = format!("{head}: a ended without a result and may be attempted again");
    }
    pod
}

/// `b` runs if `a` fails, which is attempted again if it is out of memory.
fn with_failure_edge() -> Workplan {
    let mut plan = workplan_of(relay(&["| a b c"]));
    plan.spec.tasks[0].parallel_steps[1].on_failure = vec!["a".into()];
    with_retry(plan, "a", &[RetryOn::OomKilled])
}

#[test]
fn postponed_step_waits_for_the_next_attempt() {
    let plan = with_failure_edge();
    let first = || postponed(out_of_memory(pod(0, "| a=137 b=77 c=0"), "a"), "b");
    let mut state = observed([(0, first())]);
    state.now = early();
    let decision = decided(&plan, &state);
    assert_eq!(phases(&decision.status), "ppc");
    let plan = after(plan, &decision);
    reaches(&mut state, decision.wake_at);
    let again = decided(&plan, &state);
    assert_eq!(again.actions, [Action::CreatePod(0)]);
    let b = &again.status.steps[1];
    assert_eq!(b.message.as_deref(), Some("waiting for a"));
    let plan = after(plan, &again);
    state.pods = [(0, second_pod(first(), "| a=0 b=77"))].into();
    assert_eq!(phases(&decided(&plan, &state).status), "csc");
}

#[test]
fn postponed_step_runs_after_a_final_failure() {
    let plan = with_failure_edge();
    let first = || postponed(pod(0, "| a=137 b=77 c=0"), "b");
    let mut state = observed([(0, first())]);
    state.now = early();
    let decision = decided(&plan, &state);
    assert_eq!(phases(&decision.status), "fpc");
    assert!(message(&decision).contains("because the step had not started: Postponed"));
    let plan = after(plan, &decision);
    reaches(&mut state, decision.wake_at);
    let again = decided(&plan, &state);
    assert_eq!(again.actions, [Action::CreatePod(0)]);
    let plan = after(plan, &again);
    state.pods = [(0, second_pod(first(), "| b=0"))].into();
    assert_eq!(phases(&decided(&plan, &state).status), "fcc");
}

/// Its first attempt ran, and the next one is stopped before its start. The other step of the pod still runs.
#[test]
fn cancelled_retry_fails_with_the_last_attempt() {
    let plan = workplan_of(relay(&["| a c"]));
    let plan = with_retry(plan, "a", &[RetryOn::OomKilled]);
    let plan = with_retry(plan, "c", &[RetryOn::OomKilled]);
    let killed = out_of_memory(pod(0, "| a=137 c=137"), "a");
    let first = || out_of_memory(killed.clone(), "c");
    let mut state = observed([(0, first())]);
    state.now = early();
    let failed = decided(&plan, &state);
    assert_eq!(phases(&failed.status), "pp");
    let mut plan = after(plan, &failed);
    plan.spec.cancel = true;
    state.certainty = Certainty::Listed;
    state.pods = [(0, second_pod(first(), "| a c"))].into();
    let stops = decided(&plan, &state);
    assert_eq!(stops.actions, [Action::StopPod(0)]);
    let plan = after(plan, &stops);
    let mut second = second_pod(first(), "| a=77 c=run");
    second.stopped = true;
    state.pods = [(0, second)].into();
    let stopping = decided(&plan, &state);
    assert_eq!(phases(&stopping.status), "fr");
    let a = &stopping.status.steps[0];
    let end = (a.reason.as_deref(), a.exit_code);
    assert_eq!(end, (Some("OOMKilled"), Some(137)));
}

#[test]
fn failure_in_a_relay_is_final() {
    let plan = with_retry(workplan_of(relay(&["| a b:a"])), "a", &[RetryOn::Failure]);
    let decision = decided(&plan, &observed([(0, pod(0, "| a=1 b=77"))]));
    assert_eq!(phases(&decision.status), "fs");
}

#[test]
fn pod_whose_steps_have_left_is_deleted() {
    let plan = with_retry(
        workplan(Order::Linear, &["| a b"]),
        "a",
        &[RetryOn::Failure],
    );
    let state = observed([(0, pod(0, "| a=wait:InvalidImageName b=0"))]);
    let decision = decided(&plan, &state);
    assert_eq!(phases(&decision.status), "pc");
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

#[test]
fn law_5_unseen_second_pod_is_listed() {
    let plan = with_retry(workplan(Order::Linear, &["a"]), "a", &[RetryOn::Failure]);
    let mut plan = after(
        plan.clone(),
        &decided(&plan, &observed([(0, pod(0, "| a=3"))])),
    );
    plan.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let decision = decide(&plan, &observed([(0, pod(0, "| a=3"))]));
    assert!(decision.actions.contains(&Action::ListPods));
}

#[test]
fn lost_empty_dir_is_final_after_a_completed_step() {
    let plan = with_retry(
        workplan(Order::Linear, &["| a b"]),
        "a",
        &[RetryOn::Failure],
    );
    let mut own = plan.clone();
    own.spec.workspace = kubeci_api::Workspace::EmptyDir;
    own.metadata.finalizers = None;
    let state = observed([(0, pod(0, "| a=3 b=0"))]);
    assert_eq!(phases(&decided(&plan, &state).status), "pc");
    assert_eq!(phases(&decided(&own, &state).status), "fc");
}

#[test]
fn deleted_node_is_final() {
    let plan = with_retry(
        workplan(Order::Linear, &["a"]),
        "a",
        &[RetryOn::Infrastructure],
    );
    let mut state = observed([(0, pod(0, "| a=run"))]);
    state.node = NodeState::Gone;
    let decision = decided(&plan, &state);
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        ("f", "NodeGone")
    );
}
