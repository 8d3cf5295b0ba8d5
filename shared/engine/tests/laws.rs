//! What holds for any observations of any plan, in any order.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kubeci_api::{StepPhase, StepStatus, WorkplanStatus};
use kubeci_engine::{
    Cause, Control, HandOver, Lost, Observation, Place, PlanObservation, Run, Standby, Start, Step,
    Steps, TaskObservation, Waiting,
};
use kubeci_plan::{
    EdgeKind, ExpressionTexts, FailureKind, NamedEdge, Order, Plan, Readiness, RetryPolicy,
    StepSpec, TaskSpec,
};
use proptest::prelude::*;

const STEPS: usize = 6;
/// The limit of the steps with a retry policy.
const LIMIT: u32 = 2;
/// How often a step is repeated that was lost before it had started.
const LOST_MAX: u32 = 5;
const NAMES: [&str; STEPS] = ["a", "b", "c", "d", "e", "f"];

/// A relay of one half of the steps, and a task of each other one. Bits say which steps before it a step waits
/// for. The upper bits of a step say what others wait for, whether it may fail, and whether it has a retry policy. The
/// first step waits for none; its bits say how many of the last steps are final, and which half is the relay.
fn plan(dependencies: &[u8]) -> Plan<'static> {
    let is_final = |at: usize| at >= STEPS - usize::from(dependencies[0] & 3);
    let may_fail = |at: usize| dependencies[at] >> 7 == 1;
    let kind = |from: usize| match dependencies[from] >> 5 & 3 {
        1 if !may_fail(from) => EdgeKind::OnFailure,
        2 => EdgeKind::OnEnd,
        _ => EdgeKind::OnSuccess,
    };
    let step = |at: usize| StepSpec {
        name: NAMES[at],
        allow_failure: may_fail(at),
        is_final: is_final(at),
        edges: (0..at)
            .filter(|from| dependencies[at] >> from & 1 == 1)
            .filter(|from| is_final(*from) == is_final(at))
            .map(|from| NamedEdge {
                from: NAMES[from],
                kind: kind(from),
            })
            .collect(),
        retry: (dependencies[at] & 0x40 != 0).then(|| RetryPolicy {
            limit: LIMIT,
            on: FailureKind::ALL.to_vec(),
            ..RetryPolicy::default()
        }),
        expressions: ExpressionTexts::default(),
        is_approval: false,
    };
    let task = |steps: std::ops::Range<usize>| TaskSpec {
        serial: Vec::new(),
        parallel: steps.map(step).collect(),
    };
    let half = STEPS / 2;
    let single = |at: usize| at..at + 1;
    let tasks: Vec<_> = if dependencies[0] & 4 == 0 {
        std::iter::once(0..half)
            .chain((half..STEPS).map(single))
            .collect()
    } else {
        (0..half)
            .map(single)
            .chain(std::iter::once(half..STEPS))
            .collect()
    };
    let tasks = tasks.into_iter();
    Plan::new(Order::Relay, tasks.map(task)).unwrap()
}

fn any_observation(pod: &'static str, kind: FailureKind) -> impl Strategy<Value = Observation> {
    let time = |second| Timestamp::from_second(second).unwrap();
    let place = move || Place {
        pod: pod.into(),
        container: "c".into(),
    };
    let start = Start::AtTurn { up: Some(time(1)) };
    let run = move || Run {
        place: place(),
        start,
        ended: Some(time(2)),
        exit_code: Some(1),
        outputs: BTreeMap::new(),
        repeated: Vec::new(),
    };
    let cause = || Cause::new("Error", "no").of_kind(kind);
    let up = Standby::Up {
        place: place(),
        since: Some(time(1)),
    };
    let blocked = Standby::Blocked {
        cause: cause(),
        until: None,
    };
    let not_started = Observation::NotStarted {
        cause: cause(),
        run: run(),
        came_up: false,
    };
    prop::sample::select(vec![
        Observation::Waiting,
        Observation::Held(cause()),
        Observation::Standby(up),
        Observation::Standby(blocked),
        Observation::Running {
            place: place(),
            start,
        },
        Observation::Completed(run()),
        Observation::Failed(cause(), run()),
        not_started,
        Observation::Postponed {
            cause: cause(),
            run: run(),
        },
        Observation::Excluded {
            by: 0,
            message: "not here".into(),
        },
        Observation::Removed {
            place: place(),
            cause: cause(),
        },
    ])
}

fn any_task() -> impl Strategy<Value = TaskObservation> {
    let pod = prop::sample::select(vec!["p", "q", "r"]);
    let kind = prop::sample::select(&FailureKind::ALL);
    (pod, kind).prop_flat_map(|(pod, kind)| task_in(pod, kind))
}

fn task_in(pod: &'static str, kind: FailureKind) -> impl Strategy<Value = TaskObservation> {
    let steps = prop::collection::vec((0..STEPS + 1, any_observation(pod, kind)), 0..4);
    let sets = prop::collection::btree_set(0..STEPS, 0..STEPS);
    let parts = (
        steps,
        sets.clone(),
        prop::option::of(sets),
        0..8_u8,
        0..8_u8,
    );
    parts.prop_map(
        move |(steps, held, came_up, lost, left_open)| TaskObservation {
            executor: Some(pod.into()),
            is_live: lost % 2 == 1,
            is_stopped: lost % 3 == 1,
            steps,
            held,
            hand_over: came_up.map(|came_up| HandOver {
                members: came_up.clone(),
                ended: came_up.clone(),
                came_up,
                done_by: Timestamp::from_second(50).unwrap(),
            }),
            lost: (lost == 0).then(|| Lost {
                cause: Cause::new("Gone", "").of_kind(kind),
                ended: None,
            }),
            left_open: (left_open == 0).then(|| Cause::new("Altered", "")),
            ..TaskObservation::default()
        },
    )
}

/// There may be too few tasks, or too many.
fn any_plan_observation() -> impl Strategy<Value = PlanObservation> {
    let tasks = prop::collection::vec(any_task(), 0..6);
    tasks.prop_map(|tasks| PlanObservation {
        tasks,
        ..PlanObservation::default()
    })
}

fn cancel() -> Control {
    Control {
        cancel: true,
        ..Control::default()
    }
}

fn has_ended(step: &StepStatus) -> bool {
    step.phase.is_final()
}

proptest! {
    #[test]
    fn same_observation_changes_nothing_more(
        dependencies in prop::collection::vec(any::<u8>(), STEPS),
        observations in prop::collection::vec(any_plan_observation(), 1..8),
    ) {
        let plan = plan(&dependencies);
        let mut steps = Steps::read(&plan, &[]);
        for (second, observation) in (40..).zip(&observations) {
            let now = Timestamp::from_second(second).unwrap();
            let waiting = steps.settle(observation, now);
            let recorded = steps.status();
            prop_assert_eq!(steps.settle(observation, now), waiting);
            prop_assert_eq!(steps.status(), recorded.clone());
            prop_assert_eq!(Steps::read(&plan, &recorded).status(), recorded, "read back");
        }
    }

    #[test]
    fn ended_steps_never_change(
        dependencies in prop::collection::vec(any::<u8>(), STEPS),
        observations in prop::collection::vec(any_plan_observation(), 1..8),
    ) {
        let plan = plan(&dependencies);
        let mut steps = Steps::read(&plan, &[]);
        for (second, observation) in (40..).zip(&observations) {
            let before = steps.status();
            steps.settle(observation, Timestamp::from_second(second).unwrap());
            for (before, after) in before.iter().zip(steps.status()) {
                prop_assert!(!has_ended(before) || *before == after);
                let is_back = before.phase == StepPhase::Running && after.phase == StepPhase::Pending;
                prop_assert!(!is_back || after.attempt() > before.attempt(), "only another attempt waits again");
                let known = before.attempts.len().saturating_sub(1);
                // A retry that does not start is none: the attempt before it is the last, and notes what that means.
                let given_up = after.phase == StepPhase::Failed && after.attempt() as usize == known;
                let known = known - usize::from(given_up);
                let listed = after.attempts.get(..known);
                prop_assert_eq!(listed.unwrap_or_default(), &before.attempts[..known], "earlier attempts stay");
            }
        }
    }

    /// The status alone is enough to continue, and nothing new starts but the final steps.
    #[test]
    fn ended_plan_only_stops_and_skips(
        dependencies in prop::collection::vec(any::<u8>(), STEPS),
        observations in prop::collection::vec(any_plan_observation(), 2..8),
        halted_at in 0..8_usize,
    ) {
        let plan = plan(&dependencies);
        let (mut prior, control) = (WorkplanStatus::default(), cancel());
        for (at, observation) in observations.iter().enumerate() {
            let second = 40 + i64::try_from(at).unwrap();
            let now = Timestamp::from_second(second).unwrap();
            let mut steps = Steps::read(&plan, &prior.steps);
            steps.resume_halt(&prior, &control);
            steps.settle(observation, now);
            let due = steps.due(&control, &mut Waiting::default(), &prior, now);
            if at >= halted_at && !due.is_empty() {
                steps.stop(due);
                steps.settle(observation, now);
            }
            if steps.is_halted() {
                prior.reason = Some("Cancelled".into());
                let is_live = |task: usize| observation.tasks.get(task).is_some_and(|it| it.is_live);
                for task in steps.ready_tasks(is_live, now) {
                    prop_assert!(steps.of_task(task).iter().all(|step| step.is_final() || !step.is_open()));
                    prop_assert!(!steps.has_open_main_step());
                }
                let runs_on = |step: &Step| step.phase() == StepPhase::Running && !step.is_stopping() && !step.is_final();
                prop_assert!(!steps.all().iter().any(runs_on));
            }
            prior.steps = steps.status();
        }
        let mut steps = Steps::read(&plan, &prior.steps);
        steps.resume_halt(&prior, &control);
        if steps.is_halted() {
            steps.settle(&PlanObservation::default(), Timestamp::from_second(60).unwrap());
            let pending = |step: &Step| step.phase() == StepPhase::Pending && !step.is_final();
            prop_assert!(!steps.all().iter().any(pending), "without an executor no step waits");
        }
    }

    #[test]
    fn attempts_are_bounded(
        dependencies in prop::collection::vec(any::<u8>(), STEPS),
        observations in prop::collection::vec(any_plan_observation(), 1..30),
    ) {
        let plan = plan(&dependencies);
        let mut steps = Steps::read(&plan, &[]);
        for (second, observation) in (40..).zip(&observations) {
            steps.settle(observation, Timestamp::from_second(second).unwrap());
        }
        for (step, planned) in steps.status().iter().zip(&plan.steps) {
            let limit = planned.retry.as_ref().map_or(0, |retry| retry.limit);
            prop_assert!(step.attempt() <= 1 + limit + LOST_MAX);
            prop_assert!(step.retry_at.is_none() || step.phase == StepPhase::Pending);
        }
    }

    #[test]
    fn steps_without_executor_follow_the_edges(
        dependencies in prop::collection::vec(any::<u8>(), STEPS),
        ends in prop::collection::vec(any::<bool>(), STEPS),
    ) {
        let plan = plan(&dependencies);
        let mut steps = Steps::read(&plan, &[]);
        let observe = |at: usize| {
            let run = Run {
                place: Place { pod: "p".into(), container: "c".into() },
                start: Start::AsKnown,
                ended: None,
                exit_code: None,
                outputs: BTreeMap::new(),
                repeated: Vec::new(),
            };
            let ends_well = ends[at];
            let observation = if ends_well {
                Observation::Completed(run)
            } else {
                Observation::Failed(Cause::new("Error", ""), run)
            };
            TaskObservation { steps: vec![(at, observation)], ..TaskObservation::default() }
        };
        let next = |steps: &Steps| (0..STEPS).find(|&at| {
            let readiness = plan.readiness(at, |from| steps.all()[from].outcome());
            steps.all()[at].is_open() && readiness == Readiness::Start
        });
        while let Some(at) = next(&steps) {
            let mut tasks = vec![TaskObservation::default(); plan.tasks.len()];
            tasks[plan.steps[at].task] = observe(at);
            steps.settle(&PlanObservation { tasks, ..PlanObservation::default() }, Timestamp::UNIX_EPOCH);
        }
        for (at, step) in steps.all().iter().enumerate() {
            let readiness = plan.readiness(at, |from| steps.all()[from].outcome());
            let is_broken = matches!(readiness, Readiness::Skip { .. });
            prop_assert!(!step.is_open());
            prop_assert_eq!(step.phase() == StepPhase::Skipped, is_broken);
        }
    }
}
