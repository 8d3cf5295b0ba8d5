//! Reruns: what they take over from another Workplan, and how they go on.

use kubeci_api::{Approval, Order, Rerun, RerunFrom, StepApproval, StepPhase, WorkplanSpec};
use rstest::rstest;

use super::fixtures::*;
use super::*;
use crate::decision::rerun::spec;
use crate::decision::{folder_use, with_user};
use crate::observed::FolderUse;
use crate::testing::{workplan, workplan_of};

/// A Workplan that has ended with these exit codes of its steps.
fn ended(order: Order, tasks: &[&str], pods: &[&str]) -> Workplan {
    let mut workplan = workplan(order, tasks);
    let pods = pods
        .iter()
        .enumerate()
        .map(|(task, it)| (task, pod(task, it)));
    let decision = decide(&workplan, &observed(pods));
    assert!(decision.status.phase.is_some_and(Phase::is_final));
    workplan.metadata.name = Some("x".into());
    after(workplan, &decision)
}

/// A failed step among others.
fn failed() -> Workplan {
    let tasks = ["a", "b:a", "c:b", "d"];
    ended(Order::Graph, &tasks, &["| a=0", "| b=1", "|", "| d=0"])
}

fn rerun(from: &str) -> Workplan {
    let rerun = Rerun {
        of: "x".into(),
        from: RerunFrom::from(from.to_owned()),
    };
    workplan_of(WorkplanSpec {
        rerun: Some(rerun),
        ..WorkplanSpec::default()
    })
}

fn state_of(origin: Option<Workplan>) -> ObservedState {
    ObservedState {
        holder: origin.clone().map(Box::new),
        origin: origin.map(Box::new),
        ..observed([])
    }
}

/// The rerun after its tasks are set.
fn prepared(from: &str, origin: &Workplan) -> (Workplan, Decision) {
    let rerun = rerun(from);
    let state = state_of(Some(origin.clone()));
    let decision = decided(&rerun, &state);
    let mut rerun = after(rerun, &decision);
    rerun.spec = spec(&rerun, origin);
    (rerun, decision)
}

#[test]
fn completed_steps_are_taken_over() {
    let (_, decision) = prepared("Failed", &failed());
    assert_eq!(decision.actions, [Action::SetTasks]);
    assert_eq!(phases(&decision.status), "cppc");
    assert_eq!(decision.status.phase, Some(Phase::Pending));
    let steps = decision.status.steps.iter();
    let messages: Vec<_> = steps.map(|it| it.message.as_deref()).collect();
    let from_x = Some("taken over from x");
    assert_eq!(messages, [from_x, None, None, from_x]);
    let condition = &decision.status.conditions[0];
    let words = ["2 of 4 steps", "taken over from x", "empty"];
    assert!(words.iter().all(|it| condition.message.contains(it)));
}

#[test]
fn rest_of_the_plan_runs() {
    let (rerun, _) = prepared("Failed", &failed());
    let mut state = observed([]);
    let decision = decided(&rerun, &state);
    assert_eq!(decision.actions, [Action::CreatePod(1)]);
    assert_eq!(decision.status.started_at, None);
    assert_eq!(decision.status.phase, Some(Phase::Pending));
    let rerun = after(rerun, &decision);

    state.pods.insert(1, pod(1, "| b=0"));
    let decision = decided(&rerun, &state);
    assert_eq!(phases(&decision.status), "ccpc");
    assert_eq!(decision.actions, [Action::CreatePod(2)]);
    let rerun = after(rerun, &decision);

    state.pods.insert(2, pod(2, "| c=0"));
    let decision = decided(&rerun, &state);
    assert_eq!(decision.status.phase, Some(Phase::Completed));
    assert_eq!(decision.status.progress.as_deref(), Some("4/4"));
    assert_eq!(decision.actions, [Action::Sweep], "no pod is missing");
}

#[test]
fn named_step_runs_again() {
    let (rerun, decision) = prepared("d", &failed());
    assert_eq!(phases(&decision.status), "cppp");
    let created = decided(&rerun, &observed([])).actions;
    assert_eq!(created, [Action::CreatePod(1)], "before the node is known");
}

#[test]
fn relay_goes_on_with_the_steps_left() {
    let origin = {
        let mut workplan = workplan_of(crate::testing::relay(&["| a b:a c:b"]));
        workplan.metadata.name = Some("x".into());
        let mut status = WorkplanStatus {
            phase: Some(Phase::Failed),
            ..WorkplanStatus::default()
        };
        for (name, phase) in [
            ("a", StepPhase::Completed),
            ("b", StepPhase::Failed),
            ("c", StepPhase::Skipped),
        ] {
            status.steps.push(kubeci_api::StepStatus {
                name: name.into(),
                phase,
                ..kubeci_api::StepStatus::default()
            });
        }
        workplan.status = Some(status);
        workplan
    };
    let (rerun, decision) = prepared("Failed", &origin);
    assert_eq!(phases(&decision.status), "cpp");
    assert_eq!(
        decided(&rerun, &observed([])).actions,
        [Action::CreatePod(0)]
    );
}

#[test]
fn approved_step_is_taken_over_rejected_waits_again() {
    let mut origin = workplan(Order::Graph, &["g?", "a:g", "h?:a", "b:h"]);
    for task in [0, 2] {
        let step = &mut origin.spec.tasks[task].serial_steps[0];
        step.approval = Some(Approval::default());
    }
    let entry = |step: &str, approved| StepApproval {
        step: step.into(),
        approved,
        by: Some("jane".into()),
        at: None,
        message: None,
    };
    origin.status = Some(WorkplanStatus {
        approvals: vec![entry("g", true), entry("h", false)],
        ..WorkplanStatus::default()
    });
    let mut state = observed([(1, pod(1, "a=0"))]);
    let rejected = decided(&origin, &state);
    assert_eq!(phases(&rejected.status), "ccfs");
    origin.metadata.name = Some("x".into());

    let (rerun, decision) = prepared("Failed", &after(origin, &rejected));
    assert_eq!(phases(&decision.status), "ccpp");
    let approved_by = &decision.status.steps[0].approved_by;
    assert_eq!(approved_by.as_deref(), Some("jane"));
    state = observed([]);
    let waits = decided(&rerun, &state);
    assert_eq!(
        (phases(&waits.status), reason(&waits)),
        ("ccrp".to_owned(), "AwaitingApproval")
    );
    let since = waits.status.steps[2].started_at.as_ref();
    assert_eq!(
        since.map(|it| it.0),
        Some(state.now),
        "not since the end of a"
    );

    let mut rerun = after(rerun, &waits);
    rerun.status.get_or_insert_default().approvals = vec![entry("h", true)];
    let goes_on = decided(&rerun, &state);
    assert_eq!(goes_on.actions, [Action::CreatePod(3)]);
}

#[test]
fn final_steps_run_again() {
    let mut origin = workplan(Order::Graph, &["| a", "| f", "| g"]);
    origin.spec.finally = vec!["f".into(), "g".into()];
    let pods = [
        (0, pod(0, "| a=0")),
        (1, pod(1, "| f=1")),
        (2, pod(2, "| g=0")),
    ];
    let failed = decided(&origin, &observed(pods));
    assert_eq!(phases(&failed.status), "cfc");
    origin.metadata.name = Some("x".into());

    let (rerun, decision) = prepared("Failed", &after(origin, &failed));
    assert_eq!(phases(&decision.status), "cpp");
    let decision = decided(&rerun, &observed([]));
    assert_eq!(decision.actions, [Action::CreatePod(1)]);
    let pods = [(1, pod(1, "| f=0")), (2, pod(2, "| g=0"))];
    let ended = decided(&after(rerun, &decision), &observed(pods));
    assert_eq!(ended.status.phase, Some(Phase::Completed));
}

#[test]
fn pending_timeout_counts_before_the_first_own_step() {
    let (mut rerun, _) = prepared("Failed", &failed());
    rerun.metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let mut state = observed([(1, pod(1, "| b=wait:PodInitializing"))]);
    state.now += jiff::SignedDuration::from_hours(2);
    state.certainty = Certainty::Listed;
    let decision = decided(&rerun, &state);
    assert_eq!(reason(&decision), "PendingTimeout");
}

fn running() -> Workplan {
    let workplan = workplan(Order::Linear, &["a"]);
    let decision = decide(&workplan, &observed([(0, pod(0, "| a=run"))]));
    after(workplan, &decision)
}

#[rstest]
#[case::missing("Failed", None, &["spec.rerun.of", "x", "kubectl get workplans"])]
#[case::running("Failed", Some(running()), &["x has not ended", "running"])]
#[case::without_tasks("Failed", Some(after(rerun("Failed"), &decide(&rerun("Failed"), &state_of(None)))), &["x has no tasks"])]
#[case::unknown_step("e", Some(failed()), &["x has no step \"e\"", "a, b, c, d"])]
#[case::completed("Failed", Some(ended(Order::Linear, &["a"], &["| a=0"])), &["every step of x", "spec.rerun.from"])]
fn impossible_rerun_is_refused(
    #[case] from: &str,
    #[case] origin: Option<Workplan>,
    #[case] words: &[&str],
) {
    let decision = decided(&rerun(from), &state_of(origin));
    assert_eq!(decision.status.phase, Some(Phase::Failed));
    assert_eq!(reason(&decision), "RerunRefused");
    let said = message(&decision);
    assert!(words.iter().all(|it| said.contains(it)), "{said}");
    assert!(!decision.actions.contains(&Action::SetTasks));
}

#[test]
fn rerun_of_itself_is_refused() {
    let mut itself = rerun("Failed");
    itself.metadata.name = Some("x".into());
    let decision = decided(&itself, &state_of(None));
    assert!(message(&decision).contains("itself"));
}

#[test]
fn rerun_with_own_tasks_is_refused() {
    let mut own = rerun("Failed");
    own.spec.tasks = workplan(Order::Linear, &["a"]).spec.tasks;
    let decision = decided(&own, &observed([]));
    assert_eq!(reason(&decision), "RerunRefused");
    assert!(message(&decision).contains("leave tasks out"));
}

#[test]
fn law_6_rerun_is_prepared_again_after_a_kill() {
    let state = state_of(Some(failed()));
    let first = decided(&rerun("Failed"), &state);
    let again = decided(&after(rerun("Failed"), &first), &state);
    assert_eq!(again, first);
    let deleted = decided(&after(rerun("Failed"), &first), &state_of(None));
    assert_eq!(reason(&deleted), "RerunRefused");
    assert_eq!(deleted.status.steps, []);
}

#[test]
fn rerun_of_a_rerun_takes_over_again() {
    let (first, _) = prepared("Failed", &failed());
    let decision = decide(
        &first,
        &observed([(1, pod(1, "| b=0")), (2, pod(2, "| c=1"))]),
    );
    let mut first = after(first, &decision);
    first.metadata.name = Some("x".into());
    let (second, decision) = prepared("Failed", &first);
    assert_eq!(phases(&decision.status), "ccpc");
    assert_eq!(
        decided(&second, &observed([])).actions,
        [Action::CreatePod(2)]
    );
}

/// A failed Workplan whose folder is kept for an hour.
fn kept() -> Workplan {
    let mut workplan = workplan(Order::Graph, &["a", "b:a"]);
    let keep = serde_json::json!({"keep": {"for": "1h"}});
    workplan.spec.workspace = serde_json::from_value(keep).unwrap();
    let pods = [(0, pod(0, "| a=0")), (1, pod(1, "| b=1"))];
    let decision = decide(&workplan, &observed(pods));
    assert_eq!(cleaned(&decision), Some(("False", "Kept")));
    workplan.metadata.name = Some("x".into());
    after(workplan, &decision)
}

/// The Workplan after this rerun has entered itself.
fn used(holder: &Workplan, uid: &str) -> Workplan {
    let mut rerun = rerun("Failed");
    rerun.metadata.uid = Some(uid.into());
    let mut used = holder.clone();
    used.status = used.status.map(|status| with_user(&status, &rerun));
    used
}

fn taken_over_message(decision: &Decision) -> &str {
    let mut conditions = decision.status.conditions.iter();
    let condition = conditions.find(|it| it.type_ == "TakenOver");
    condition.map_or("", |it| it.message.as_str())
}

#[test]
fn kept_folder_is_used() {
    let free = decided(&rerun("Failed"), &state_of(Some(kept())));
    assert_eq!(free.actions, [Action::UseFolder]);
    assert_eq!(
        (free.status, free.wake_at),
        (WorkplanStatus::default(), Some(now()))
    );

    let origin = used(&kept(), "uid");
    let (rerun, decision) = prepared("Failed", &origin);
    assert_eq!(decision.actions, [Action::SetTasks]);
    assert!(taken_over_message(&decision).contains("that of x, with its files"));
    assert_eq!(decision.status.node.as_deref(), Some("n1"));
    let folder = crate::workspace::Folder::of(&rerun);
    assert_eq!(folder.to_string(), "ns/_/x");
    let decision = decided(&rerun, &observed([]));
    assert_eq!(decision.actions, [Action::CreatePod(1)]);
    assert_eq!(decision.status.node.as_deref(), Some("n1"));
}

fn in_state(mut workplan: Workplan, change: impl Fn(&mut Workplan)) -> Workplan {
    change(&mut workplan);
    workplan
}

#[rstest]
#[case::not_kept(Some(failed()), "was not kept")]
#[case::removed(None, "was removed")]
#[case::in_use(Some(used(&kept(), "other")), "plan uses the folder of x")]
#[case::deleted(Some(in_state(kept(), |it| it.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now())))), "was not kept")]
#[case::other_workflow(Some(in_state(kept(), |it| it.metadata.labels = Some([("kube.ci/workflow".to_owned(), "w".to_owned())].into()))), "another Workflow")]
fn rerun_without_kept_folder_says_why(#[case] holder: Option<Workplan>, #[case] why: &str) {
    let state = ObservedState {
        holder: holder.map(Box::new),
        ..state_of(Some(failed()))
    };
    let decision = decided(&rerun("Failed"), &state);
    assert_eq!(decision.actions, [Action::SetTasks]);
    let message = taken_over_message(&decision);
    assert!(
        message.contains(why) && message.contains("empty"),
        "{message}"
    );
    assert_eq!((decision.status.node, decision.status.folder), (None, None));
}

#[test]
fn law_5_used_folder_stays_until_it_is_returned() {
    let holder = used(&kept(), "uid");
    let mut state = observed([]);
    state.certainty = Certainty::Listed;
    state.user = FolderUse::InUse;
    state.now += jiff::SignedDuration::from_hours(2);
    let waits = decided(&holder, &state);
    assert_eq!(cleaned(&waits), Some(("False", "InUse")));
    assert_eq!(waits.actions, []);
    let mut deleted = holder.clone();
    deleted.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    assert_eq!(decided(&deleted, &state).actions, []);

    state.user = FolderUse::Returned(None);
    let swept = decided(&after(holder.clone(), &waits), &state);
    assert_eq!(swept.actions, [Action::Sweep]);
    assert_eq!(swept.status.folder, None);

    let until = state.now + jiff::SignedDuration::from_mins(9);
    state.user = FolderUse::Returned(Some(until));
    let kept = decided(&after(holder, &waits), &state);
    assert_eq!(cleaned(&kept), Some(("False", "Kept")));
    assert_eq!(kept.wake_at, Some(until));
}

#[test]
fn law_5_rerun_returns_its_folder_after_its_pods() {
    let (rerun, _) = prepared("Failed", &used(&kept(), "uid"));
    let mut state = observed([(1, pod(1, "| b=1"))]);
    let ended = decided(&rerun, &state);
    assert_eq!(cleaned(&ended), Some(("True", "Returned")));
    assert_eq!(ended.actions, [Action::RemoveFinalizer]);
    let mut rerun = after(rerun, &ended);
    assert_eq!(
        folder_use(&rerun),
        FolderUse::InUse,
        "its finalizer is there"
    );
    rerun.metadata.finalizers = None;
    let until = "2026-01-01T01:00:02Z".parse().unwrap();
    assert_eq!(folder_use(&rerun), FolderUse::Returned(Some(until)));

    let (mut rerun, _) = prepared("Failed", &used(&kept(), "uid"));
    rerun.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    state.certainty = Certainty::Listed;
    state.pods = BTreeMap::from([(1, pod(1, "| b=run"))]);
    assert_eq!(decided(&rerun, &state).actions, [Action::DeletePod(1)]);
}
