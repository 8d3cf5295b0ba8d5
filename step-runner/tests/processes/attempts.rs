//! Time limits, and attempts in place.

use std::fs;
use std::time::Duration;

use step_runner::exit_code;
use step_runner::outputs::Refusal;
use step_runner::record::{AttemptFailure, EarlierAttempt, End, Exit, HEAD_BYTES, Record, Stage};

use crate::pod::unshare;
use crate::relay::{Relay, Running, kill, prepared, until};

const TIMED_OUT: i32 = exit_code::TIMED_OUT as i32;

impl Relay {
    /// A script with options of its step runner.
    pub fn with(&self, options: &[&str], step: &str, needs: &[&str], script: &str) -> Running {
        Running(
            prepared(&self.words_with(options, step, needs, script))
                .spawn()
                .unwrap(),
        )
    }

    pub fn words_with(
        &self,
        options: &[&str],
        step: &str,
        needs: &[&str],
        script: &str,
    ) -> Vec<String> {
        let mut words = self.words(step, needs, &["sh", "-c", script]);
        words.splice(2..2, options.iter().map(|it| (*it).to_owned()));
        words
    }

    pub fn earlier(&self, step: &str) -> Vec<EarlierAttempt> {
        let earlier = self.record(step).earlier.into_iter();
        earlier.map(|it| it.unwrap()).collect()
    }

    pub fn end(&self, step: &str) -> End {
        match self.record(step).stage {
            Stage::Ended { end, .. } => end,
            other => panic!("{step} has not ended: {other:?}"),
        }
    }

    /// A script that fails in all attempts but the last of `count`, and then goes on.
    pub fn fails_before(&self, count: usize, script: &str) -> String {
        let tries = self.path("workspace/tries");
        let tries = tries.display();
        format!("echo x >> {tries}; [ $(wc -l < {tries}) -ge {count} ] || exit 5; {script}")
    }
}

fn ran(record: &Record) -> Duration {
    let (started, ended) = (record.started_at().unwrap(), record.ended_at().unwrap());
    ended.duration_since(started).unwrap()
}

#[test]
fn time_limit_stops_the_command() {
    let relay = Relay::of(&["a", "b"]);
    let a = relay.with(&["--timeout", "50ms"], "a", &[], "sleep 3600");
    assert_eq!(a.code(), TIMED_OUT);
    let exit = Exit::Signal(15);
    assert!(matches!(relay.end("a"), End::TimedOut { exit: it, .. } if it == exit));
    assert!(ran(&relay.record("a")) >= Duration::from_millis(50));
    assert_eq!(relay.sh("b", &["a"], ":").code(), 77);
    assert_eq!(relay.message("b"), "a failed");
}

#[test]
fn command_within_its_limit_completes() {
    let relay = Relay::of(&["a"]);
    let a = relay.with(&["--timeout", "3600s"], "a", &[], "exit 0");
    assert_eq!(a.code(), 0);
    assert!(matches!(relay.end("a"), End::Completed { .. }));
}

#[test]
fn stopped_command_cannot_claim_success() {
    let relay = Relay::of(&["a"]);
    let script = "trap 'exit 0' TERM; while :; do sleep 0.01; done";
    let a = relay.with(&["--timeout", "50ms"], "a", &[], script);
    assert_eq!(a.code(), TIMED_OUT);
    let exit = Exit::Code(0);
    assert!(matches!(relay.end("a"), End::TimedOut { exit: it, .. } if it == exit));
}

#[test]
fn what_ignores_sigterm_is_killed_after_the_grace() {
    let relay = Relay::of(&["a"]);
    let child = relay.path("workspace/child");
    let script = format!(
        "trap '' TERM; sleep 3600 & echo $! > {}; while :; do sleep 0.01; done",
        child.display()
    );
    let options = ["--timeout", "50ms", "--grace", "50ms"];
    assert_eq!(relay.with(&options, "a", &[], &script).code(), TIMED_OUT);
    let exit = Exit::Signal(9);
    assert!(matches!(relay.end("a"), End::TimedOut { exit: it, .. } if it == exit));
    assert!(ran(&relay.record("a")) >= Duration::from_millis(100));
    let pid = fs::read_to_string(child).unwrap();
    until("its child is gone", || is_gone(pid.trim()));
}

/// Whether a process has ended; nothing may reap it here.
fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn message_of_stopped_command_is_kept() {
    let relay = Relay::of(&["a"]);
    let log = relay.path("logs/a");
    let script = format!("printf 'at 40 %%' > {}; sleep 3600", log.display());
    assert_eq!(
        relay
            .with(&["--timeout", "200ms"], "a", &[], &script)
            .code(),
        TIMED_OUT
    );
    assert_eq!(relay.message("a"), "at 40 %");
}

#[test]
fn failed_command_starts_again_until_it_succeeds() {
    let relay = Relay::of(&["a", "b"]);
    let script = relay.fails_before(3, ":");
    let policy = "limit=5,initial=20ms,factor=2,max=1s,on=Failure";
    assert_eq!(
        relay.with(&["--retry", policy], "a", &[], &script).code(),
        0
    );
    assert_eq!(relay.sh("b", &["a"], ":").code(), 0);
    let (record, earlier) = (relay.record("a"), relay.earlier("a"));
    assert_eq!(earlier.len(), 2);
    assert!(
        earlier
            .iter()
            .all(|it| it.failure == AttemptFailure::Exit(5))
    );
    let pause = earlier[1].started.unwrap().saturating_sub(earlier[0].ended);
    // The times of earlier attempts are in whole milliseconds.
    assert!(pause >= Duration::from_millis(19), "{pause:?}");
    let second = record.at(earlier[1].ended).unwrap();
    let pause = record.started_at().unwrap().duration_since(second).unwrap();
    assert!(pause >= Duration::from_millis(40), "{pause:?}");
}

#[test]
fn last_attempt_decides_the_end() {
    let relay = Relay::of(&["a"]);
    let says = format!("printf first > {}", relay.path("logs/a").display());
    let script = relay.fails_before(3, "exit 6");
    let script = script.replace("exit 5", &format!("{{ {says}; exit 5; }}"));
    let a = relay.with(&["--retry", "limit=2,on=Failure"], "a", &[], &script);
    assert_eq!(a.code(), 6);
    assert_eq!(relay.earlier("a").len(), 2);
    assert_eq!(relay.message("a"), "", "that of an earlier attempt");
}

#[test]
fn outputs_are_those_of_the_last_attempt() {
    let relay = Relay::of(&["a"]);
    let script = relay.fails_before(2, "echo new=2 >> $KUBECI_OUTPUT");
    let script = script.replace("exit 5", "{ echo old=1 >> $KUBECI_OUTPUT; exit 5; }");
    let a = relay.with(&["--retry", "limit=1,on=Failure"], "a", &[], &script);
    assert_eq!(a.code(), 0);
    let expected = [("new".to_owned(), "2".to_owned())];
    assert_eq!(relay.outputs("a"), expected.into());
}

#[test]
fn refused_outputs_are_repeated() {
    let relay = Relay::of(&["a"]);
    let script = relay.fails_before(2, "rm $KUBECI_OUTPUT");
    let script = script.replace("exit 5", "{ echo 1=2 >> $KUBECI_OUTPUT; exit 0; }");
    let a = relay.with(&["--retry", "limit=1,on=Failure"], "a", &[], &script);
    assert_eq!(a.code(), 0);
    let failures: Vec<_> = relay.earlier("a").iter().map(|it| it.failure).collect();
    assert_eq!(failures, [AttemptFailure::Output(Refusal::Invalid)]);
}

#[test]
fn outputs_come_before_details_of_attempts() {
    let relay = Relay::of(&["a"]);
    let value = "x".repeat(50);
    let script = relay.fails_before(9, &format!("echo key={value} >> $KUBECI_OUTPUT"));
    let options = ["--output-bytes", "60", "--retry", "limit=8,on=Failure"];
    assert_eq!(relay.with(&options, "a", &[], &script).code(), 0);
    let message = relay.termination_message("a");
    assert!(message.len() <= HEAD_BYTES + 60, "{message}");
    let record: Record = message.parse().unwrap();
    assert_eq!((record.earlier.len(), record.earlier[7]), (8, None));
    let Stage::Ended { outputs, .. } = record.stage else {
        panic!("{message}")
    };
    assert_eq!(outputs.unwrap().into_map()["key"], value);
}

#[test]
fn only_listed_failures_are_repeated() {
    let cases = [
        ("limit=3,on=Timeout", "exit 5", 5, 0),
        ("limit=3,on=Failure,codes=7", "exit 5", 5, 0),
        ("limit=3,on=Failure,codes=5", "exit 5", 5, 3),
        ("limit=2,on=Timeout", "sleep 3600", TIMED_OUT, 2),
        ("limit=2,on=Failure", "sleep 3600", TIMED_OUT, 0),
    ];
    for (policy, script, code, repeated) in cases {
        let relay = Relay::of(&["a"]);
        let options = ["--timeout", "100ms", "--retry", policy];
        assert_eq!(
            relay.with(&options, "a", &[], script).code(),
            code,
            "{policy}"
        );
        assert_eq!(relay.earlier("a").len(), repeated, "{policy}");
    }
}

#[test]
fn each_attempt_has_its_own_time_limit() {
    let relay = Relay::of(&["a"]);
    let options = [
        "--timeout",
        "300ms",
        "--retry",
        "limit=2,on=Timeout+Failure",
    ];
    let script = relay.fails_before(2, "sleep 3600");
    assert_eq!(relay.with(&options, "a", &[], &script).code(), TIMED_OUT);
    let failures: Vec<_> = relay.earlier("a").iter().map(|it| it.failure).collect();
    assert_eq!(failures, [AttemptFailure::Exit(5), AttemptFailure::Timeout]);
    assert!(ran(&relay.record("a")) >= Duration::from_millis(300));
}

#[test]
fn failed_start_is_repeated() {
    let relay = Relay::of(&["a"]);
    let mut words = relay.words("a", &[], &["no-such"]);
    words.splice(
        2..2,
        ["--retry", "limit=1,on=Failure"].map(ToOwned::to_owned),
    );
    let status = prepared(&words).status().unwrap();
    assert_eq!(status.code(), Some(127));
    let [earlier] = relay.earlier("a")[..] else {
        panic!("{:?}", relay.record("a"))
    };
    assert_eq!(
        (earlier.started, earlier.failure),
        (None, AttemptFailure::Exit(127))
    );
    assert!(relay.message("a").starts_with("no-such was not found"));
}

#[test]
fn dependents_wait_for_the_last_attempt() {
    let relay = Relay::of(&["a", "b"]);
    let gate = relay.path("workspace/gate");
    let made = prepared(&["mkfifo".to_owned(), gate.to_str().unwrap().to_owned()]).status();
    assert!(made.unwrap().success());
    let script = relay.fails_before(2, &format!("read line < {}", gate.display()));
    let a = relay.with(&["--retry", "limit=1,on=Failure"], "a", &[], &script);
    let b = relay.sh("b", &["a"], ":");
    until("a runs again", || {
        relay.termination_message("a").contains(" try=2 ")
    });
    b.until_blocked();
    fs::write(gate, "go\n").unwrap();
    assert_eq!((a.code(), b.code()), (0, 0));
}

/// A step that has failed with exit code 3 and a message of its own, and pauses for an hour.
fn pausing(relay: &Relay) -> Running {
    let log = relay.path("logs/a");
    let script = format!("printf own > {}; exit 3", log.display());
    let policy = "limit=1,initial=3600s,factor=1,max=3600s,on=Failure";
    let a = relay.with(&["--retry", policy], "a", &[], &script);
    a.until_asleep();
    a
}

#[test]
fn signal_ends_the_pause_and_the_step() {
    let relay = Relay::of(&["a", "b"]);
    let a = pausing(&relay);
    a.signal("WINCH");
    a.signal("TERM");
    assert_eq!(a.code(), 3);
    assert_eq!(
        relay.message("a"),
        "stopped by SIGTERM before the next attempt"
    );
    assert!(matches!(
        relay.end("a"),
        End::Failed {
            started: Some(_),
            exit: Exit::Code(3)
        }
    ));
    assert_eq!(relay.sh("b", &["a"], ":").code(), 77);
    assert_eq!(relay.end("b"), End::Postponed);
}

#[test]
fn step_killed_in_the_pause_was_running() {
    let relay = Relay::of(&["a", "b"]);
    let a = pausing(&relay);
    a.signal("KILL");
    a.exit();
    assert!(matches!(relay.record("a").stage, Stage::Running { .. }));
    assert_eq!(relay.sh("b", &["a"], ":").code(), 77);
}

#[test]
fn steps_after_a_lost_repeated_step_are_postponed() {
    for at_once in [&[][..], &["--at-once"]] {
        let relay = Relay::of(&["a", "b", "c", "d"]);
        let a = relay.held("a", &[], ":");
        let options = [&["--repeated", "a"], at_once].concat();
        let b = relay.with(&options, "b", &["a.failed"], ":");
        let c = relay.with(at_once, "c", &["b.ended"], ":");
        relay.until_up("b");
        kill(a.pid(), "KILL");
        a.exit();
        let skipped = i32::from(exit_code::SKIPPED);
        assert_eq!((b.code(), c.code()), (skipped, skipped));
        for step in ["b", "c"] {
            assert_eq!(relay.end(step), End::Postponed);
        }
        let because = "a ended without a result and may be attempted again";
        assert_eq!(relay.message("b"), because);
        assert_eq!(relay.message("c"), "b was postponed");
        assert_eq!(relay.sh("d", &["a.failed"], ":").code(), 0);
        relay.release("a");
    }
}

#[test]
fn repeated_step_with_a_result_has_ended() {
    let relay = Relay::of(&["a", "b", "c"]);
    assert_eq!(relay.sh("a", &[], "exit 1").code(), 1);
    let options = ["--repeated", "a"];
    assert_eq!(relay.with(&options, "b", &["a.failed"], ":").code(), 0);
    let c = relay.with(&options, "c", &["a"], ":");
    assert_eq!(c.code(), i32::from(exit_code::SKIPPED));
    assert_eq!(relay.end("c"), End::Skipped);
}

#[test]
fn killed_command_may_be_attempted_again() {
    let relay = Relay::of(&["a", "b", "c"]);
    assert_eq!(relay.sh("a", &[], "kill -KILL $$").code(), 137);
    let b = relay.with(&["--repeated", "a"], "b", &["a.ended"], ":");
    assert_eq!(b.code(), i32::from(exit_code::SKIPPED));
    assert_eq!(
        relay.message("b"),
        "a was killed and may be attempted again"
    );
    assert_eq!(relay.sh("c", &["a.ended"], ":").code(), 0);
}

#[test]
fn stopped_step_is_not_attempted_again() {
    let relay = Relay::of(&["a"]);
    let ready = relay.path("workspace/ready");
    let script = format!(
        "trap 'exit 4' TERM; : > {}; while :; do sleep 0.01; done",
        ready.display()
    );
    let a = relay.with(&["--retry", "limit=3,on=Failure"], "a", &[], &script);
    until("the command is ready", || ready.exists());
    a.signal("TERM");
    assert_eq!(a.code(), 4);
    assert_eq!(relay.earlier("a"), []);
}

#[test]
fn next_attempt_finds_no_process_of_the_one_before() {
    let relay = Relay::of(&["a"]);
    // A daemon in a session of its own, as the container's first process can kill it.
    let pid = relay.path("workspace/daemon");
    let shown = pid.display();
    let daemon =
        format!("setsid sh -c 'echo $$ > {shown}.new; mv {shown}.new {shown}; exec sleep 3600' &");
    let first = format!("{daemon} while ! [ -e {shown} ]; do sleep 0.01; done; exit 5");
    let script =
        format!("if [ -e {shown} ]; then kill -0 $(cat {shown}) && exit 6; exit 0; fi; {first}");
    let words = ["sh", "-c", &script];
    let options = ["--retry".to_owned(), "limit=1,on=Failure".to_owned()];
    let mut command = unshare("--pid");
    command.extend(["--fork", "--kill-child", "--mount-proc"].map(ToOwned::to_owned));
    let mut own = relay.words("a", &[], &words);
    own.splice(2..2, options);
    command.extend(own);
    let step = Running(prepared(&command).spawn().unwrap());
    assert_eq!(step.code(), 0);
    assert_eq!(relay.earlier("a").len(), 1);
}

#[test]
fn first_process_kills_all_after_the_grace() {
    let relay = Relay::of(&["a"]);
    let script = "trap '' TERM; while :; do sleep 0.01; done";
    let mut words = unshare("--pid");
    words.extend(["--fork", "--kill-child"].map(ToOwned::to_owned));
    words.extend(relay.words_with(&["--timeout", "50ms", "--grace", "50ms"], "a", &[], script));
    let step = Running(prepared(&words).spawn().unwrap());
    assert_eq!(step.code(), TIMED_OUT);
}
