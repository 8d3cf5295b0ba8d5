//! How long a chain of real steps takes to hand over: from the later of a dependency's end and the own
//! container being up, to the start of the command; also with a condition, a variable and an output in each step. And
//! what a runner takes while it waits, and how long from the end of an attempt to the start of the next one.
//!
//! `cargo bench -p step-runner --target x86_64-unknown-linux-musl` measures what is shipped.
#![allow(clippy::expect_used)] // a measurement that cannot be taken ends the run

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use step_runner::record::{EarlierAttempt, Record};

const CHAINS: usize = 10;
const STEPS: usize = 30;
const STEP: &str = "0.02";
const BACKOFF: Duration = Duration::from_millis(20);
/// As in most images.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn main() {
    let runner = env!("CARGO_BIN_EXE_step-runner");
    let bytes = fs::metadata(runner).expect("the runner").len();
    println!("binary: {} KiB", bytes / 1024);

    for links in [Links::Dependencies, Links::Expressions] {
        let mut waits = Vec::new();
        let mut resident = 0;
        for _ in 0..CHAINS {
            let (mut chain_waits, chain_resident) = chain(runner, links);
            waits.append(&mut chain_waits);
            resident = resident.max(chain_resident);
        }
        waits.sort();
        println!(
            "{} hand-overs in chains of {STEPS} steps of {STEP} s, {}: {}",
            waits.len(),
            links.what(),
            spread(&waits)
        );
        println!("resident while waiting, at most: {resident} KiB");
    }
    for backoff in [Duration::ZERO, BACKOFF] {
        let pauses = retries(runner, backoff);
        println!(
            "{} attempts in place, each {backoff:?} after the end of the one before: {}",
            pauses.len(),
            spread(&pauses)
        );
    }
    println!(
        "what the start of a process adds to that, alone: {}",
        spread(&starts())
    );
}

/// How the steps of a chain follow each other.
#[derive(Clone, Copy)]
enum Links {
    Dependencies,
    /// Each runs after the one before, if the output of that has the right value, which is also a variable.
    Expressions,
}

impl Links {
    fn what(self) -> &'static str {
        match self {
            Self::Dependencies => "with dependencies",
            Self::Expressions => "with `after`, conditions, variables and outputs",
        }
    }

    fn options(self, before: &str, at: usize) -> Vec<String> {
        match self {
            Self::Dependencies => vec!["--needs".into(), before.into()],
            Self::Expressions => [
                ("--needs", format!("{before}.ended")),
                (
                    "--when",
                    format!("int(steps.{before}.outputs.at) == {}", at - 1),
                ),
                ("--set", format!("AT=int(steps.{before}.outputs.at) + 1")),
            ]
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value])
            .collect(),
        }
    }

    fn command(self, runs: &str) -> Vec<String> {
        let script = format!("{runs}; echo at=${{AT-0}} > $KUBECI_OUTPUT");
        match self {
            Self::Dependencies => runs.split(' ').map(Into::into).collect(),
            Self::Expressions => vec!["sh".into(), "-c".into(), script],
        }
    }
}

/// From the end of each attempt of a step that fails at once, and the pause after it, to the start of the next one, to
/// the millisecond.
fn retries(runner: &str, backoff: Duration) -> Vec<Duration> {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = folder.path().join("relay");
    install(runner, folder.path(), &["s0".to_owned()]);
    let mut run = Command::new(runner);
    run.env("PATH", PATH).stderr(Stdio::null());
    run.arg("run").arg("--relay").arg(&relay);
    let millis = backoff.as_millis();
    let policy = format!("limit=90,initial={millis}ms,factor=1,max={millis}ms,on=Failure");
    run.args(["--step", "s0", "--retry", &policy, "--", "false"]);
    assert_eq!(run.status().expect("the runner").code(), Some(1));
    let record = fs::read_to_string(relay.join("s0/record")).expect("a record");
    let record: Record = record.parse().expect("a record");
    let attempts: Vec<_> = record.earlier.into_iter().flatten().collect();
    let pause = |pair: &[EarlierAttempt]| {
        let next = pair[1].started.expect("a start");
        next.saturating_sub(pair[0].ended + backoff)
    };
    let mut pauses: Vec<Duration> = attempts.windows(2).map(pause).collect();
    pauses.sort();
    pauses
}

/// What no runner can save: how long a process takes to start on a machine that did something else before.
fn starts() -> Vec<Duration> {
    let mut starts: Vec<_> = (0..100)
        .map(|_| {
            thread::sleep(Duration::from_millis(20));
            let started = Instant::now();
            let mut child = Command::new("/usr/bin/sleep")
                .arg("0")
                .spawn()
                .expect("a process");
            let took = started.elapsed();
            child.wait().expect("its end");
            took
        })
        .collect();
    starts.sort();
    starts
}

fn spread(sorted: &[Duration]) -> String {
    let at = |percent: usize| sorted[(sorted.len() - 1) * percent / 100].as_micros();
    format!(
        "p50 {} µs, p90 {} µs, p99 {} µs, max {} µs",
        at(50),
        at(90),
        at(99),
        at(100)
    )
}

/// Does what the first container does.
fn install(runner: &str, folder: &Path, names: &[String]) {
    let relay = folder.join("relay");
    fs::create_dir(&relay).expect("a folder");
    let mut install = Command::new(runner);
    install.arg("install");
    install.arg("--relay").arg(&relay).args(names);
    let mut installing = install.spawn().expect("the runner");
    let mut installed = Command::new(runner);
    installed.arg("installed").arg("--relay").arg(&relay);
    assert!(installed.status().expect("the runner").success());
    assert!(installing.wait().expect("its end").success());
}

/// Runs a chain of steps that are all up before the first ends.
fn chain(runner: &str, links: Links) -> (Vec<Duration>, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = folder.path().join("relay");
    let names: Vec<String> = (0..STEPS).map(|at| format!("s{at}")).collect();
    install(runner, folder.path(), &names);

    let (gate, opened) = std::io::pipe().expect("a pipe");
    let start = |at: usize| {
        let mut run = Command::new(relay.join(".bin/step-runner"));
        run.env("PATH", PATH);
        run.arg("run")
            .arg("--relay")
            .arg(&relay)
            .args(["--step", &names[at]]);
        match at {
            0 => run
                .arg("--")
                .args(links.command("cat"))
                .stdin(gate.try_clone().expect("a pipe")),
            _ => run
                .args(links.options(&names[at - 1], at))
                .arg("--")
                .args(links.command(&format!("sleep {STEP}")))
                .stdin(Stdio::null()),
        };
        run.spawn().expect("the runner")
    };
    let steps: Vec<Child> = (0..STEPS).map(start).collect();
    while !names
        .iter()
        .all(|name| relay.join(name).join("record").exists())
    {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(100)); // so that all wait, as in a pod whose containers start slower
    let resident = steps
        .iter()
        .skip(1)
        .map(|step| resident(step.id()))
        .max()
        .unwrap_or_default();
    drop(opened);
    for mut step in steps {
        assert!(step.wait().expect("a step").success());
    }
    let times: Vec<Times> = names
        .iter()
        .map(|name| times(&fs::read_to_string(relay.join(name).join("record")).expect("a record")))
        .collect();
    let handed_over = |pair: &[Times]| {
        pair[1]
            .started
            .duration_since(pair[0].ended.max(pair[1].up))
            .expect("in order")
    };
    (times.windows(2).map(handed_over).collect(), resident)
}

struct Times {
    up: SystemTime,
    started: SystemTime,
    ended: SystemTime,
}

fn times(record: &str) -> Times {
    let record: Record = record.parse().expect("a record");
    let (started, ended) = (record.started_at(), record.ended_at());
    Times {
        up: record.up,
        started: started.expect("a start"),
        ended: ended.expect("an end"),
    }
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|it| it.split_whitespace().next()?.parse().ok())
        .expect("its memory")
}
