//! Every state that a relay pod can be in, and what is decided about it.

mod deadlock;
mod records;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kubeci_api::{StepPhase, StepStatus, Workspace};
use kubeci_engine::Cause;
use rstest::rstest;

use super::fixtures::{after, cleaned, decided, observed, phases, pod, summary};
use super::*;
use crate::testing::{relay, workplan_of};

/// `b` after `a`, `c` after both.
const CHAIN: &str = "| a b:a c:a,b";

fn plan(tasks: &[&str]) -> Workplan {
    workplan_of(relay(tasks))
}

/// The pod of the first task, in which step runners have left records.
fn with_records(containers: &str, records: &[(&str, &str)]) -> ObservedPod {
    let mut pod = pod(0, containers);
    for (name, record) in records {
        let mut named = pod.containers.iter_mut().filter(|it| it.name == *name);
        let Some(ContainerState::Ended(end)) = named.next().map(|it| &mut it.state) else {
            panic!("{name} has not ended");
        };
        let (head, message) = record.split_once(": ").unwrap_or((record, ""));
        let (stage, rest) = head.split_once(' ').unwrap_or((head, ""));
        end.message = format!("kubeci/1 {stage} up=2026-01-01T00:00:01Z {rest}: {message}");
    }
    pod
}

fn step<'a>(status: &'a WorkplanStatus, name: &str) -> &'a StepStatus {
    let mut steps = status.steps.iter();
    steps.find(|step| step.name == name).unwrap()
}

/// The exit code or the reason of a step, and its message.
fn sentence(status: &WorkplanStatus, name: &str) -> String {
    let step = step(status, name);
    match &step.reason {
        Some(reason) => {
            let message = step.message.as_deref().unwrap_or_default();
            Cause::new(reason, message).sentence(step.exit_code)
        }
        None => step.message.clone().unwrap_or_default(),
    }
}

fn time(text: &str) -> MicroTime {
    MicroTime(format!("2026-01-01T00:00:{text}Z").parse().unwrap())
}

/// The API server gives every Workplan the phase `pending`.
#[test]
fn pending_relay_needs_no_status_write() {
    let mut plan = plan(&[CHAIN]);
    let status = WorkplanStatus {
        phase: Some(Phase::Pending),
        ..WorkplanStatus::default()
    };
    plan.status = Some(status.clone());
    assert_eq!(decided(&plan, &observed([])).status, status);
}

#[rstest]
#[case::all_up("| a=run b=run c=run", "rpp", ["", "waiting for a", "waiting for a, b"])]
#[case::some_up("| a=run b c", "rpp", ["", "waiting for a", "waiting for a, b"])]
#[case::handed_over("| a=0 b=run c=run", "crp", ["", "", "waiting for b"])]
#[case::not_up("| a=0 b c=run", "cpp", ["", "its container has not started: its image is being pulled", "waiting for b"])]
#[case::held_up("| a=0 c b", "cpp", ["", "its container has not started: the node starts the containers one after the other, now that of c", "waiting for b"])]
#[case::has_no_image("| a=run b=wait:ErrImagePull c=run", "rpp", ["", "ImagePullBackOff: the image \"alpine\" cannot be pulled", "waiting for a, b"])]
#[case::lost("| a=137 b=run c", "fpp", ["exit code 137", "skipped: its dependency a", "skipped: its dependency a"])]
fn waiting_step_names_what_it_waits_for(
    #[case] containers: &str,
    #[case] expected: &str,
    #[case] messages: [&str; 3],
) {
    let mut state = observed([(0, pod(0, containers))]);
    state.now = "2026-01-01T00:00:03Z".parse().unwrap();
    let status = decided(&plan(&[CHAIN]), &state).status;
    assert_eq!(phases(&status), expected);
    for (name, expected) in ["a", "b", "c"].into_iter().zip(messages) {
        let text = sentence(&status, name);
        assert!(text.starts_with(expected), "{name}: {text}");
        assert_eq!(text.is_empty(), expected.is_empty(), "{name}: {text}");
    }
}

#[test]
fn step_start_is_estimated_from_its_dependencies() {
    let pod = with_records(
        "| a=0 b=run c=run",
        &[("a", "completed started=0.250000 ended=4.500000")],
    );
    let status = decided(&plan(&[CHAIN]), &observed([(0, pod)])).status;
    assert_eq!(step(&status, "a").started_at, Some(time("01.25")));
    assert_eq!(step(&status, "a").finished_at, Some(time("05.5")));
    assert_eq!(step(&status, "b").started_at, Some(time("05.5")));
    assert_eq!(status.started_at, Some(time("01.25")));
}

#[rstest]
#[case::skipped(
    "77",
    "skipped ended=0.100000: a failed",
    "s",
    "skipped: its dependency a did not complete"
)]
#[case::killed_while_it_waited("137", "waiting", "s", "skipped: its dependency a did not complete")]
#[case::forged("77", "forged", "s", "skipped: its dependency a did not complete")]
#[case::ran_all_the_same("0", "completed started=0.100000 ended=0.200000", "c", "")]
fn step_after_failed_one_is_skipped(
    #[case] exit_code: &str,
    #[case] record: &str,
    #[case] expected: &str,
    #[case] message: &str,
) {
    let pod = with_records(&format!("| a=1 b={exit_code} x=run"), &[("b", record)]);
    let decision = decided(&plan(&["| a b:a x"]), &observed([(0, pod)]));
    assert_eq!(phases(&decision.status), format!("f{expected}r"));
    assert_eq!(sentence(&decision.status, "b"), message);
    assert_eq!(decision.actions, []);
}

#[test]
fn early_skip_waits_for_its_cause() {
    let workplan = plan(&["| a b:a"]);
    let skipped = [("b", "skipped ended=0.100000: a failed")];
    let early = decided(
        &workplan,
        &observed([(0, with_records("| a=run b=77", &skipped))]),
    );
    assert_eq!(phases(&early.status), "rp");
    let workplan = after(workplan, &early);
    let late = decided(
        &workplan,
        &observed([(0, with_records("| a=1 b=77", &skipped))]),
    );
    assert_eq!(
        (phases(&late.status).as_str(), summary(&late)),
        ("fs", "a: exit code 1")
    );
    assert_eq!(late.status.phase, Some(Phase::Failed));
    assert_eq!(late.status.steps[1].exit_code, None);
}

#[test]
fn deleted_pod_fails_only_what_ran() {
    let workplan = plan(&[CHAIN]);
    let completed = ("a", "completed started=0.100000 ended=0.500000");
    let stopped = [
        completed,
        ("b", "failed started=0.600000 ended=0.900000 signal=15"),
        (
            "c",
            "skipped ended=0.900000: stopped by SIGTERM while it waited for b",
        ),
    ];
    let mut pod = with_records("| a=0 b=143 c=77", &stopped);
    pod.deleting = true;
    let decision = decided(&workplan, &observed([(0, pod)]));
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        ("cfs", "PodDeleted")
    );
    assert_eq!(step(&decision.status, "b").exit_code, None);
    assert!(step(&decision.status, "c").started_at.is_none());
}

#[test]
fn last_recorded_state_of_gone_pod_counts() {
    let workplan = plan(&[CHAIN]);
    let seen = decided(&workplan, &observed([(0, pod(0, "| a=0 b=run c=run"))]));
    let workplan = after(workplan, &seen);
    assert_eq!(decide(&workplan, &observed([])).actions, [Action::ListPods]);
    let mut asked = observed([]);
    asked.certainty = Certainty::Listed;
    let gone = decided(&workplan, &asked);
    assert_eq!(
        (phases(&gone.status).as_str(), summary(&gone)),
        ("cfs", "PodDeleted")
    );
}

#[rstest]
#[case::evicted(PodPhase::Failed, "cfs", "Evicted")]
#[case::succeeded(PodPhase::Succeeded, "ccc", "")]
fn pod_phase_ends_silent_containers(
    #[case] phase: PodPhase,
    #[case] expected: &str,
    #[case] why: &str,
) {
    let mut pod = pod(0, "| a=0 b=run c=run");
    pod.phase = phase;
    pod.reason = (phase == PodPhase::Failed).then(|| "Evicted".into());
    let decision = decided(&plan(&[CHAIN]), &observed([(0, pod)]));
    assert_eq!(
        (phases(&decision.status).as_str(), summary(&decision)),
        (expected, why)
    );
    assert!(step(&decision.status, "b").started_at.is_some());
}

#[test]
fn law_1_pod_starts_after_dependencies_outside_it() {
    let workplan = plan(&["| a b:a", "| x:b", "| c:x d:c"]);
    let first = decided(&workplan, &observed([(0, pod(0, "| a=0 b=run"))]));
    assert_eq!(first.actions, []);
    let second = decided(&workplan, &observed([(0, pod(0, "| a=0 b=0"))]));
    assert_eq!(second.actions, [Action::CreatePod(1)]);
    let lost = decided(&workplan, &observed([(0, pod(0, "| a=0 b=1"))]));
    assert_eq!(phases(&lost.status), "cfsss");
}

#[test]
fn empty_dir_needs_no_sweep() {
    let mut workplan = plan(&[CHAIN]);
    workplan.spec.workspace = Workspace::EmptyDir;
    workplan.metadata.finalizers = None;
    assert_eq!(
        decided(&workplan, &observed([])).actions,
        [Action::CreatePod(0)]
    );
    let done = decided(&workplan, &observed([(0, pod(0, "| a=0 b=0 c=0"))]));
    assert_eq!(done.status.phase, Some(Phase::Completed));
    assert_eq!(cleaned(&done), Some(("True", "NothingOnNode")));
    assert_eq!(done.actions, []);

    let stuck = pod(0, "| a=wait:InvalidImageName b=run c=run");
    let failed = decided(&workplan, &observed([(0, stuck)]));
    assert_eq!(failed.status.phase, Some(Phase::Failed));
    assert_eq!(failed.actions, [Action::DeletePod(0)]);
    assert!(
        failed
            .status
            .steps
            .iter()
            .all(|step| step.phase != StepPhase::Pending)
    );
}

#[test]
fn relayed_condition_is_set() {
    let workplan = plan(&[CHAIN]);
    let decision = decided(&workplan, &observed([(0, pod(0, "| a=run b=run c=run"))]));
    let relayed_condition = |status: &WorkplanStatus| {
        let mut conditions = status.conditions.iter();
        let relayed = conditions
            .find(|condition| condition.type_ == "Relayed")
            .unwrap();
        (relayed.status.clone(), relayed.reason.clone())
    };
    assert_eq!(
        relayed_condition(&decision.status),
        ("True".into(), "OnePod".into())
    );
}
