use kubeci_api::{Approval, Order, StepApproval};
use rstest::rstest;

use super::fixtures::*;
use super::*;
use crate::testing::{workplan, workplan_of};

fn entry(step: &str, approved: bool) -> StepApproval {
    StepApproval {
        step: step.into(),
        approved,
        by: Some("jane".into()),
        at: None,
        message: None,
    }
}

/// The Workplan after the decision and the entries that users have written.
fn answered(workplan: &Workplan, decision: &Decision, entries: &[StepApproval]) -> Workplan {
    let mut workplan = after(workplan.clone(), decision);
    let status = workplan.status.get_or_insert_default();
    status.approvals = entries.to_vec();
    workplan
}

fn between_two_steps() -> Workplan {
    let mut workplan = workplan(Order::Linear, &["build", "gate?:build", "deploy:gate"]);
    workplan.spec.tasks[1].serial_steps[0].approval = Some(Approval {
        message: Some("Deploy?".into()),
    });
    workplan
}

#[test]
fn approval_between_two_pods_holds_the_second() {
    let plan = between_two_steps();
    let built = observed([(0, pod(0, "build=0"))]);
    let waits = decided(&plan, &built);
    assert_eq!(phases(&waits.status), "crp");
    assert_eq!((waits.actions.len(), waits.wake_at), (0, None));
    assert_eq!(reason(&waits), "AwaitingApproval");
    assert_eq!(
        message(&waits),
        "the step gate waits for approval: Deploy?. To approve gate: kubectl -n ns patch workplan plan \
         --subresource=status --type=merge -p '{\"status\":{\"approvals\":[{\"step\":\"gate\",\"by\":\"YOUR-NAME\"}]}}'"
    );
    let gate = &waits.status.steps[1];
    assert_eq!(gate.message.as_deref(), Some("waits for approval: Deploy?"));
    assert_eq!((&gate.pod, &gate.reason), (&None, &None));

    let plan = answered(&plan, &waits, &[entry("gate", true)]);
    let goes_on = decided(&plan, &built);
    assert_eq!(phases(&goes_on.status), "ccp");
    assert_eq!(goes_on.actions, [Action::CreatePod(2)]);
    assert_eq!(goes_on.status.reason, None);
    assert_eq!(goes_on.status.approvals, [entry("gate", true)]);
    assert_eq!(goes_on.status.steps[1].approved_by.as_deref(), Some("jane"));
}

#[test]
fn rejection_fails_the_plan_and_says_who() {
    let plan = between_two_steps();
    let built = observed([(0, pod(0, "build=0"))]);
    let waits = decided(&plan, &built);
    let plan = answered(&plan, &waits, &[entry("gate", false)]);
    let rejected = decided(&plan, &built);
    assert_eq!(phases(&rejected.status), "cfs");
    assert_eq!(reason(&rejected), "StepFailed");
    assert_eq!(summary(&rejected), "gate: Rejected");
    assert_eq!(
        message(&rejected),
        "the step gate failed: Rejected: jane rejected the step. 1 step was skipped."
    );
    assert_eq!(rejected.status.steps[1].reason.as_deref(), Some("Rejected"));
}

#[test]
fn early_approval_counts_when_the_step_waits() {
    let mut plan = between_two_steps();
    plan.status = Some(WorkplanStatus {
        approvals: vec![entry("gate", true)],
        ..WorkplanStatus::default()
    });
    let first = decided(&plan, &observed([]));
    assert_eq!(first.actions, [Action::CreatePod(0)]);
    assert_eq!(first.status.approvals.len(), 1);
    let built = decided(&plan, &observed([(0, pod(0, "build=0"))]));
    assert_eq!(phases(&built.status), "ccp");
    assert_eq!(built.actions, [Action::CreatePod(2)]);
}

#[test]
fn entries_for_other_steps_have_no_effect() {
    let plan = between_two_steps();
    let built = observed([(0, pod(0, "build=0"))]);
    let waits = decided(&plan, &built);
    let plan = answered(&plan, &waits, &[entry("gat", true), entry("deploy", true)]);
    let still = decided(&plan, &built);
    assert_eq!(phases(&still.status), "crp");
    let end = "no step with `approval` has the name: gat, deploy";
    assert!(message(&still).ends_with(end), "{}", message(&still));
}

#[test]
fn later_entry_changes_nothing() {
    let plan = between_two_steps();
    let built = observed([(0, pod(0, "build=0"))]);
    let waits = decided(&plan, &built);
    let plan = answered(&plan, &waits, &[entry("gate", true)]);
    let approved = decided(&plan, &built);
    for entries in [&[][..], &[entry("gate", false)]] {
        let plan = answered(&plan, &approved, entries);
        let later = decided(&plan, &built);
        assert_eq!(later.status.steps[1], approved.status.steps[1]);
    }
}

#[test]
fn first_approval_needs_no_pod() {
    let plan = workplan(Order::Graph, &["gate?", "a:gate", "other?"]);
    let waits = decided(&plan, &observed([]));
    assert_eq!(phases(&waits.status), "rpr");
    assert!(waits.actions.is_empty());
    assert_eq!(waits.status.phase, Some(Phase::Running));
    let start = "the steps gate, other wait for approval. To approve gate: ";
    assert!(message(&waits).starts_with(start), "{}", message(&waits));
    let entries = [entry("gate", true), entry("other", false)];
    let goes_on = decided(&answered(&plan, &waits, &entries), &observed([]));
    assert_eq!(phases(&goes_on.status), "cpf");
    assert_eq!(goes_on.actions, [Action::CreatePod(1)]);
}

#[test]
fn approval_beside_a_pod_is_no_reason_to_wait() {
    let plan = workplan(Order::Graph, &["a", "gate?"]);
    let decision = decided(&plan, &observed([(0, pod(0, "a=run"))]));
    assert_eq!(phases(&decision.status), "rr");
    assert_eq!(decision.status.reason, None);
}

#[test]
fn suspended_plan_begins_no_approval() {
    let mut plan = between_two_steps();
    plan.spec.suspend = true;
    let built = observed([(0, pod(0, "build=0"))]);
    let held = decided(&plan, &built);
    assert_eq!(phases(&held.status), "cpp");
    assert_eq!(reason(&held), "Suspended");

    plan.spec.suspend = false;
    let waits = decided(&after(plan.clone(), &held), &built);
    assert_eq!(phases(&waits.status), "crp");
    let mut plan = answered(&plan, &waits, &[entry("gate", true)]);
    plan.spec.suspend = true;
    let approved = decided(&plan, &built);
    assert_eq!(phases(&approved.status), "ccp");
    assert!(approved.actions.is_empty(), "no pod until it is resumed");
}

#[test]
fn cancelled_approval_ends_at_once() {
    let plan = between_two_steps();
    let built = observed([(0, pod(0, "build=0"))]);
    let waits = decided(&plan, &built);
    let mut plan = after(plan, &waits);
    plan.spec.cancel = true;
    let listed = ObservedState {
        certainty: Certainty::Listed,
        ..built
    };
    let cancelled = decided(&plan, &listed);
    assert_eq!(phases(&cancelled.status), "cfs");
    assert_eq!(cancelled.status.phase, Some(Phase::Cancelled));
    let gate = &cancelled.status.steps[1];
    assert_eq!(gate.reason.as_deref(), Some("Stopped"));
}

#[test]
fn unapproved_step_ends_a_plan_that_fails_fast() {
    let mut plan = workplan(Order::Graph, &["gate?", "a:gate", "b:gate.ended"]);
    plan.spec.fail_fast = true;
    plan.spec.tasks[0].serial_steps[0].timeout = Some(std::time::Duration::from_mins(1).into());
    let waits = decided(&plan, &observed([]));
    let late = ObservedState {
        certainty: Certainty::Listed,
        now: now() + jiff::SignedDuration::from_secs(62),
        ..observed([])
    };
    let ended = decided(&after(plan, &waits), &late);
    assert_eq!(phases(&ended.status), "fss");
    assert_eq!(summary(&ended), "gate: Timeout");
}

#[rstest]
#[case::one_slot(1)]
#[case::two(2)]
fn waiting_approval_has_no_slot(#[case] max_parallel: u16) {
    let mut plan = workplan(Order::Graph, &["gate?", "a"]);
    plan.spec.max_parallel = std::num::NonZeroU16::new(max_parallel);
    let decision = decided(&plan, &observed([]));
    assert_eq!(decision.actions, [Action::CreatePod(1)]);
}

#[test]
fn approval_cuts_a_relay_and_counts_as_no_pod() {
    let spec = crate::testing::relay(&["| a b:a", "| gate?:b", "| c:gate d:c"]);
    let plan = workplan_of(spec);
    let decision = decided(&plan, &observed([(0, pod(0, "| a=0 b=0"))]));
    let condition = decision
        .status
        .conditions
        .iter()
        .find(|it| it.type_ == "Relayed");
    let message = condition.map(|it| it.message.as_str()).unwrap_or_default();
    assert!(message.starts_with("2 pods; 4 of 4 steps"), "{message}");
}
