//! Steps that share slots: at most so many commands of a pod run at the same time.

use std::fs;
use std::process::Command;
use std::time::Duration;

use step_runner::exit_code;
use step_runner::record::{End, Record};

use crate::relay::{Relay, Running, kill, prepared, until};
use crate::stopping::endless;

/// Steps in a pod with so many slots.
struct Slots {
    relay: Relay,
    slots: String,
}

impl Slots {
    fn of(slots: usize, steps: &[&str]) -> Self {
        let relay = Relay::of(&[]);
        let slots = slots.to_string();
        let mut install = relay.installing(steps);
        install.args(["--slots", &slots]);
        let mut install = Running(install.spawn().unwrap());
        assert!(relay.installed().status().unwrap().success());
        assert!(install.0.wait().unwrap().success());
        Self { relay, slots }
    }

    fn words(&self, step: &str, needs: &[&str], script: &str) -> Vec<String> {
        let mut words = self.relay.words(step, needs, &["sh", "-c", script]);
        words.splice(2..2, ["--slots".to_owned(), self.slots.clone()]);
        words
    }

    /// A step that fails once it is released, and is attempted again as the policy says.
    fn failing(&self, step: &str, policy: &str) -> Running {
        let script = format!("{}; exit 3", self.gate(step));
        let mut words = self.words(step, &[], &script);
        words.splice(2..2, ["--retry", policy].map(ToOwned::to_owned));
        Running(prepared(&words).spawn().unwrap())
    }

    fn sh(&self, step: &str, needs: &[&str], script: &str) -> Running {
        Running(prepared(&self.words(step, needs, script)).spawn().unwrap())
    }

    /// A step that ends once it is released.
    fn held(&self, step: &str, needs: &[&str]) -> Running {
        self.sh(step, needs, &self.gate(step))
    }

    /// A command that ends once the step is released.
    fn gate(&self, step: &str) -> String {
        let gate = self.relay.path(&format!("workspace/{step}.gate"));
        let made = Command::new("mkfifo").arg(&gate).status();
        assert!(made.unwrap().success());
        format!("read line < {}", gate.display())
    }

    fn records(&self, steps: &[&str]) -> Vec<Record> {
        steps.iter().map(|step| self.relay.record(step)).collect()
    }
}

/// The maximum number of commands that ran at the same time.
fn most_at_once(records: &[Record]) -> usize {
    let at_once = |at: &Record| {
        let moment = at.started_at().unwrap();
        let runs =
            |it: &&Record| it.started_at().unwrap() <= moment && moment < it.ended_at().unwrap();
        records.iter().filter(runs).count()
    };
    records.iter().map(at_once).max().unwrap()
}

#[test]
fn only_as_many_commands_run_as_slots() {
    let steps: Vec<String> = (0..12).map(|step| format!("s{step}")).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let pod = Slots::of(3, &steps);
    let running = pod.relay.path("workspace/running");
    fs::create_dir(&running).unwrap();
    // Each step counts those that run.
    let script = |step: &str| {
        format!(
            "cd {}; mkdir {step}; test $(ls | wc -l) -le 3; code=$?; sleep 0.01; rmdir {step}; exit $code",
            running.display()
        )
    };
    let started = steps.iter().map(|step| pod.sh(step, &[], &script(step)));
    let started: Vec<Running> = started.collect();
    assert!(started.into_iter().all(|step| step.code() == 0));
    assert!(most_at_once(&pod.records(&steps)) <= 3);
}

#[test]
fn free_slot_is_taken_while_others_are_held() {
    let pod = Slots::of(2, &["a", "b", "c", "d"]);
    let a = pod.held("a", &[]);
    pod.relay.until_running("a");
    let started = ["b", "c", "d"].map(|step| pod.sh(step, &[], ":"));
    assert_eq!(started.map(Running::code), [0, 0, 0]);
    pod.relay.release("a");
    assert_eq!(a.code(), 0);
    assert_eq!(most_at_once(&pod.records(&["a", "b", "c", "d"])), 2);
}

#[test]
fn skipped_step_needs_no_slot() {
    let pod = Slots::of(1, &["a", "b", "c"]);
    assert_eq!(pod.sh("a", &[], "exit 1").code(), 1);
    let c = pod.held("c", &[]);
    pod.relay.until_running("c");
    assert_eq!(
        pod.sh("b", &["a"], ":").code(),
        i32::from(exit_code::SKIPPED)
    );
    pod.relay.release("c");
    assert_eq!(c.code(), 0);
}

#[test]
fn killed_runner_gives_back_its_slot() {
    let pod = Slots::of(1, &["a", "b"]);
    let a = pod.held("a", &[]);
    pod.relay.until_running("a");
    let b = pod.sh("b", &[], ":");
    b.until_polling();
    kill(a.pid(), "KILL");
    assert_eq!(b.code(), 0);
    assert_eq!(a.exit().code(), None);
    pod.relay.release("a");
}

#[test]
fn signal_ends_the_wait_for_a_slot() {
    let pod = Slots::of(1, &["a", "b", "c"]);
    let a = pod.held("a", &[]);
    pod.relay.until_running("a");
    let b = pod.sh("b", &[], ":");
    b.until_polling();
    // The second one waits for the first.
    let c = pod.sh("c", &[], ":");
    c.until_locking();
    b.signal("TERM");
    assert_eq!(b.code(), i32::from(exit_code::SKIPPED));
    let message = "it was stopped by SIGTERM while it waited for one of 1 slots (maxParallel)";
    assert_eq!(pod.relay.message("b"), message);
    pod.relay.release("a");
    assert_eq!((a.code(), c.code()), (0, 0));
}

#[test]
fn stopped_step_keeps_its_slot_for_a_while() {
    let pod = Slots::of(1, &["a", "b"]);
    let other = pod.relay.path("workspace/other");
    let script = format!(
        "trap '(sleep 0.1; kill -TERM $(cat {})) & exit 0' TERM; {}",
        other.display(),
        endless(&pod.relay)
    );
    let a = pod.sh("a", &[], &script);
    until("the command is ready", || {
        pod.relay.path("workspace/ready").exists()
    });
    let b = pod.sh("b", &[], ":");
    b.until_polling();
    fs::write(other, b.pid().to_string()).unwrap();
    a.signal("TERM");
    assert_eq!((a.code(), b.code()), (0, i32::from(exit_code::SKIPPED)));
    assert_eq!(pod.relay.end("b"), End::Postponed);
}

#[test]
fn pause_before_the_next_attempt_needs_no_slot() {
    let pod = Slots::of(1, &["a", "b"]);
    let a = pod.failing("a", "limit=1,initial=3600s,factor=1,max=3600s,on=Failure");
    pod.relay.release("a");
    a.until_asleep();
    assert_eq!(pod.sh("b", &[], ":").code(), 0);
    a.signal("TERM");
    assert_eq!(a.code(), 3);
}

#[test]
fn next_attempt_waits_for_a_slot() {
    let pod = Slots::of(1, &["a", "b"]);
    let a = pod.failing("a", "limit=1,on=Failure");
    pod.relay.until_running("a");
    let b = pod.held("b", &[]);
    b.until_polling();
    pod.relay.release("a");
    a.until_polling();
    a.signal("TERM");
    assert_eq!(a.code(), 3);
    let message = "stopped by SIGTERM before the next attempt";
    assert_eq!(pod.relay.message("a"), message);
    pod.relay.release("b");
    assert_eq!(b.code(), 0);
}

#[test]
fn orphan_of_a_command_holds_no_slot() {
    let pod = Slots::of(1, &["a", "b"]);
    let gate = pod.relay.path("workspace/orphan");
    let made = Command::new("mkfifo").arg(&gate).status();
    assert!(made.unwrap().success());
    let script = format!("(read line < {}) & exit 0", gate.display());
    assert_eq!(pod.sh("a", &[], &script).code(), 0);
    assert_eq!(pod.sh("b", &[], ":").code(), 0);
    fs::write(gate, "go\n").unwrap();
}

#[test]
fn slot_is_handed_on_without_delay() {
    const STEPS: usize = 20;
    let steps: Vec<String> = (0..STEPS).map(|step| format!("s{step}")).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let pod = Slots::of(1, &steps);
    let first = pod.held(steps[0], &[]);
    pod.relay.until_running(steps[0]);
    let rest: Vec<Running> = steps[1..]
        .iter()
        .map(|step| pod.sh(step, &[], ":"))
        .collect();
    for step in &steps {
        pod.relay.until_up(step);
    }
    pod.relay.release(steps[0]);
    assert_eq!(first.code(), 0);
    assert!(rest.into_iter().all(|step| step.code() == 0));
    let mut records = pod.records(&steps);
    records.sort_by_key(Record::started_at);
    assert_eq!(most_at_once(&records), 1);
    let pause = |pair: &[Record]| {
        let (ended, started) = (pair[0].ended_at().unwrap(), pair[1].started_at().unwrap());
        started.duration_since(ended).unwrap_or_default()
    };
    let mut pauses: Vec<Duration> = records.windows(2).map(pause).collect();
    pauses.sort_unstable();
    // The median, on a machine that may be busy: far below any interval of polls.
    assert!(pauses[STEPS / 2] < Duration::from_millis(20), "{pauses:?}");
}

#[test]
fn slots_are_shared_by_containers_and_users() {
    let pod = Slots::of(1, &["a", "b", "c"]);
    let users = [("a", Some(1000)), ("b", Some(65534)), ("c", None)];
    let steps = users.map(|(step, user)| {
        pod.relay
            .contained(step, pod.words(step, &[], "sleep 0.01"), user)
    });
    assert_eq!(steps.map(Running::code), [0, 0, 0]);
    assert_eq!(most_at_once(&pod.records(&["a", "b", "c"])), 1);
}

#[test]
fn step_cannot_change_slots() {
    let pod = Slots::of(1, &["a", "b"]);
    // Root without capabilities, the owner of all files. Each line must fail.
    let attack = format!(
        "exec 2> /dev/null; cd {}
         rm .slots/0 && exit 1; mv .slots/0 a/x && exit 2; touch .slots/1 && exit 3; chmod 0 .slots/0 && exit 4
         ln .slots/0 a/x && exit 5; mv .slots a/x && exit 6; rm -rf .slots; test -p .slots/0",
        pod.relay.root().display()
    );
    let a = pod.relay.contained("a", pod.words("a", &[], &attack), None);
    assert_eq!(a.code(), 0);
    assert_eq!(pod.sh("b", &[], ":").code(), 0);
}

#[test]
fn hostile_step_holds_slots_until_it_ends() {
    let pod = Slots::of(2, &["a", "b"]);
    let gate = pod.relay.path("workspace/a.gate");
    let made = Command::new("mkfifo").arg(&gate).status();
    assert!(made.unwrap().success());
    let slots = pod.relay.root().join(".slots");
    let (slots, gate) = (slots.display(), gate.display());
    let hold = format!("exec 8<> {slots}/0 9<> {slots}/1; : > {gate}; read line < {gate}");
    let a = pod.sh("a", &[], &hold);
    fs::read(pod.relay.path("workspace/a.gate")).unwrap();
    let b = pod.sh("b", &[], ":");
    b.until_polling();
    pod.relay.release("a");
    assert_eq!((a.code(), b.code()), (0, 0));
}
