//! Containers that cannot start, and those that wait for them in the same pod.

use rstest::rstest;

use super::*;
use crate::decision::tests::fixtures;

#[rstest]
#[case::no_image("wait:ImagePullBackOff", "ImagePullBackOff")]
#[case::no_such_image("wait:InvalidImageName", "InvalidImageName")]
#[case::cannot_start("128", "StartError")]
fn deadlocked_steps_are_skipped_and_their_pod_deleted(#[case] state: &str, #[case] why: &str) {
    let workplan = plan(&["| a b:a c:b x"]);
    let pod_with = |rest: &str| {
        let mut pod = pod(0, &format!("| a={state} b=run c=run x={rest}"));
        if let ContainerState::Ended(end) = &mut pod.containers[0].state {
            end.reason = "StartError".into();
        }
        pod
    };
    let busy = decided(&workplan, &observed([(0, pod_with("run"))]));
    assert_eq!(
        (phases(&busy.status).as_str(), busy.actions.len()),
        ("fppr", 0)
    );
    let workplan = after(workplan, &busy);
    let mut state = observed([(0, pod_with("0"))]);
    // Immediately, because these containers never observe the end.
    state.now = "2026-01-01T00:05:02Z".parse().unwrap();
    let decision = decided(&workplan, &state);
    assert_eq!(phases(&decision.status), "fssc");
    assert_eq!(summary(&decision), format!("a: {why}"));
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

/// The message of the runtime, and the state in which it is reported.
fn cannot_start(pod: &mut ObservedPod, step: &str, why: (&str, i32)) {
    let mut named = pod.containers.iter_mut().filter(|it| it.name == step);
    let Some(ContainerState::Ended(end)) = named.next().map(|it| &mut it.state) else {
        panic!("{step} has not ended");
    };
    (end.reason, end.exit_code) = (why.0.into(), why.1);
    end.message = "exec: argument list too long".into();
}

#[rstest]
#[case::before_it_is_created(("StartError", 128))]
#[case::as_it_is_executed(("Error", 1))]
fn law_1_container_that_cannot_start_fails_at_its_turn(#[case] why: (&str, i32)) {
    let workplan = plan(&["| a b:a c:b x"]);
    let pod_with = |a: &str| {
        let records = [("a", "failed started=0.100000 ended=5.000000 exit=3")];
        let records = if a == "3" { &records[..] } else { &[] };
        let mut pod = with_records(&format!("| a={a} b=1 c=run x=run"), records);
        cannot_start(&mut pod, "b", why);
        pod
    };
    let early = decided(&workplan, &observed([(0, pod_with("run"))]));
    assert_eq!(
        (phases(&early.status).as_str(), summary(&early)),
        ("rppr", "ContainerCannotStart")
    );
    let text = early.status.message.as_deref().unwrap();
    assert!(
        text.contains("the container of the step b cannot start") && text.contains("too long"),
        "{text}"
    );
    let workplan = after(workplan, &early);

    let lost = decided(&workplan, &observed([(0, pod_with("3"))]));
    assert!(
        phases(&lost.status).starts_with("fs"),
        "{}",
        phases(&lost.status)
    );
    assert_eq!(summary(&lost), "a: exit code 3");

    let mut pod = pod_with("0");
    pod.containers.retain(|it| it.name != "x");
    let mut workplan = workplan;
    workplan.spec.tasks[0].parallel_steps.truncate(3);
    let turn = decided(&workplan, &observed([(0, pod)]));
    assert_eq!(phases(&turn.status), "cfs");
    assert!(sentence(&turn.status, "b").contains("too long"));
    assert_eq!(
        turn.actions,
        [Action::DeletePod(0)],
        "c hears of it from nobody else"
    );
}

#[test]
fn deadlocked_step_runners_get_half_a_minute() {
    let workplan = plan(&["| a b:a"]);
    let failed = [("a", "failed started=0.100000 ended=0.500000 exit=1")];
    let mut state = observed([(0, with_records("| a=1 b=run", &failed))]);
    state.now = "2026-01-01T00:00:31Z".parse().unwrap();
    let early = decided(&workplan, &state);
    assert_eq!(
        (phases(&early.status).as_str(), early.actions.len()),
        ("fp", 0)
    );
    assert_eq!(early.wake_at, Some("2026-01-01T00:00:32Z".parse().unwrap()));
    state.now = early.wake_at.unwrap();
    let late = decided(&after(workplan, &early), &state);
    assert_eq!(phases(&late.status), "fs");
    assert_eq!(late.actions, [Action::DeletePod(0)]);
}

#[test]
fn step_fails_that_cannot_observe_an_end() {
    let workplan = plan(&["| a b:a c:a.failed d:b.ended e:c.failed x"]);
    let mut pod = pod(0, "| a=128 b=run c=run d=run e=run x=run");
    cannot_start(&mut pod, "a", ("StartError", 128));
    let decision = decided(&workplan, &observed([(0, pod.clone())]));
    assert_eq!(phases(&decision.status), "fpfpfr");
    let c = &decision.status.steps[2];
    assert_eq!(c.reason.as_deref(), Some("EndNotObserved"));
    assert_eq!(c.started_at, None);
    assert!(sentence(&decision.status, "c").contains("for the end of a,"));
    assert_eq!(summary(&decision), "a: StartError");

    pod.containers.last_mut().unwrap().state = fixtures::container("x=0", false).state;
    let workplan = after(workplan, &decision);
    let decision = decided(&workplan, &observed([(0, pod)]));
    assert_eq!(phases(&decision.status), "fsfffc");
    assert_eq!(decision.actions, [Action::DeletePod(0)]);
}

#[test]
fn running_step_goes_on_after_a_failure_long_ago() {
    let workplan = plan(&["| a b:a.failed c:b"]);
    let failed = [("a", "failed started=0.100000 ended=0.500000 exit=1")];
    let mut state = observed([(0, with_records("| a=1 b=run c=run", &failed))]);
    state.now = "2026-01-01T01:00:00Z".parse().unwrap();
    let decision = decided(&workplan, &state);
    assert_eq!(phases(&decision.status), "frp");
    assert_eq!(decision.actions, []);
}
