//! A pod that is stopped: its containers receive the signal one after the other, in no order.

use step_runner::exit_code;
use step_runner::record::{End, Exit};

use crate::relay::{Relay, Running, until};

const SKIPPED: i32 = exit_code::SKIPPED as i32;

/// Says when it is ready, and runs until a trap ends it.
pub fn endless(relay: &Relay) -> String {
    let ready = relay.path("workspace/ready");
    format!(": > {}; while :; do sleep 0.01; done", ready.display())
}

/// A step that ends with this exit code when it is stopped.
fn stoppable(relay: &Relay, code: u8) -> Running {
    let script = format!("trap 'exit {code}' TERM; {}", endless(relay));
    let a = relay.sh("a", &[], &script);
    until("the command is ready", || {
        relay.path("workspace/ready").exists()
    });
    a
}

#[test]
fn end_of_stopped_command_starts_no_step() {
    for code in [0, 4] {
        let relay = Relay::of(&["a", "b", "c", "d", "e"]);
        let a = stoppable(&relay, code);
        let needs = [("b", "a"), ("c", "a.ended"), ("d", "a.failed")];
        let waiting = needs.map(|(step, need)| relay.sh(step, &[need], ":"));
        let e = relay.sh("e", &["b.ended"], ":");
        waiting.iter().for_each(Running::until_blocked);
        a.signal("TERM");
        assert_eq!(a.code(), i32::from(code));
        assert_eq!(waiting.map(Running::code), [SKIPPED; 3]);
        assert_eq!(e.code(), SKIPPED);
        for step in ["b", "c", "d", "e"] {
            assert_eq!(relay.end(step), End::Postponed);
        }
        assert_eq!(relay.message("b"), "a was postponed");
    }
}

#[test]
fn stopped_command_keeps_its_own_result() {
    let relay = Relay::of(&["a"]);
    assert_eq!(stoppable(&relay, 0).stopped(), 0);
    assert!(matches!(relay.end("a"), End::Completed { .. }));
    let relay = Relay::of(&["a"]);
    assert_eq!(stoppable(&relay, 4).stopped(), 4);
    let exit = Exit::Code(4);
    assert!(matches!(relay.end("a"), End::Failed { exit: it, .. } if it == exit));
}

impl Running {
    fn stopped(self) -> i32 {
        self.signal("TERM");
        self.code()
    }
}

#[test]
fn harmless_signal_does_not_stop_the_step() {
    let relay = Relay::of(&["a", "b"]);
    let a = relay.held("a", &[], ":");
    let b = relay.sh("b", &["a"], ":");
    b.until_blocked();
    a.signal("WINCH");
    relay.release("a");
    assert_eq!((a.code(), b.code()), (0, 0));
}

#[test]
fn step_that_waits_is_postponed_by_the_signal() {
    let relay = Relay::of(&["a", "b", "c"]);
    let a = relay.held("a", &[], ":");
    let b = relay.sh("b", &["a"], ":");
    let c = relay.sh("c", &["b.ended"], ":");
    b.until_blocked();
    assert_eq!(b.stopped(), SKIPPED);
    assert_eq!(c.code(), SKIPPED);
    assert_eq!(
        (relay.end("b"), relay.end("c")),
        (End::Postponed, End::Postponed)
    );
    relay.release("a");
    assert_eq!(a.code(), 0);
}
