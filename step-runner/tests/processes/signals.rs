//! Signals reach the command, or end the waiting.

use step_runner::exit_code;

use crate::relay::{Relay, Running, children, ignoring, kill, until};

/// Says when it is ready, and ends with exit code 42 by the signal.
fn trap(relay: &Relay, signal: &str) -> String {
    let ready = relay.path("workspace/ready");
    format!(
        "trap 'exit 42' {signal}; : > {}; while :; do sleep 0.01; done",
        ready.display()
    )
}

#[test]
fn signals_are_passed_on() {
    // All signals except those that cannot be caught, that report children, or that a process causes itself.
    for number in (1..=31).filter(|it| ![4, 8, 9, 11, 17, 19].contains(it)) {
        let number = &number.to_string();
        let relay = Relay::of(&["a"]);
        let step = relay.sh("a", &[], &trap(&relay, number));
        until("the command is ready", || {
            relay.path("workspace/ready").exists()
        });
        step.signal(number);
        assert_eq!(step.code(), 42, "{number}");
    }
}

#[test]
fn real_time_signal_asks_to_stop() {
    let relay = Relay::of(&["a"]);
    let step = relay.sh("a", &[], &trap(&relay, "TERM"));
    until("the command is ready", || {
        relay.path("workspace/ready").exists()
    });
    step.signal("37"); // SIGRTMIN+3, which some images name as their stop signal
    assert_eq!(step.code(), 42);
}

#[test]
fn first_process_of_a_container_passes_signals_on() {
    let relay = Relay::of(&["a"]);
    let script = trap(&relay, "TERM");
    let step = Running(
        relay
            .as_first_process("a", &[], &["sh", "-c", &script])
            .spawn()
            .unwrap(),
    );
    until("the command is ready", || {
        relay.path("workspace/ready").exists()
    });
    kill(children(step.pid())[0], "TERM");
    assert_eq!(step.code(), 42);
}

#[test]
fn first_process_of_a_container_stops_waiting() {
    let relay = Relay::of(&["a", "b"]);
    let a = relay.held("a", &[], ":");
    let b = Running(
        relay
            .as_first_process("b", &["a"], &["true"])
            .spawn()
            .unwrap(),
    );
    relay.until_up("b");
    kill(children(b.pid())[0], "TERM");
    assert_eq!(b.code(), i32::from(exit_code::SKIPPED));
    relay.release("a");
    assert_eq!(a.code(), 0);
}

#[test]
fn harmless_signal_does_not_end_the_waiting() {
    let relay = Relay::of(&["a", "b", "c"]);
    let a = relay.held("a", &[], ":");
    let b = relay.sh("b", &["a"], ":");
    let c = relay.sh("c", &["b"], ":");
    b.until_blocked();
    for signal in ["WINCH", "CONT", "URG", "TSTP"] {
        b.signal(signal);
    }
    b.signal("INT");
    assert_eq!(b.code(), i32::from(exit_code::SKIPPED));
    assert_eq!(
        relay.message("b"),
        "it was stopped by SIGINT while it waited for a"
    );
    assert_eq!(c.code(), i32::from(exit_code::SKIPPED));
    assert_eq!(relay.message("c"), "b was postponed");
    relay.release("a");
    assert_eq!(a.code(), 0);
}

#[test]
fn ignored_signal_does_not_end_the_waiting() {
    let relay = Relay::of(&["a", "b"]);
    let a = relay.held("a", &[], ":");
    let b = Running(
        ignoring("INT", &relay.words("b", &["a"], &["true"]))
            .spawn()
            .unwrap(),
    );
    b.until_blocked();
    b.signal("INT");
    relay.release("a");
    assert_eq!((a.code(), b.code()), (0, 0));
}
