//! Steps that tamper with what they can reach: their own record. It is a clear failure of those who depend
//! on them, never a wait without end, never another step's success.

use std::fs::{self, File};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use step_runner::exit_code;

use crate::pod::unshare;
use crate::relay::{Relay, kill, prepared, until};

const SKIPPED: i32 = exit_code::SKIPPED as i32;

/// Runs `tamper` in the own folder of step `a` while it runs, then step `b`, which depends on it, and tells
/// what `b` says. Step `c` has completed; `b` never runs its command.
fn said_after(tamper: &str) -> String {
    let relay = Relay::of(&["a", "b", "c"]);
    assert_eq!(relay.sh("c", &[], ":").code(), 0);
    let folder = relay.root().join("a");
    let script = format!(
        "cd {}; {tamper}; touch {}",
        folder.display(),
        relay.path("workspace/done").display()
    );
    let a = relay.held("a", &[], "exit 1");
    let status = Command::new("sh").args(["-c", &script]).status();
    assert!(status.unwrap().success());
    let touched = format!("touch {}", relay.path("workspace/touched").display());
    let b = relay.sh("b", &["a"], &touched);
    relay.until_up("b");
    relay.release("a");
    assert_eq!(a.code(), 1, "{tamper}");
    assert_eq!(b.code(), SKIPPED, "{tamper}");
    assert!(!relay.path("workspace/touched").exists());
    relay.message("b")
}

#[test]
fn record_that_is_removed() {
    assert!(said_after("rm -rf * .[a-z]*").starts_with("a has no record in the relay"));
}

#[test]
fn record_that_is_replaced() {
    let kinds = [
        "ln -sf ../c/record record",
        "ln -sf /dev/zero record",
        "rm record; ln -s record record",
        "rm record; mkfifo record",
        "rm record; mkdir record",
        "rm record; ln -s ../c/record record; touch absent",
    ];
    for tamper in kinds {
        let said = said_after(tamper);
        assert!(
            said.starts_with("a has no record in the relay"),
            "{tamper}: {said}"
        );
    }
}

#[test]
fn record_that_makes_no_sense() {
    let contents = [
        "rm record; : > record",
        "rm record; head -c 1000000 /dev/urandom > record",
        "rm record; echo 'kubeci/2 completed' > record",
        "rm record; echo 'kubeci/1 completed' > record",
        "rm record; echo 'kubeci/1 waiting up=2026-11-21T11:25:50Z' > record",
        "rm record; truncate -s 1T record",
    ];
    for tamper in contents {
        let said = said_after(tamper);
        assert!(
            said.starts_with("a ended without a result"),
            "{tamper}: {said}"
        );
    }
}

#[test]
fn forged_record_is_overwritten_at_the_end() {
    for tamper in [
        ": > record",
        "truncate -s 1G record",
        "cat ../c/record > record",
        "chmod 600 record",
    ] {
        assert_eq!(said_after(tamper), "a failed", "{tamper}");
    }
}

#[test]
fn record_removed_by_a_killed_step() {
    let relay = Relay::of(&["a", "b"]);
    let a = relay.held("a", &[], ":");
    fs::remove_file(relay.published("a")).unwrap();
    kill(a.pid(), "KILL");
    a.exit();
    assert_eq!(relay.sh("b", &["a"], ":").code(), SKIPPED);
    relay.release("a");
}

#[test]
fn step_that_leaves_a_process_has_ended() {
    let relay = Relay::of(&["a", "b"]);
    let pid = relay.path("workspace/pid");
    let script = format!("setsid sleep 1000 & echo $! > {}", pid.display());
    let status = relay
        .command("a", &[], &["sh", "-c", &script])
        .status()
        .unwrap();
    assert!(status.success());
    let left: u32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    assert_eq!(relay.sh("b", &["a"], ":").code(), 0);
    assert!(fs::exists(format!("/proc/{left}")).unwrap());
    kill(left, "KILL");
}

#[test]
fn reader_that_keeps_its_lock_blocks_nobody() {
    let relay = Relay::of(&["a", "b"]);
    let a = relay.held("a", &[], ":");
    let (locked, has_locked) = mpsc::channel();
    let file = File::open(relay.published("a")).unwrap();
    let mark = File::open(relay.root().join(".absent/b")).unwrap();
    let reader = thread::spawn(move || {
        lock(&mark, libc::F_RDLCK).unwrap();
        let queued = lock(&file, libc::F_RDLCK);
        locked.send(()).unwrap();
        (queued, file, mark)
    });
    let b = relay.sh("b", &["a"], ":");
    b.until_blocked();
    relay.release("a");
    has_locked.recv().unwrap();
    let held = reader.join().unwrap();
    assert_eq!((a.code(), b.code()), (0, 0));
    held.0.unwrap();
}

#[test]
fn reader_cannot_take_a_steps_lock() {
    let relay = Relay::of(&["a"]);
    let a = relay.held("a", &[], ":");
    let file = File::open(relay.published("a")).unwrap();
    assert_eq!(lock(&file, libc::F_WRLCK), Err(nix::errno::Errno::EBADF));
    relay.release("a");
    assert_eq!(a.code(), 0);
}

#[test]
fn record_is_locked_until_its_step_ends() {
    // A reader as quick as can be, again and again: it gets the lock only when the step has ended.
    for _ in 0..20 {
        let relay = Relay::of(&["a"]);
        let path = relay.published("a");
        let reader = thread::spawn(move || {
            until("the record is there", || {
                let Ok(file) = File::open(&path) else {
                    return false;
                };
                lock(&file, libc::F_RDLCK).unwrap();
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.starts_with("kubeci/1 completed "), "{text}");
                true
            });
        });
        assert_eq!(relay.sh("a", &[], ":").code(), 0);
        reader.join().unwrap();
    }
}

#[test]
fn full_relay_fails_only_later_steps() {
    let relay = Relay::of(&["a", "b", "c", "d"]);
    let words = |step: &str, needs: &[&str], command: &[&str]| {
        let mut words = relay.words(step, needs, command);
        words[0] = env!("CARGO_BIN_EXE_step-runner").to_owned();
        format!("'{}'", words.join("' '"))
    };
    let gate = relay.path("workspace/gate");
    let script = format!(
        "set -e; rm -r {root}/.bin; cp -a {root} {kept}; mount -t tmpfs -o size=64k,mode=777 none {root}
         cp -a {kept}/. {root}; cd {root}; mkfifo {gate}
         {a} & a=$!; {c} & c=$!; {d} & d=$!
         until [ -e a/record ] && [ -e c/record ] && [ -e d/record ]; do sleep 0.01; done
         ! cat /dev/zero 2> /dev/null > a/x; set +e
         {b} 2> /dev/null; echo b $?; echo > {gate}
         wait $a; echo a $?; wait $c; echo c $?; wait $d; echo d $?",
        root = relay.root().display(),
        gate = gate.display(),
        kept = relay.path("kept").display(),
        a = words("a", &[], &["cat", gate.to_str().unwrap()]),
        b = words("b", &[], &["true"]),
        c = words("c", &["a"], &["true"]),
        d = words("d", &["b"], &["true"]),
    );
    let mut mounted = unshare("--mount");
    mounted.extend(["timeout", "60", "sh", "-c", &script].map(ToOwned::to_owned));
    let output = prepared(&mounted).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said,
        format!("b 125\n\na 0\nc 0\nd {SKIPPED}\n"),
        "{output:?}"
    );
    let message = relay.message("b");
    assert!(message.contains("make room on the node"), "{message}");
}

fn lock(file: &File, kind: i32) -> nix::Result<i32> {
    let whole = libc::flock {
        l_type: i16::try_from(kind).unwrap(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLKW(&whole))
}
