//! Who starts after whom, and who does not.

use std::time::Duration;

use step_runner::exit_code;
use step_runner::record::{End, Stage};

use crate::relay::{Relay, Running, kill};

#[test]
fn step_starts_when_its_dependency_has_ended() {
    let relay = Relay::of(&["a", "b"]);
    let a = relay.held("a", &[], ":");
    let b = relay.sh("b", &["a"], ":");
    b.until_blocked();
    relay.release("a");
    assert_eq!((a.code(), b.code()), (0, 0));
    let (a, b) = (relay.record("a"), relay.record("b"));
    assert!(a.started_at().unwrap() < a.ended_at().unwrap());
    assert!(a.ended_at() <= b.started_at());
    assert!(b.up < a.ended_at().unwrap());
    assert!(matches!(
        b.stage,
        Stage::Ended {
            end: End::Completed { .. },
            ..
        }
    ));
}

#[test]
fn step_that_is_up_last_starts() {
    let relay = Relay::of(&["a", "b"]);
    assert_eq!(relay.sh("a", &[], ":").code(), 0);
    assert_eq!(relay.sh("b", &["a"], ":").code(), 0);
}

#[test]
fn failure_skips_its_dependents_only() {
    let relay = Relay::of(&["a", "b", "c", "d", "e"]);
    let steps = [
        relay.sh("e", &["c"], ":"),
        relay.sh("d", &["b", "a"], ":"),
        relay.sh("c", &["a"], ":"),
        relay.sh("b", &[], ":"),
        relay.sh("a", &[], "exit 3"),
    ];
    let skipped = i32::from(exit_code::SKIPPED);
    assert_eq!(steps.map(Running::code), [skipped, skipped, skipped, 0, 3]);
    assert_eq!(relay.message("c"), "a failed");
    assert_eq!(relay.message("d"), "a failed");
    assert_eq!(relay.message("e"), "c was skipped");
    assert_eq!(relay.record("c").started_at(), None);
}

#[test]
fn step_follows_the_kind_of_its_edge() {
    let relay = Relay::of(&["good", "bad", "s", "a", "b", "c", "d", "e", "f"]);
    let steps = [
        relay.sh("good", &[], ":"),
        relay.sh("bad", &[], "exit 3"),
        relay.sh("s", &["good.failed"], ":"),
        relay.sh("a", &["bad.failed"], ":"),
        relay.sh("b", &["bad.ran", "good.ran"], ":"),
        relay.sh("c", &["bad.ended", "good.ended", "s.ended"], ":"),
        relay.sh("d", &["s.failed"], ":"),
        relay.sh("e", &["s.ran"], ":"),
        relay.sh("f", &["bad.failed", "a"], ":"),
    ];
    let skipped = i32::from(exit_code::SKIPPED);
    let expected = [0, 3, skipped, 0, 0, 0, skipped, skipped, 0];
    assert_eq!(steps.map(Running::code), expected);
    assert_eq!(relay.message("s"), "good completed");
    assert_eq!(relay.message("d"), "s was skipped");
}

#[test]
fn broken_edge_is_observed_while_others_are_open() {
    let relay = Relay::of(&["slow", "bad", "b", "c"]);
    let slow = relay.held("slow", &[], ":");
    let words = relay.words("b", &["slow", "bad"], &["true"]);
    let at = words.iter().position(|it| it == "--needs").unwrap();
    let mut words = words;
    words.insert(at, "--at-once".to_owned());
    let b = Running(crate::relay::prepared(&words).spawn().unwrap());
    let c = relay.sh("c", &["b.ended"], ":");
    assert_eq!(relay.sh("bad", &[], "exit 1").code(), 1);
    assert_eq!((b.code(), c.code()), (i32::from(exit_code::SKIPPED), 0));
    assert_eq!(relay.message("b"), "bad failed");
    relay.release("slow");
    assert_eq!(slow.code(), 0);
}

#[test]
fn killed_dependency_has_failed() {
    let relay = Relay::of(&["a", "b", "c"]);
    let a = relay.held("a", &[], ":");
    let b = relay.sh("b", &["a"], ":");
    b.until_blocked();
    kill(a.pid(), "KILL");
    assert_eq!(a.exit().code(), None);
    assert!(matches!(relay.record("a").stage, Stage::Running { .. }));
    // One that waited for it, and one that comes later.
    for (step, running) in [("b", b), ("c", relay.sh("c", &["a"], ":"))] {
        assert_eq!(running.code(), i32::from(exit_code::SKIPPED));
        assert!(relay.message(step).starts_with("a ended without a result"));
    }
    relay.release("a");
}

#[test]
fn step_waits_for_a_container_not_yet_up() {
    let relay = Relay::of(&["a", "b", "c", "d"]);
    assert_eq!(relay.sh("a", &[], ":").code(), 0);
    let c = relay.sh("c", &["a", "b"], ":");
    let d = relay.sh("d", &["b"], ":");
    relay.until_up("c");
    d.until_asleep();
    d.signal("TERM");
    assert_eq!(d.code(), i32::from(exit_code::SKIPPED));
    let message =
        "it was stopped by SIGTERM while it waited for b, whose container has not started";
    assert_eq!(relay.message("d"), message);
    assert_eq!(relay.sh("b", &[], ":").code(), 0);
    assert_eq!(c.code(), 0);
}

#[test]
fn hundred_steps_in_one_relay_all_end() {
    let names: Vec<String> = (0..100).map(|it| format!("s{it}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let relay = Relay::of(&names);
    // A chain of 40; 30 that depend on its middle and end; 29 that depend on ten of those; one on all.
    let needs = |at: usize| match at {
        0 => vec![],
        1..40 => vec![at - 1],
        40..70 => vec![20, 39],
        70..99 => (40..50).map(|it| it + at % 20).collect(),
        _ => (0..99).collect(),
    };
    // From the last to the first, so that most have to wait for containers as well.
    let running = (0..100).rev().map(|at| {
        let needs: Vec<_> = needs(at).into_iter().map(|it| names[it]).collect();
        relay.start(names[at], &needs, &["true"])
    });
    let running: Vec<_> = running.collect();
    assert!(running.into_iter().all(|it| it.code() == 0));
    for at in 0..100 {
        let started = relay.record(names[at]).started_at().unwrap();
        for need in needs(at) {
            assert!(
                relay.record(names[need]).ended_at().unwrap() <= started,
                "{at} after {need}"
            );
        }
    }
}

#[test]
fn wrong_wiring_is_reported_and_fails_dependents() {
    let relay = Relay::of(&["a", "b"]);
    let said = |step: &str, needs: &[&str]| {
        let output = relay.command(step, needs, &["true"]).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(i32::from(exit_code::RUNNER_FAILED))
        );
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(
        said("a", &["z"])
            .contains("has no step z; add it to the arguments of `step-runner install`")
    );
    assert!(said("z", &[]).contains("has no step z"));
    assert_eq!(
        relay.sh("b", &["a"], ":").code(),
        i32::from(exit_code::SKIPPED)
    );
    assert_eq!(relay.message("b"), "a failed");
    assert!(said("b", &[]).contains("the step b has already run in this relay"));
    assert!(relay.message("z").contains("has no step z"));
}

#[test]
fn runner_without_a_record_fails_dependents() {
    let relay = Relay::of(&["a", "b"]);
    std::fs::create_dir(relay.root().join("a/record.new")).unwrap();
    let output = relay.command("a", &[], &["true"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("step-runner: cannot create"), "{said}");
    assert_eq!(
        output.status.code(),
        Some(i32::from(exit_code::RUNNER_FAILED))
    );
    assert_eq!(
        relay.sh("b", &["a"], ":").code(),
        i32::from(exit_code::SKIPPED)
    );
    assert!(
        relay
            .message("b")
            .starts_with("a has no record in the relay")
    );
}

#[test]
fn recorded_time_covers_the_command() {
    let relay = Relay::of(&["a"]);
    assert_eq!(relay.sh("a", &[], "sleep 0.1").code(), 0);
    let record = relay.record("a");
    let (started, ended) = (record.started_at().unwrap(), record.ended_at().unwrap());
    let took = ended.duration_since(started).unwrap();
    assert!(took >= Duration::from_millis(100), "{took:?}");
}
