use rstest::rstest;

use super::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn place() -> Place {
    Place {
        pod: "plan-0".into(),
        container: "a".into(),
    }
}

fn run() -> Run {
    Run {
        place: place(),
        start: Start::At(time(2)),
        ended: Some(time(3)),
        exit_code: Some(1),
        outputs: [("found".to_owned(), "3".to_owned())].into(),
        repeated: Vec::new(),
    }
}

fn cause() -> Cause {
    Cause::new("Error", "no")
}

fn not_started() -> Observation {
    Observation::NotStarted {
        cause: cause(),
        run: run(),
        came_up: true,
    }
}

fn excluded() -> Observation {
    let message = "b".into();
    Observation::Excluded { by: 0, message }
}

fn skipped() -> Observation {
    let message = "the condition is false: 1 > 2".into();
    Observation::Skipped { message }
}

fn up() -> Observation {
    Observation::Standby(Standby::Up {
        place: place(),
        since: Some(time(1)),
    })
}

fn edges(readiness: StepReadiness) -> Edges {
    Edges {
        readiness,
        ended: Some(time(5)),
        halt: None,
        slot: None,
    }
}

fn wait() -> Edges {
    edges(StepReadiness::Wait("waiting for b".into()))
}

fn start() -> Edges {
    edges(StepReadiness::Start)
}

fn skip() -> Edges {
    edges(StepReadiness::Skip("b did not complete".into()))
}

fn observed(observations: &[(Observation, Edges)]) -> Step {
    let mut step = Step::read("a", None);
    for (observation, edges) in observations {
        step.observe(observation, edges, &NEVER);
    }
    step
}

const NEVER: RetryRules = RetryRules::never(Timestamp::UNIX_EPOCH);

#[rstest]
#[case::waits_for_its_turn(up(), wait(), StepPhase::Pending)]
#[case::starts_by_itself(up(), start(), StepPhase::Running)]
#[case::skips_in_its_container(up(), skip(), StepPhase::Pending)]
#[case::cannot_start_yet(not_started(), wait(), StepPhase::Pending)]
#[case::cannot_start_at_its_turn(not_started(), start(), StepPhase::Failed)]
#[case::need_not_start(not_started(), skip(), StepPhase::Skipped)]
#[case::ran_before_the_skip(Observation::Completed(run()), skip(), StepPhase::Completed)]
#[case::failed(Observation::Failed(cause(), run()), start(), StepPhase::Failed)]
#[case::condition_is_false(skipped(), start(), StepPhase::Skipped)]
#[case::condition_was_early(skipped(), wait(), StepPhase::Pending)]
#[case::edge_is_broken(skipped(), skip(), StepPhase::Skipped)]
#[case::excluded(excluded(), start(), StepPhase::Skipped)]
fn pending_step_follows_observation_and_edges(
    #[case] observation: Observation,
    #[case] edges: Edges,
    #[case] expected: StepPhase,
) {
    assert_eq!(observed(&[(observation, edges)]).phase(), expected);
}

#[test]
fn excluded_step_names_its_broken_edge() {
    let message = |edges| observed(&[(excluded(), edges)]).state().clone();
    let skipped = |text: &str| State::Skipped(text.into());
    assert_eq!(message(skip()), skipped("b did not complete"));
    assert_eq!(message(start()), skipped("b"));
}

#[test]
fn step_starts_when_up_and_edges_have_ended() {
    let step = observed(&[(up(), start())]);
    assert_eq!(step.attempt().started, Some(time(5)));
}

#[test]
fn step_with_false_condition_only_seemed_to_run() {
    let step = observed(&[(up(), start()), (skipped(), start())]);
    let message = "the condition is false: 1 > 2".into();
    assert_eq!(step.state(), &State::Skipped(message));
    assert_eq!(step.attempt().started, None);
}

#[test]
fn broken_edge_explains_before_the_condition() {
    let step = observed(&[(skipped(), skip())]);
    assert_eq!(step.state(), &State::Skipped("b did not complete".into()));
}

#[test]
fn ended_step_has_the_outputs_of_its_run() {
    let failed = observed(&[(Observation::Failed(cause(), run()), start())]);
    let completed = observed(&[(Observation::Completed(run()), start())]);
    for step in [failed, completed] {
        assert_eq!(step.outputs(), &run().outputs);
    }
}

#[test]
fn running_step_does_not_wait_again() {
    let before = observed(&[(up(), start())]);
    let step = observed(&[(up(), start()), (Observation::Waiting, start())]);
    assert_eq!(step, before);
}

#[test]
fn ended_step_stays_as_it_is() {
    let failed = (Observation::Failed(cause(), run()), start());
    let completed = (Observation::Completed(run()), start());
    let before = observed(&[(Observation::Failed(cause(), run()), start())]);
    assert_eq!(observed(&[failed, completed]), before);
}

#[test]
fn message_of_same_reason_stays() {
    let blocked = |reason: &str, message: &str| {
        let cause = Cause::new(reason, message);
        (Observation::Held(cause), start())
    };
    let step = observed(&[blocked("ErrImagePull", "1"), blocked("ErrImagePull", "2")]);
    let expected = Pending::Blocked(Cause::new("ErrImagePull", "1"));
    assert_eq!(step.state(), &State::Pending(expected));
    let step = observed(&[blocked("ErrImagePull", "1"), blocked("StartError", "2")]);
    let expected = Pending::Blocked(Cause::new("StartError", "2"));
    assert_eq!(step.state(), &State::Pending(expected));
}

fn stopping() -> Step {
    let running = Observation::Running {
        place: place(),
        start: Start::At(time(2)),
    };
    let mut step = observed(&[(running, start())]);
    step.stop(Cause::new("Timeout", "too long"), time(9));
    step
}

#[rstest]
#[case::stopped(9, false)]
#[case::in_the_same_second(8, true)]
#[case::before(4, true)]
fn stopped_step_fails_unless_it_ended_before(#[case] second: i64, #[case] completes: bool) {
    let run = Run {
        ended: Some(time(second)),
        exit_code: Some(0),
        ..run()
    };
    let mut step = stopping();
    step.observe(&up(), &start(), &RetryRules::never(time(9)));
    assert!(step.is_stopping());
    step.observe(
        &Observation::Completed(run),
        &start(),
        &RetryRules::never(time(9)),
    );
    let failed = State::Failed(Cause::new("Timeout", "too long"));
    let expected = if completes { State::Completed } else { failed };
    assert_eq!(step.state(), &expected);
}

#[test]
fn lost_step_was_stopped() {
    let mut step = stopping();
    let lost = Lost {
        cause: cause(),
        ended: None,
    };
    step.lose(&lost, &RetryRules::never(time(9)));
    assert_eq!(
        step.state(),
        &State::Failed(Cause::new("Timeout", "too long"))
    );
}

#[rstest]
#[case::silent("", "allowed by allowFailure")]
#[case::message("disk full", "allowed by allowFailure: disk full")]
fn allowed_failure_has_note(#[case] message: &str, #[case] expected: &str) {
    let mut step = Step::read("a", None);
    step.allow_failure = true;
    let failed = Observation::Failed(Cause::new("Error", message), run());
    step.observe(&failed, &start(), &RetryRules::never(time(9)));
    assert_eq!(step.state(), &State::Failed(Cause::new("Error", expected)));
    assert_eq!(step.failure(), None);
    assert!(step.counts_as_completed());
}

#[test]
fn repeated_attempts_come_before_the_last() {
    let repeated = |started| Repeated {
        started: Some(time(started)),
        ended: Some(time(started + 1)),
        exit_code: Some(7),
        cause: cause(),
    };
    let last = Run {
        start: Start::At(time(8)),
        repeated: vec![repeated(2), repeated(5)],
        ..run()
    };
    let step = observed(&[(Observation::Completed(last), start())]);
    assert_eq!(step.attempt_number(), 3);
    assert_eq!(step.attempt().started, Some(time(8)));
    assert_eq!(step.outputs(), &run().outputs);
    let status = step.status();
    let numbers: Vec<_> = status.attempts.iter().map(|it| it.number).collect();
    let codes: Vec<_> = status.attempts.iter().map(|it| it.exit_code).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(codes, [Some(7), Some(7), Some(1)]);
    assert!(
        status
            .attempts
            .iter()
            .all(|it| it.pod.as_deref() == Some("plan-0"))
    );
}

#[test]
fn lost_step_ends_only_if_it_ran() {
    let lost = Lost {
        cause: cause(),
        ended: Some(time(9)),
    };
    let mut pending = Step::read("a", None);
    pending.lose(&lost, &NEVER);
    assert_eq!(pending.attempt().ended, None);
    let mut running = observed(&[(up(), start())]);
    running.lose(&lost, &NEVER);
    assert_eq!(running.attempt().ended, Some(time(9)));
}
