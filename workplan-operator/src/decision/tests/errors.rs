//! Pods that cannot run, and what is decided about them.

use kube::ResourceExt;
use kubeci_api::{Order, StepPhase};
use rstest::rstest;

use super::fixtures::*;
use super::*;
use crate::refusal::Verdict;
use crate::testing::{relay, workplan, workplan_of};

#[rstest]
#[case::foreign(Owner::Foreign, "f", "PodNameTaken")]
#[case::former(Owner::Former, "p", "PodNameInUse")]
fn foreign_pod_is_left_alone(#[case] owner: Owner, #[case] expected: &str, #[case] why: &str) {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut pod = pod(0, "| a=run");
    pod.owner = owner;
    let decision = decided(&workplan, &observed([(0, pod)]));
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        (expected, why)
    );
    assert!(!decision.actions.contains(&Action::CreatePod(0)));
}

#[test]
fn missing_image_fails_after_five_minutes() {
    let workplan = workplan(Order::Linear, &["a | b", "c:b"]);
    let mut state = observed([(0, pod(0, "a=0 | b=wait:ErrImagePull"))]);
    state.now = "2026-01-01T00:05:01Z".parse().unwrap();
    let early = decided(&workplan, &state);
    assert_eq!(
        (phases(&early.status).as_str(), summary(&early)),
        ("cpp", "ImagePullBackOff")
    );
    assert!(message(&early).contains("b: the image \"alpine\" cannot be pulled: not found"));
    assert_eq!(early.wake_at, Some("2026-01-01T00:05:02Z".parse().unwrap()));

    let workplan = after(workplan, &early);
    state.pods = BTreeMap::from([(0, pod(0, "a=0 | b=wait:ImagePullBackOff"))]);
    assert_eq!(decided(&workplan, &state).status, early.status);
    state.now = "2026-01-01T00:05:02Z".parse().unwrap();
    let late = decided(&workplan, &state);
    assert_eq!(
        (phases(&late.status).as_str(), summary(&late)),
        ("cfs", "b: ImagePullBackOff")
    );
    assert_eq!(late.actions, [Action::DeletePod(0)]);
    for text in [message(&early), message(&late)] {
        let deleted = "the pod is deleted, with the logs of its completed steps";
        assert!(text.contains(deleted), "{text}");
    }
}

#[rstest]
#[case::pods(workplan(Order::Linear, &["| a"]), "| a=wait:ErrImageNeverPull")]
#[case::relay(workplan_of(relay(&["| a b:a"])), "| kubeci-runner=0 a=wait:ErrImageNeverPull b=77")]
fn step_without_image_never_starts(#[case] workplan: Workplan, #[case] containers: &str) {
    let decision = decided(&workplan, &observed([(0, pod(0, containers))]));
    let step = &decision.status.steps[0];
    assert_eq!(step.phase, StepPhase::Failed);
    assert_eq!((&step.started_at, &step.finished_at), (&None, &None));
    assert_eq!(decision.status.started_at, None);
    assert!(
        message(&decision).contains(". No step has run."),
        "{}",
        message(&decision)
    );
}

#[test]
fn pod_with_blocked_container_runs_the_others() {
    let workplan = workplan(Order::Linear, &["| a b"]);
    let decision = decided(
        &workplan,
        &observed([(0, pod(0, "| a=run b=wait:ImagePullBackOff"))]),
    );
    assert_eq!(
        (
            phases(&decision.status).as_str(),
            decision.actions.as_slice()
        ),
        ("rf", &[][..])
    );
    let workplan = after(workplan, &decision);
    let decision = decided(
        &workplan,
        &observed([(0, pod(0, "| a=0 b=wait:ImagePullBackOff"))]),
    );
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

#[rstest]
#[case("InvalidImageName", "a: InvalidImageName", "fs", 0)]
#[case("ErrImageNeverPull", "a: ErrImageNeverPull", "fs", 0)]
#[case("CreateContainerConfigError", "CreateContainerConfigError", "pp", 1)]
#[case("CreateContainerError", "CreateContainerError", "pp", 1)]
fn hopeless_container_fails_at_once(
    #[case] why: &str,
    #[case] expected: &str,
    #[case] expected_phases: &str,
    #[case] wakes: usize,
) {
    let workplan = workplan(Order::Linear, &["a | b"]);
    let mut state = observed([(0, pod(0, &format!("a=wait:{why} | b")))]);
    state.now = "2026-01-01T00:01:00Z".parse().unwrap();
    let decision = decided(&workplan, &state);
    assert_eq!(
        (summary(&decision), phases(&decision.status).as_str()),
        (expected, expected_phases)
    );
    assert_eq!(decision.wake_at.iter().count(), wakes);
}

#[test]
fn unschedulable_pod_is_waited_for() {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut pod = pod(0, "| a");
    pod.node = None;
    pod.unschedulable = Some("0/1 nodes are available: 1 Insufficient cpu.".into());
    let decision = decided(&workplan, &observed([(0, pod.clone())]));
    assert_eq!(decision.status.phase, Some(Phase::Pending));
    assert_eq!(summary(&decision), "Unschedulable");
    assert!(message(&decision).contains("Insufficient cpu. The pod starts when a node has room"));
    assert_eq!(decision.status.conditions[0].status, "Unknown");

    let workplan = after(workplan, &decision);
    let placed = observed([(0, super::fixtures::pod(0, "| a=run"))]);
    assert_eq!(summary(&decided(&workplan, &placed)), "");
}

#[rstest]
#[case::never(Verdict::Never, Some(Phase::Failed), "fs", "PodRefused")]
#[case::perhaps(Verdict::Perhaps, Some(Phase::Pending), "pp", "PodRefused")]
#[case::later(Verdict::Later, Some(Phase::Pending), "pp", "PodRefused")]
#[case::over(Verdict::Over, None, "", "")]
fn refused_pod_fails_or_waits_by_verdict(
    #[case] verdict: Verdict,
    #[case] phase: Option<Phase>,
    #[case] expected: &str,
    #[case] why: &str,
) {
    let workplan = workplan(Order::Linear, &["a", "b:a"]);
    let mut state = observed([]);
    let message = "no".to_owned();
    state.refusals.insert(
        0,
        Refusal {
            verdict,
            reason: "PodRefused",
            message,
        },
    );
    let decision = decided(&workplan, &state);
    assert_eq!(decision.status.phase, phase);
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        (expected, why)
    );
    assert!(!decision.actions.contains(&Action::CreatePod(0)));
}

#[test]
fn pod_refused_by_policy_fails_after_five_minutes() {
    let workplan = workplan(Order::Linear, &["a", "b:a"]);
    let mut state = observed([]);
    let refusal = Refusal {
        verdict: Verdict::Perhaps,
        reason: "PodRefused",
        message: "no".into(),
    };
    state.refusals.insert(0, refusal);
    let first = decided(&workplan, &state);
    assert!(message(&first).contains("fails if this lasts for 5 minutes"));
    let since = state.now;
    state.refused_since = Some(since);
    state.now = "2026-01-01T00:14:59Z".parse().unwrap();
    let early = decided(&workplan, &state);
    assert_eq!(phases(&early.status), "pp");
    assert_eq!(early.wake_at, Some("2026-01-01T00:15:00Z".parse().unwrap()));
    state.now = early.wake_at.unwrap();
    let late = decided(&workplan, &state);
    assert_eq!(
        (phases(&late.status).as_str(), summary(&late)),
        ("fs", "PodRefused")
    );
    assert_eq!(message(&late), "no. No step has run.");
}

#[test]
fn unopened_folder_fails_the_steps() {
    let workplan = workplan(Order::Linear, &["a | b"]);
    let decision = decided(
        &workplan,
        &observed([(0, pod(0, "kubeci-workspace=1 a | b"))]),
    );
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        ("ff", "WorkspaceNotOpened")
    );
}

#[test]
fn invalid_plan_fails_without_a_pod() {
    let mut workplan = workplan(Order::Linear, &["a:x"]);
    workplan.finalizers_mut().clear();
    let decision = decided(&workplan, &observed([]));
    assert_eq!(
        (decision.status.phase, summary(&decision)),
        (Some(Phase::Failed), "InvalidPlan")
    );
    assert!(message(&decision).starts_with("spec.tasks[0].SerialSteps[0].dependency[0]: "));
    assert_eq!(decision.actions, []);
    let conditions = decision.status.conditions.iter();
    let cleaned = conditions.filter(|it| it.type_ == "WorkspaceCleaned" && it.status == "True");
    assert_eq!(
        cleaned.map(|it| it.reason.as_str()).collect::<Vec<_>>(),
        ["NeverPlaced"],
        "whoever waits for the clean-up waits for ever otherwise"
    );
}
