//! A plan that something else than pods executes: processes of one machine, one executor for all tasks.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kubeci_api::{Phase, StepPhase, WorkplanStatus};
use kubeci_engine::{
    Cause, Derivation, Executor, Lost, Observation, Place, PlanObservation, Run, Severity, Start,
    Step, Steps, TaskObservation, WaitingCause, derive_status,
};
use kubeci_plan::{ExpressionTexts, NamedEdge, Order, Plan, StepSpec, TaskSpec};

/// A task of one step each: `"b!:a"` is the step `b`, which may fail, after `a`.
fn plan<'a>(steps: &[&'a str]) -> Plan<'a> {
    let task = |text: &&'a str| {
        let (name, edges) = text.split_once(':').unwrap_or((text, ""));
        let edges = edges.split(',').filter(|name| !name.is_empty());
        let edges = edges.map(NamedEdge::parse).collect();
        TaskSpec {
            serial: Vec::new(),
            parallel: vec![StepSpec {
                name: name.trim_end_matches('!'),
                edges,
                allow_failure: name.ends_with('!'),
                retry: None,
                expressions: ExpressionTexts::default(),
                is_final: name.starts_with(char::is_uppercase),
                is_approval: false,
            }],
        }
    };
    Plan::new(Order::Graph, steps.iter().map(task)).unwrap()
}

struct Processes;

impl Executor for Processes {
    fn log_command(&self, place: &Place) -> String {
        format!("cat {}.log", place.container)
    }

    fn is_of_step(&self, _: &str) -> bool {
        true
    }
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn place(step: &str) -> Place {
    Place {
        pod: "here".into(),
        container: step.into(),
    }
}

fn run(step: &str, exit_code: i32) -> Run {
    Run {
        place: place(step),
        start: Start::At(time(1)),
        ended: Some(time(2)),
        exit_code: Some(exit_code),
        outputs: BTreeMap::new(),
        repeated: Vec::new(),
    }
}

fn ends(step: &str, exit_code: i32) -> Observation {
    match exit_code {
        0 => Observation::Completed(run(step, 0)),
        _ => Observation::Failed(Cause::new(Cause::ERROR, "no space"), run(step, exit_code)),
    }
}

/// One observation of each step, by position.
fn observed(steps: Vec<Option<Observation>>) -> PlanObservation {
    let task = |(at, observation): (usize, Option<Observation>)| TaskObservation {
        steps: observation.map(|it| (at, it)).into_iter().collect(),
        ..TaskObservation::default()
    };
    PlanObservation {
        tasks: steps.into_iter().enumerate().map(task).collect(),
        ..PlanObservation::default()
    }
}

fn status(steps: &Steps, waiting: Option<&WaitingCause>) -> WorkplanStatus {
    let derivation = Derivation {
        steps,
        waiting,
        executor: &Processes,
        node: None,
        generation: Some(1),
        is_disturbed: false,
        now: time(9),
    };
    derive_status(WorkplanStatus::default(), &derivation)
}

fn phases(steps: &Steps) -> Vec<StepPhase> {
    steps.all().iter().map(Step::phase).collect()
}

#[test]
fn ready_tasks_follow_the_edges() {
    let plan = plan(&["a", "b:a", "c:a,b"]);
    let mut steps = Steps::read(&plan, &[]);
    assert_eq!(steps.ready_tasks(|_| false, time(2)), [0]);
    assert_eq!(steps.ready_tasks(|task| task == 0, time(2)), [0_usize; 0]);
    steps.settle(&observed(vec![Some(ends("a", 0)), None, None]), time(2));
    assert_eq!(steps.ready_tasks(|_| false, time(2)), [1]);
}

#[test]
fn failed_step_skips_those_after_it() {
    let plan = plan(&["a", "b:a", "c:b", "d"]);
    let mut steps = Steps::read(&plan, &[]);
    let observed = observed(vec![Some(ends("a", 3)), None, None, Some(ends("d", 0))]);
    steps.settle(&observed, time(2));
    let skipped = StepPhase::Skipped;
    let expected = [StepPhase::Failed, skipped, skipped, StepPhase::Completed];
    assert_eq!(phases(&steps), expected);
    let status = status(&steps, None);
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(status.reason.as_deref(), Some("StepFailed"));
    assert_eq!(status.summary.as_deref(), Some("a: exit code 3"));
    let message = "the step a failed: exit code 3: no space. 2 steps were skipped. Log of the step: cat a.log";
    assert_eq!(status.message.as_deref(), Some(message));
    assert_eq!(status.progress.as_deref(), Some("1/4"));
    assert_eq!(status.conditions[0].status, "False");
}

#[test]
fn failure_edge_runs_and_plan_still_fails() {
    let plan = plan(&["a", "b:a", "c:a.failed", "d:b.ended,c.ended"]);
    let mut steps = Steps::read(&plan, &[]);
    let mut ends_so_far = vec![Some(ends("a", 3)), None, None, None];
    steps.settle(&observed(ends_so_far.clone()), time(2));
    assert_eq!(steps.ready_tasks(|task| task == 0, time(9)), [2]);
    ends_so_far[2] = Some(ends("c", 0));
    steps.settle(&observed(ends_so_far.clone()), time(3));
    assert_eq!(
        steps.ready_tasks(|task| [0, 2].contains(&task), time(9)),
        [3]
    );
    ends_so_far[3] = Some(ends("d", 0));
    steps.settle(&observed(ends_so_far), time(4));
    let status = status(&steps, None);
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(status.summary.as_deref(), Some("a: exit code 3"));
    assert_eq!(status.progress.as_deref(), Some("2/4"));
}

#[test]
fn plan_completes_past_an_allowed_failure() {
    let plan = plan(&["a!", "b:a", "c:b.failed"]);
    let mut steps = Steps::read(&plan, &[]);
    steps.settle(&observed(vec![Some(ends("a", 3)), None, None]), time(2));
    assert_eq!(steps.ready_tasks(|task| task == 0, time(9)), [1]);
    let ended = observed(vec![Some(ends("a", 3)), Some(ends("b", 0)), None]);
    steps.settle(&ended, time(3));
    let status = status(&steps, None);
    assert_eq!(status.phase, Some(Phase::Completed));
    assert_eq!((status.reason, status.summary), (None, None));
    assert_eq!(status.progress.as_deref(), Some("2/3"));
    let message = "1 step failed, which allowFailure allows; 1 step was skipped; every other step has completed";
    assert_eq!(status.message.as_deref(), Some(message));
    let note = status.steps[0].message.as_deref();
    assert_eq!(note, Some("allowed by allowFailure: no space"));
    let skipped = status.steps[2].message.as_deref();
    assert_eq!(
        skipped,
        Some("skipped: it runs only if b fails, and b did not fail")
    );
    assert_eq!(status.conditions[0].status, "True");
}

#[test]
fn lost_executor_fails_what_runs() {
    let plan = plan(&["a", "b:a"]);
    let mut steps = Steps::read(&plan, &[]);
    let start = Start::At(time(1));
    let place = place("a");
    let mut observed = observed(vec![Some(Observation::Running { place, start }), None]);
    observed.tasks[0].lost = Some(Lost {
        cause: Cause::new("ProcessLost", "the machine was restarted"),
        ended: Some(time(7)),
    });
    steps.settle(&observed, time(8));
    assert_eq!(phases(&steps), [StepPhase::Failed, StepPhase::Skipped]);
    assert_eq!(
        status(&steps, None).summary.as_deref(),
        Some("a: ProcessLost")
    );
    assert_eq!(steps.all()[0].attempt().ended, Some(time(7)));
}

#[test]
fn waiting_counts_while_a_step_is_open() {
    let plan = plan(&["a"]);
    let mut steps = Steps::read(&plan, &[]);
    let cause = WaitingCause::new(Severity::Slow, Cause::new("Slow", "it takes long"));
    let mut waits = observed(vec![Some(Observation::Waiting)]);
    waits.tasks[0].waiting.add(cause.clone());
    let waiting = steps.settle(&waits, time(1));
    assert_eq!(waiting.cause(), Some(&cause));
    assert_eq!(
        status(&steps, waiting.cause()).reason.as_deref(),
        Some("Slow")
    );
    waits.tasks[0].steps = vec![(0, ends("a", 0))];
    assert_eq!(steps.settle(&waits, time(3)).cause(), None);
}

#[test]
fn plan_without_news_has_no_status() {
    let plan = plan(&["a"]);
    let steps = Steps::read(&plan, &[]);
    assert_eq!(status(&steps, None), WorkplanStatus::default());
}

#[test]
fn final_steps_run_after_a_failure() {
    let plan = plan(&["a", "b:a", "F", "G:F"]);
    let mut steps = Steps::read(&plan, &[]);
    steps.settle(&observed(vec![None; 4]), time(1));
    assert_eq!(steps.ready_tasks(|_| false, time(9)), [0]);
    let failed = vec![Some(ends("a", 3)), None, None, None];
    steps.settle(&observed(failed.clone()), time(2));
    assert_eq!(steps.ready_tasks(|task| task == 0, time(9)), [2]);
    let running = status(&steps, None);
    assert_eq!(running.phase, Some(Phase::Running));
    assert!(running.finally_at.is_some());
    let message = running.message.unwrap();
    let expected = "1 step was skipped. The final steps run. Log of the step: cat a.log";
    assert!(message.ends_with(expected), "{message}");
    let ended = [failed[..2].to_vec(), vec![Some(ends("F", 4)), None]].concat();
    steps.settle(&observed(ended), time(3));
    let status = status(&steps, None);
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(status.summary.as_deref(), Some("a: exit code 3"));
    let message = status.message.unwrap();
    let expected = "2 steps were skipped. The final step F failed, too: exit code 4. Log of the step: cat a.log";
    assert!(message.ends_with(expected), "{message}");
}

#[test]
fn final_failure_fails_the_plan() {
    let plan = plan(&["a", "F"]);
    let mut steps = Steps::read(&plan, &[]);
    steps.settle(&observed(vec![Some(ends("a", 0)), None]), time(2));
    let running = status(&steps, None);
    let expected = "the final steps are running";
    assert_eq!(running.message.as_deref(), Some(expected));
    assert_eq!(steps.phase_without_final_steps(), Phase::Completed);
    let ended = vec![Some(ends("a", 0)), Some(ends("F", 4))];
    steps.settle(&observed(ended), time(3));
    let status = status(&steps, None);
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(status.summary.as_deref(), Some("F: exit code 4"));
    let message = status.message.unwrap();
    assert!(
        message.starts_with("the final step F failed: exit code 4"),
        "{message}"
    );
}
