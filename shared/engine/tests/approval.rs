//! Approvals: steps that wait for a user.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kubeci_api::{StepPhase, StepStatus, WorkplanStatus};
use kubeci_engine::{
    Answer, Approval, Cause, Control, Observation, Place, PlanObservation, Run, Start, Steps,
    TaskObservation, Waiting,
};
use kubeci_plan::{ExpressionTexts, NamedEdge, Order, Plan, StepSpec, TaskSpec};
use rstest::rstest;

/// Tasks of one step: `"b:a"` waits for `a`, `"gate?"` is an approval.
fn plan<'a>(order: Order, steps: &[&'a str]) -> Plan<'a> {
    let task = |text: &&'a str| {
        let (name, edges) = text.split_once(':').unwrap_or((text, ""));
        let edges = edges.split(',').filter(|name| !name.is_empty());
        TaskSpec {
            serial: Vec::new(),
            parallel: vec![StepSpec {
                name: name.trim_end_matches('?'),
                edges: edges.map(NamedEdge::parse).collect(),
                allow_failure: false,
                retry: None,
                is_approval: name.ends_with('?'),
                is_final: false,
                expressions: ExpressionTexts::default(),
            }],
        }
    };
    Plan::new(order, steps.iter().map(task)).unwrap()
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn answer(approved: bool, at: Option<i64>) -> Answer {
    Answer {
        approved,
        by: Some("jane".into()),
        at: at.map(time),
        message: approved.then_some("go".into()),
    }
}

/// The answers to approvals, and the steps that have completed at a time.
#[derive(Default)]
struct Observed {
    answers: BTreeMap<&'static str, Answer>,
    completed: BTreeMap<&'static str, i64>,
}

impl Observed {
    fn of(&self, plan: &Plan) -> PlanObservation {
        let of_step = |(at, step): (usize, &kubeci_plan::PlanStep)| {
            let observation = if step.is_approval {
                Some(Observation::Approval(Approval {
                    message: "waits for approval: go?".into(),
                    answer: self.answers.get(step.name).cloned(),
                }))
            } else {
                let ended = self.completed.get(step.name);
                ended.map(|ended| completed(step.name, *ended))
            };
            TaskObservation {
                steps: observation.map(|it| (at, it)).into_iter().collect(),
                ..TaskObservation::default()
            }
        };
        PlanObservation {
            tasks: plan.steps.iter().enumerate().map(of_step).collect(),
            ..PlanObservation::default()
        }
    }
}

fn completed(step: &str, ended: i64) -> Observation {
    Observation::Completed(Run {
        place: Place {
            pod: "plan-0".into(),
            container: step.into(),
        },
        start: Start::At(time(1)),
        ended: Some(time(ended)),
        exit_code: Some(0),
        outputs: BTreeMap::new(),
        repeated: Vec::new(),
    })
}

fn phases(steps: &Steps) -> String {
    let letter = |phase| match phase {
        StepPhase::Pending => 'p',
        StepPhase::Running => 'r',
        StepPhase::Completed => 'c',
        StepPhase::Failed => 'f',
        StepPhase::Skipped => 's',
    };
    steps
        .all()
        .iter()
        .map(|step| letter(step.phase()))
        .collect()
}

fn settled<'a>(plan: &'a Plan<'a>, observed: &Observed, now: i64) -> Steps<'a> {
    let mut steps = Steps::read(plan, &[]);
    steps.settle(&observed.of(plan), time(now));
    let recorded = steps.status();
    assert_eq!(Steps::read(plan, &recorded).status(), recorded);
    steps
}

fn status_of<'a>(statuses: &'a [StepStatus], name: &str) -> &'a StepStatus {
    statuses.iter().find(|it| it.name == name).unwrap()
}

#[test]
fn approval_waits_from_the_end_before_it() {
    let plan = plan(Order::Graph, &["a", "gate?:a", "b:gate"]);
    let mut observed = Observed::default();
    let steps = settled(&plan, &observed, 5);
    assert_eq!(phases(&steps), "ppp");
    assert!(steps.ready_tasks(|_| false, time(5)) == [0]);
    observed.completed.insert("a", 7);
    let steps = settled(&plan, &observed, 9);
    assert_eq!(phases(&steps), "crp");
    assert!(steps.ready_tasks(|_| false, time(9)).is_empty());
    let statuses = steps.status();
    let gate = status_of(&statuses, "gate");
    assert_eq!(gate.message.as_deref(), Some("waits for approval: go?"));
    assert_eq!(gate.started_at.as_ref().map(|it| it.0), Some(time(7)));
    assert_eq!(
        steps.awaited_approvals(),
        [("gate", "waits for approval: go?")]
    );
}

#[rstest]
#[case::when_the_wait_began(None, 7)]
#[case::stated(Some(8), 8)]
#[case::before_the_wait(Some(3), 7)]
#[case::in_the_future(Some(12), 9)]
fn approval_completes_the_step(#[case] at: Option<i64>, #[case] ended: i64) {
    let plan = plan(Order::Graph, &["a", "gate?:a", "b:gate"]);
    let mut observed = Observed::default();
    observed.completed.insert("a", 7);
    observed.answers.insert("gate", answer(true, at));
    let steps = settled(&plan, &observed, 9);
    assert_eq!(phases(&steps), "ccp");
    assert_eq!(steps.ready_tasks(|_| false, time(9)), [2]);
    let statuses = steps.status();
    let gate = status_of(&statuses, "gate");
    assert_eq!(gate.approved_by.as_deref(), Some("jane"));
    assert_eq!(gate.finished_at.as_ref().map(|it| it.0), Some(time(ended)));
}

#[test]
fn early_approvals_count_at_once() {
    let plan = plan(Order::Graph, &["c:second", "second?:first", "first?"]);
    let mut observed = Observed::default();
    observed.answers.insert("second", answer(true, None));
    assert_eq!(phases(&settled(&plan, &observed, 2)), "ppr");
    observed.answers.insert("first", answer(true, None));
    assert_eq!(phases(&settled(&plan, &observed, 2)), "pcc");
}

#[test]
fn rejected_step_has_failed() {
    let steps = [
        "gate?",
        "deploy:gate",
        "report:gate.failed",
        "end:gate.ended",
    ];
    let plan = plan(Order::Graph, &steps);
    let mut observed = Observed::default();
    observed.answers.insert("gate", answer(false, None));
    let steps = settled(&plan, &observed, 2);
    assert_eq!(phases(&steps), "fspp");
    let failure = steps.all()[0].failure().unwrap();
    let expected = Cause::new("Rejected", "jane rejected the step");
    assert_eq!(*failure, expected);
}

#[test]
fn approval_in_linear_order_waits_for_earlier_tasks() {
    let plan = plan(Order::Linear, &["a", "gate?", "b"]);
    let mut observed = Observed::default();
    let steps = settled(&plan, &observed, 2);
    assert_eq!(phases(&steps), "ppp");
    let message = steps.status()[1].message.clone();
    assert_eq!(message.as_deref(), Some("waiting for the tasks before it"));
    observed.completed.insert("a", 7);
    assert_eq!(phases(&settled(&plan, &observed, 9)), "crp");
}

#[test]
fn approval_beside_other_steps_is_not_awaited_alone() {
    let plan = plan(Order::Graph, &["a", "gate?"]);
    let steps = settled(&plan, &Observed::default(), 2);
    assert_eq!(phases(&steps), "pr");
    assert!(steps.awaited_approvals().is_empty());
}

fn ended(plan: &Plan, control: &Control, now: i64) -> Option<Vec<StepStatus>> {
    let observed = Observed::default();
    let mut steps = settled(plan, &observed, 5);
    let (mut waiting, prior) = (Waiting::default(), WorkplanStatus::default());
    let due = steps.due(control, &mut waiting, &prior, time(now));
    if due.is_empty() {
        return None;
    }
    steps.stop(due);
    steps.settle(&observed.of(plan), time(now));
    Some(steps.status())
}

#[rstest]
#[case::timeout(Control { step_timeouts: vec![Some(SignedDuration::from_secs(3))], ..Control::default() }, "Timeout", "the step was not approved within its timeout of 3s")]
#[case::plan_timeout(Control { timeout: Some(SignedDuration::from_secs(3)), ..Control::default() }, "Stopped", "the step was stopped: the Workplan ran longer than its timeout of 3s")]
#[case::cancel(Control { cancel: true, ..Control::default() }, "Stopped", "the step was stopped: the Workplan was cancelled")]
fn approval_that_is_stopped_has_failed(
    #[case] control: Control,
    #[case] reason: &str,
    #[case] message: &str,
) {
    let plan = plan(Order::Graph, &["gate?", "b:gate"]);
    let steps = ended(&plan, &control, 20).unwrap();
    assert_eq!(steps[0].phase, StepPhase::Failed);
    assert_eq!(steps[0].reason.as_deref(), Some(reason));
    assert_eq!(steps[0].message.as_deref(), Some(message));
    assert!(steps[0].finished_at.is_some());
    assert_eq!(steps[1].phase, StepPhase::Skipped);
}

#[rstest]
#[case::alone(&["gate?", "b:gate"], false)]
#[case::beside_a_pod(&["gate?", "b"], true)]
fn approval_does_not_count_as_pending(#[case] steps: &[&str], #[case] fails: bool) {
    let plan = plan(Order::Graph, steps);
    let control = Control {
        pending_timeout: Some(SignedDuration::from_secs(10)),
        created: Some(time(0)),
        ..Control::default()
    };
    assert_eq!(ended(&plan, &control, 60).is_some(), fails);
}

#[rstest]
#[case::before_the_limit(28, false)]
#[case::after_it(31, true)]
fn pending_timeout_counts_from_the_approval(#[case] now: i64, #[case] fails: bool) {
    let plan = plan(Order::Graph, &["gate?", "b:gate"]);
    let mut observed = Observed::default();
    observed.answers.insert("gate", answer(true, None));
    let steps = settled(&plan, &observed, 20);
    let control = Control {
        pending_timeout: Some(SignedDuration::from_secs(10)),
        timeout: Some(SignedDuration::from_hours(1)),
        created: Some(time(0)),
        ..Control::default()
    };
    let (mut waiting, prior) = (Waiting::default(), WorkplanStatus::default());
    let due = steps.due(&control, &mut waiting, &prior, time(now));
    assert_eq!(!due.is_empty(), fails);
}
