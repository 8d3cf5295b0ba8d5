//! Every state that pods can be in, and what is decided about it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kubeci_api::Order;
use rstest::rstest;

use super::*;
use crate::core::observe::{ContainerFacts, ContainerState, Ended, Owner, PodPhase};
use crate::core::refusal::Verdict;
use crate::testing::workplan;

pub fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

pub fn facts(pods: impl IntoIterator<Item = (usize, PodFacts)>) -> Facts {
    Facts {
        pods: pods.into_iter().collect(),
        certainty: Certainty::Watched,
        refusals: BTreeMap::new(),
        node: NodeState::Ready,
        sweep: SweepState::NotAsked,
        pod_level: true,
        now: now(),
    }
}

/// A pod of the task on the node `n1`, in short: `"a"` is an init container, `"|"` begins the others, and
/// after `=` comes its state: `run`, `0` or another exit code, `wait:Reason`.
pub fn pod(task: usize, containers: &str) -> PodFacts {
    let (init, main) = containers.split_once('|').unwrap_or(("", containers));
    let parse = |text: &str, init| -> Vec<ContainerFacts> {
        text.split_whitespace()
            .map(|text| container(text, init))
            .collect()
    };
    PodFacts {
        name: format!("plan-{task}"),
        uid: None,
        version: None,
        owner: Owner::Ours,
        node: Some("n1".into()),
        deleting: false,
        phase: PodPhase::Pending,
        reason: None,
        message: None,
        started: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        unschedulable: None,
        containers: [parse(init, true), parse(main, false)].concat(),
    }
}

pub fn container(text: &str, init: bool) -> ContainerFacts {
    let (name, state) = text.split_once('=').unwrap_or((text, ""));
    let second = |text: &str| Some(text.parse().unwrap());
    let state = match state {
        "" => ContainerState::Unknown,
        "run" => ContainerState::Running {
            since: second("2026-01-01T00:00:01Z"),
        },
        waits if waits.starts_with("wait:") => ContainerState::Waiting {
            reason: waits["wait:".len()..].into(),
            message: "said so".into(),
        },
        code => ContainerState::Ended(Ended {
            exit_code: code.parse().unwrap(),
            reason: String::new(),
            message: String::new(),
            started: second("2026-01-01T00:00:01Z"),
            finished: second("2026-01-01T00:00:02Z"),
        }),
    };
    ContainerFacts {
        name: name.into(),
        image: "alpine".into(),
        init,
        state,
    }
}

/// The phases of the steps by their first letters, running steps as `r`.
pub fn phases(status: &WorkplanStatus) -> String {
    let words = status
        .steps
        .iter()
        .map(|step| serde_json::to_value(step.phase).unwrap());
    words
        .map(|word| word.as_str().unwrap().chars().next().unwrap())
        .collect()
}

pub fn reason(decision: &Decision) -> &str {
    decision.status.reason.as_deref().unwrap_or_default()
}

pub fn message(decision: &Decision) -> &str {
    decision.status.message.as_deref().unwrap_or_default()
}

/// The Workplan with the status that was decided.
pub fn after(mut workplan: Workplan, decision: &Decision) -> Workplan {
    workplan.status = Some(decision.status.clone());
    workplan
}

pub fn decided(workplan: &Workplan, facts: &Facts) -> Decision {
    let decision = decide(workplan, facts);
    let again = decide(&after(workplan.clone(), &decision), facts);
    assert_eq!(
        again.status, decision.status,
        "the same facts say the same again"
    );
    decision
}

#[test]
fn a_new_plan_gets_its_first_pod_and_no_status() {
    let workplan = workplan(Order::Linear, &["a | b", "c"]);
    let decision = decided(&workplan, &facts([]));
    assert_eq!(decision.actions, [Action::CreatePod(0)]);
    assert_eq!(decision.status, WorkplanStatus::default());
}

#[test]
fn the_finalizer_comes_before_the_first_pod() {
    let mut workplan = workplan(Order::Linear, &["a"]);
    workplan.finalizers_mut().clear();
    assert_eq!(
        decided(&workplan, &facts([])).actions,
        [Action::AddFinalizer]
    );
}

#[rstest]
#[case::started("a=run | b", "rp", &[])]
#[case::serial_done("a=0 | b", "cp", &[])]
#[case::one_of_two("a=0 | b=run", "cr", &[])]
#[case::all_done("a=0 | b=0", "cc", &[Action::CreatePod(1)])]
#[case::waiting_its_turn("a=wait:PodInitializing | b=wait:PodInitializing", "", &[])]
fn law_1_a_step_is_over_when_its_container_is(
    #[case] containers: &str,
    #[case] expected: &str,
    #[case] actions: &[Action],
) {
    let workplan = workplan(Order::Linear, &["a | b", "c:b"]);
    let decision = decided(&workplan, &facts([(0, pod(0, containers))]));
    assert!(
        phases(&decision.status).starts_with(expected),
        "{}",
        phases(&decision.status)
    );
    assert_eq!(decision.actions, actions);
}

#[test]
fn law_1_a_graphs_task_waits_for_its_dependencies_only() {
    let workplan = workplan(Order::Graph, &["| slow fast", "x:fast", "y:slow", "z:x,y"]);
    let decision = decided(&workplan, &facts([(0, pod(0, "| slow=run fast=0"))]));
    assert_eq!(decision.actions, [Action::CreatePod(1)]);
    assert_eq!(decision.status.progress.as_deref(), Some("1/5"));
    assert_eq!(decision.status.task_index, Some(0));
    assert_eq!(decision.status.node.as_deref(), Some("n1"));
}

#[test]
fn law_4_other_pods_wait_until_the_first_is_placed() {
    let workplan = workplan(Order::Graph, &["a", "b", "c"]);
    assert_eq!(
        decided(&workplan, &facts([])).actions,
        [Action::CreatePod(0)]
    );
    let mut unplaced = pod(0, "| a");
    unplaced.node = None;
    assert_eq!(decided(&workplan, &facts([(0, unplaced)])).actions, []);
    let placed = facts([(0, pod(0, "| a"))]);
    assert_eq!(
        decided(&workplan, &placed).actions,
        [Action::CreatePod(1), Action::CreatePod(2)]
    );
}

#[test]
fn the_first_pod_may_end_without_having_been_placed() {
    let workplan = workplan(Order::Graph, &["a", "b"]);
    let mut never = pod(0, "| a");
    (never.node, never.phase) = (None, PodPhase::Failed);
    assert_eq!(
        decided(&workplan, &facts([(0, never)])).actions,
        [Action::CreatePod(1)]
    );
}

#[test]
fn a_failed_step_skips_what_depends_on_it_and_nothing_else() {
    let workplan = workplan(Order::Graph, &["| a b", "c:a | d", "e:b", "f:c,e"]);
    let decision = decided(&workplan, &facts([(0, pod(0, "| a=3 b=0"))]));
    assert_eq!(phases(&decision.status), "fcspps");
    assert_eq!(
        decision.actions,
        [Action::CreatePod(1), Action::CreatePod(2)]
    );
    assert_eq!(reason(&decision), "a: exit code 3");
    let skipped = decision.status.steps[2].message.as_deref();
    assert_eq!(skipped, Some("a did not complete, which it depends on"));
}

#[test]
fn a_failed_serial_step_ends_its_pod() {
    let workplan = workplan(Order::Linear, &["a b | c"]);
    let stopped = pod(0, "a=1 b=wait:PodInitializing | c=wait:PodInitializing");
    let decision = decided(&workplan, &facts([(0, stopped)]));
    assert_eq!(phases(&decision.status), "fss");
    assert_eq!(decision.status.phase, Some(Phase::Failed));
    assert_eq!(decision.actions, [Action::Sweep]);
    let expected = "the step a failed: exit code 1. Its log: kubectl -n ns logs plan-0 -c a (2 steps were skipped)";
    assert_eq!(message(&decision), expected);
}

#[test]
fn steps_that_a_pod_was_made_without_stay_skipped() {
    let workplan = workplan(Order::Linear, &["a", "b:a | c"]);
    let mut rest = pod(1, "| c=0");
    rest.phase = PodPhase::Succeeded;
    let decision = decided(&workplan, &facts([(0, pod(0, "| a=1")), (1, rest)]));
    assert_eq!(phases(&decision.status), "fsc");
}

#[test]
fn a_completed_plan_says_so_and_is_swept() {
    let workplan = workplan(Order::Linear, &["a | b"]);
    let decision = decided(&workplan, &facts([(0, pod(0, "a=0 | b=0"))]));
    let status = &decision.status;
    assert_eq!(status.phase, Some(Phase::Completed));
    assert_eq!(
        (reason(&decision), message(&decision)),
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
#[case::out_of_cpu(PodPhase::Failed, Some("OutOfcpu"), "f", "OutOfcpu")]
#[case::admission(
    PodPhase::Failed,
    Some("UnexpectedAdmissionError"),
    "f",
    "UnexpectedAdmissionError"
)]
#[case::no_reason(PodPhase::Failed, None, "f", "PodFailed")]
fn a_pods_end_tells_of_containers_that_say_nothing(
    #[case] phase: PodPhase,
    #[case] why: Option<&str>,
    #[case] expected: &str,
    #[case] expected_reason: &str,
) {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut pod = pod(0, "| a");
    (pod.phase, pod.reason) = (phase, why.map(Into::into));
    let decision = decided(&workplan, &facts([(0, pod)]));
    assert_eq!(
        (phases(&decision.status).as_str(), reason(&decision)),
        (expected, expected_reason)
    );
}

#[rstest]
#[case::oom("OOMKilled", "a: OOMKilled", "resources.limits.memory")]
#[case::no_such_command("StartError", "a: StartError", "exec: \"nope\"")]
#[case::error("Error", "a: exit code 137", "exec: \"nope\"")]
fn why_a_container_ended_is_told(#[case] why: &str, #[case] expected: &str, #[case] text: &str) {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut pod = pod(0, "| a=137");
    if let ContainerState::Ended(end) = &mut pod.containers[0].state {
        (end.reason, end.message) = (why.into(), "exec: \"nope\" not found".into());
    }
    let decision = decided(&workplan, &facts([(0, pod)]));
    assert_eq!(reason(&decision), expected);
    assert!(message(&decision).contains(text), "{}", message(&decision));
}

#[test]
fn a_pod_that_goes_is_waited_for_and_then_missed() {
    let workplan = workplan(Order::Linear, &["a | b", "c:b"]);
    let mut going = pod(0, "a=0 | b=run");
    going.deleting = true;
    let decision = decided(&workplan, &facts([(0, going.clone())]));
    assert_eq!(
        (phases(&decision.status).as_str(), decision.actions.len()),
        ("crp", 0)
    );
    let workplan = after(workplan, &decision);

    assert_eq!(decide(&workplan, &facts([])).actions, [Action::Ask]);
    let mut asked = facts([]);
    asked.certainty = Certainty::Asked;
    let gone = decided(&workplan, &asked);
    assert_eq!(
        (phases(&gone.status).as_str(), reason(&gone)),
        ("cfs", "PodDeleted")
    );
    assert_eq!(gone.actions, [Action::Sweep]);

    going.containers[1] = container("b=143", false);
    let stopped = decided(&workplan, &facts([(0, going)]));
    assert_eq!(
        (phases(&stopped.status).as_str(), reason(&stopped)),
        ("cfs", "PodDeleted")
    );
}

#[test]
fn law_6_a_pod_of_which_nothing_was_recorded_is_created_again() {
    let workplan = workplan(Order::Linear, &["a", "b"]);
    assert_eq!(
        decided(&workplan, &facts([])).actions,
        [Action::CreatePod(0)]
    );
    let decision = decided(&workplan, &facts([(0, pod(0, "| a=0"))]));
    assert_eq!(decision.actions, [Action::CreatePod(1)]);
    let workplan = after(workplan, &decision);
    assert_eq!(
        decided(&workplan, &facts([(0, pod(0, "| a=0"))])).actions,
        [Action::CreatePod(1)]
    );
}

#[rstest]
#[case::foreign(Owner::Foreign, "f", "PodNameTaken")]
#[case::former(Owner::Former, "p", "PodNameInUse")]
fn a_pod_of_others_is_not_ours(#[case] owner: Owner, #[case] expected: &str, #[case] why: &str) {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut pod = pod(0, "| a=run");
    pod.owner = owner;
    let decision = decided(&workplan, &facts([(0, pod)]));
    assert_eq!(
        (phases(&decision.status).as_str(), reason(&decision)),
        (expected, why)
    );
    assert!(!decision.actions.contains(&Action::CreatePod(0)));
}

#[test]
fn an_image_that_cannot_be_pulled_fails_after_five_minutes() {
    let workplan = workplan(Order::Linear, &["a | b", "c:b"]);
    let mut facts = facts([(0, pod(0, "a=0 | b=wait:ErrImagePull"))]);
    facts.now = "2026-01-01T00:05:01Z".parse().unwrap();
    let early = decided(&workplan, &facts);
    assert_eq!(
        (phases(&early.status).as_str(), reason(&early)),
        ("cpp", "ImagePullBackOff")
    );
    assert!(message(&early).contains("b: the image \"alpine\" cannot be pulled: said so"));
    assert_eq!(early.wake_at, Some("2026-01-01T00:05:02Z".parse().unwrap()));

    let workplan = after(workplan, &early);
    facts.pods = BTreeMap::from([(0, pod(0, "a=0 | b=wait:ImagePullBackOff"))]);
    assert_eq!(decided(&workplan, &facts).status, early.status);
    facts.now = "2026-01-01T00:05:02Z".parse().unwrap();
    let late = decided(&workplan, &facts);
    assert_eq!(
        (phases(&late.status).as_str(), reason(&late)),
        ("cfs", "b: ImagePullBackOff")
    );
    assert_eq!(late.actions, [Action::DeletePod(0)]);
}

#[test]
fn a_pod_given_up_in_part_goes_on_with_the_rest() {
    let workplan = workplan(Order::Linear, &["| a b"]);
    let decision = decided(
        &workplan,
        &facts([(0, pod(0, "| a=run b=wait:ImagePullBackOff"))]),
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
        &facts([(0, pod(0, "| a=0 b=wait:ImagePullBackOff"))]),
    );
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

#[rstest]
#[case("InvalidImageName", "a: InvalidImageName", "fs", 0)]
#[case("ErrImageNeverPull", "a: ErrImageNeverPull", "fs", 0)]
#[case("CreateContainerConfigError", "CreateContainerConfigError", "pp", 1)]
#[case("CreateContainerError", "CreateContainerError", "pp", 1)]
fn what_cannot_be_cured_fails_at_once(
    #[case] why: &str,
    #[case] expected: &str,
    #[case] expected_phases: &str,
    #[case] wakes: usize,
) {
    let workplan = workplan(Order::Linear, &["a | b"]);
    let mut facts = facts([(0, pod(0, &format!("a=wait:{why} | b")))]);
    facts.now = "2026-01-01T00:01:00Z".parse().unwrap();
    let decision = decided(&workplan, &facts);
    assert_eq!(
        (reason(&decision), phases(&decision.status).as_str()),
        (expected, expected_phases)
    );
    assert_eq!(decision.wake_at.iter().count(), wakes);
}

#[test]
fn a_pod_that_fits_nowhere_is_told_and_waited_for() {
    let workplan = workplan(Order::Linear, &["a"]);
    let mut pod = pod(0, "| a");
    pod.node = None;
    pod.unschedulable = Some("0/1 nodes are available: 1 Insufficient cpu.".into());
    let decision = decided(&workplan, &facts([(0, pod.clone())]));
    assert_eq!(decision.status.phase, Some(Phase::Pending));
    assert_eq!(reason(&decision), "Unschedulable");
    assert!(message(&decision).contains("Insufficient cpu. It starts once one has room"));
    assert_eq!(decision.status.conditions[0].status, "Unknown");

    pod.unschedulable = None;
    let workplan = after(workplan, &decision);
    assert_eq!(reason(&decided(&workplan, &facts([(0, pod)]))), "");
}

#[rstest]
#[case::never(Verdict::Never, Some(Phase::Failed), "fs", "PodRefused")]
#[case::later(Verdict::Later, Some(Phase::Pending), "pp", "PodRefused")]
#[case::over(Verdict::Over, None, "", "")]
fn a_refused_pod(
    #[case] verdict: Verdict,
    #[case] phase: Option<Phase>,
    #[case] expected: &str,
    #[case] why: &str,
) {
    let workplan = workplan(Order::Linear, &["a", "b:a"]);
    let mut facts = facts([]);
    let message = "no".to_owned();
    facts.refusals.insert(
        0,
        Refusal {
            verdict,
            reason: "PodRefused",
            message,
        },
    );
    let decision = decided(&workplan, &facts);
    assert_eq!(decision.status.phase, phase);
    assert_eq!(
        (phases(&decision.status).as_str(), reason(&decision)),
        (expected, why)
    );
    assert!(!decision.actions.contains(&Action::CreatePod(0)));
}

#[test]
fn a_folder_that_cannot_be_opened_fails_the_steps() {
    let workplan = workplan(Order::Linear, &["a | b"]);
    let decision = decided(&workplan, &facts([(0, pod(0, "kubeci-workspace=1 a | b"))]));
    assert_eq!(
        (phases(&decision.status).as_str(), reason(&decision)),
        ("ff", "WorkspaceNotOpened")
    );
}

#[test]
fn a_plan_that_cannot_run_fails_without_a_pod() {
    let mut workplan = workplan(Order::Linear, &["a:x"]);
    workplan.finalizers_mut().clear();
    let decision = decided(&workplan, &facts([]));
    assert_eq!(
        (decision.status.phase, reason(&decision)),
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

/// A plan whose only pod has ended, as its status says.
fn ended() -> (Workplan, Facts) {
    let workplan = workplan(Order::Linear, &["a"]);
    let facts = facts([(0, pod(0, "| a=0"))]);
    let decision = decide(&workplan, &facts);
    (after(workplan, &decision), facts)
}

pub fn cleaned(decision: &Decision) -> Option<(&str, &str)> {
    let mut conditions = decision.status.conditions.iter();
    let condition = conditions.find(|condition| condition.type_ == "WorkspaceCleaned")?;
    Some((condition.status.as_str(), condition.reason.as_str()))
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
    assert_eq!(decided(&workplan, &facts).actions, [Action::Ask]);
    facts.certainty = Certainty::Asked;
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
    assert_eq!(decided(&workplan, &facts).actions, [Action::Ask]);
    facts.certainty = Certainty::Asked;
    let decision = decided(&workplan, &facts);
    assert_eq!(cleaned(&decision), Some(("True", "NeverPlaced")));
    assert_eq!(decision.actions, [Action::RemoveFinalizer]);
}

#[test]
fn a_node_that_is_gone_ends_the_plan() {
    let workplan = workplan(Order::Linear, &["a", "b"]);
    let mut facts = facts([(0, pod(0, "| a=run"))]);
    facts.node = NodeState::NotReady;
    assert_eq!(reason(&decided(&workplan, &facts)), "NodeNotReady");
    facts.node = NodeState::Gone;
    let decision = decided(&workplan, &facts);
    assert_eq!(
        (phases(&decision.status).as_str(), reason(&decision)),
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
    assert_eq!(decision.actions, [Action::DeletePod(0), Action::Ask]);
    assert_eq!(reason(&decision), "Deleting");
    assert_eq!(
        decision.status.node.as_deref(),
        Some("n1"),
        "known when the pods are gone"
    );
    let workplan = after(workplan, &decision);

    facts.certainty = Certainty::Asked;
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
    assert_eq!(decided(&workplan, &facts).actions, [Action::Ask]);
    facts.certainty = Certainty::Asked;
    assert_eq!(
        decided(&workplan, &facts).actions,
        [Action::RemoveFinalizer]
    );
}
