//! The step's command: as if the runner were not there.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use step_runner::record::{End, Exit, Stage};

use crate::relay::{Relay, children, ignoring, prepared, until};

#[test]
fn exit_code_or_signal_is_passed_on() {
    let relay = Relay::of(&["a", "b"]);
    assert_eq!(relay.sh("a", &[], "exit 77").code(), 77);
    assert_eq!(relay.sh("b", &[], "kill -9 $$").code(), 128 + 9);
    let exit = |step: &str| match relay.record(step).stage {
        Stage::Ended {
            end: End::Failed {
                started: Some(_),
                exit,
            },
            ..
        } => exit,
        other => panic!("{other:?}"),
    };
    assert_eq!((exit("a"), exit("b")), (Exit::Code(77), Exit::Signal(9)));
}

/// What makes the program of a case and names it.
type Program = Box<dyn Fn(&Relay) -> String>;

#[test]
fn failed_start_is_logged_and_recorded() {
    let file = |relay: &Relay, mode: u32, content: &str| {
        let path = relay.path("workspace/file");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let named = |name: &str| {
        let name = name.to_owned();
        move |_: &Relay| name.clone()
    };
    let cases: [(Program, i32, &str); 7] = [
        (
            Box::new(named("no-such")),
            127,
            "no-such was not found in the PATH of the image, /",
        ),
        (
            Box::new(named("/no/such")),
            127,
            "/no/such was not found in the image",
        ),
        (Box::new(named("")), 127, "was not found"),
        (
            Box::new(named("/")),
            126,
            "it is a directory, or the user of the container may not execute it",
        ),
        (
            Box::new(move |relay| file(relay, 0o644, "#!/bin/sh\n")),
            126,
            "may not execute it",
        ),
        (
            Box::new(move |relay| file(relay, 0o755, "#!/no/such\n")),
            126,
            "its interpreter or loader is not in the image",
        ),
        (
            Box::new(move |relay| file(relay, 0o755, "echo\n")),
            126,
            "not a script that begins with #!",
        ),
    ];
    for (program, code, message) in cases {
        let relay = Relay::of(&["a", "b"]);
        let output = relay
            .command("a", &[], &[&program(&relay)])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(
            said.starts_with("step-runner: ") && said.contains(message),
            "{said}"
        );
        assert!(relay.message("a").contains(message));
        assert_eq!(relay.record("a").started_at(), None);
        assert_eq!(relay.sh("b", &["a"], ":").code(), 77);
    }
}

/// Prints what a command is started with: open files, environment, folder, arguments, blocked and ignored signals.
/// The C library of the tests ignores two real-time signals in what it starts, and bash SIGQUIT in itself.
const SURROUNDINGS: &str = r#"ls /proc/self/fd; env | grep -Ev '^(_|KUBECI_OUTPUT)='; pwd; echo "$@"
    while read key value; do case $key in
        SigBlk:) echo $value;; SigIgn:) echo $((0x$value & 0x7fffffff));;
    esac; done <<< "$(cat /proc/self/status)""#;

fn surroundings(mut command: Command) -> String {
    let output = command
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("X", "y")])
        .current_dir("/usr")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn surroundings_are_untouched() {
    let relay = Relay::of(&["a"]);
    let words = ["env", "bash", "-c", SURROUNDINGS, "sh", "x y", ""];
    let bare = words.map(ToOwned::to_owned);
    let through = relay.command("a", &[], &words);
    assert_eq!(surroundings(through), surroundings(prepared(&bare)));
}

#[test]
fn signals_ignored_at_the_start_stay_ignored() {
    // As a background job of a script, after nohup, and all that can be; PIPE and CHLD are as without them.
    for ignored in [
        "INT QUIT",
        "HUP",
        "1 2 3 6 10 12 14 15 18 20 21 22 23 24 25 26 28 29 30",
    ] {
        let relay = Relay::of(&["a"]);
        let words = ["bash", "-c", SURROUNDINGS];
        let bare = words.map(ToOwned::to_owned);
        let through = relay.words("a", &[], &words);
        assert_eq!(
            surroundings(ignoring(ignored, &through)),
            surroundings(ignoring(ignored, &bare)),
        );
    }
}

#[test]
fn end_is_seen_with_ignored_sigchld() {
    let relay = Relay::of(&["a"]);
    let words = relay.words("a", &[], &["sh", "-c", "exit 3"]);
    let status = ignoring("CHLD PIPE", &words).status().unwrap();
    assert_eq!(status.code(), Some(3));
}

/// As a shell does it: the next folder in PATH may have a program that can be executed.
#[test]
fn file_without_permission_is_passed_over() {
    let relay = Relay::of(&["a", "b"]);
    let folder = |name: &str, mode: u32| {
        let folder = relay.path(&format!("workspace/{name}"));
        let tool = folder.join("tool");
        fs::create_dir(&folder).unwrap();
        fs::write(&tool, "#!/bin/sh\nexit 5\n").unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(mode)).unwrap();
        folder.to_str().unwrap().to_owned()
    };
    let (denied, allowed) = (folder("denied", 0o644), folder("allowed", 0o755));
    let code = |step: &str, folders: &[&str]| {
        let mut words = relay.words(step, &[], &["tool"]);
        words.splice(0..0, [format!("PATH={}", folders.join(":"))]);
        prepared(&words).status().unwrap().code()
    };
    assert_eq!(code("a", &["/no/such", &denied, &allowed]), Some(5));
    assert_eq!(code("b", &[&denied, "/no/such"]), Some(126));
}

#[test]
fn working_directory_may_come_from_earlier_step() {
    let relay = Relay::of(&["a", "b", "c"]);
    let dir = relay.path("workspace/src");
    let shown = dir.display();
    let a = relay.held("a", &[], &format!("mkdir {shown} && touch {shown}/here"));
    let b = relay.start_in(&dir, "b", &["a"], "test -e here && pwd");
    relay.until_up("b");
    assert!(!dir.exists(), "it is not made before its step's turn");
    relay.release("a");
    assert_eq!((a.code(), b.code()), (0, 0));
    let missing = dir.join("of/c");
    let c = relay.start_in(&missing, "c", &["b"], "touch made");
    assert_eq!(c.code(), 0);
    assert!(missing.join("made").exists());
}

#[test]
fn unusable_working_directory_is_reported() {
    let relay = Relay::of(&["a", "b"]);
    let file = relay.path("workspace/file");
    fs::write(&file, "").unwrap();
    assert_eq!(relay.start_in(&file, "a", &[], ":").code(), 126);
    let said = relay.message("a");
    let expected = format!("the working directory {} cannot be used", file.display());
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(relay.record("a").started_at(), None);
    assert_eq!(relay.sh("b", &["a"], ":").code(), 77);
}

#[test]
fn gigabyte_of_output_passes_unharmed() {
    let relay = Relay::of(&["a"]);
    let mut command = relay.command("a", &[], &["head", "-c", "1G", "/dev/zero"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut block = vec![1; 1 << 20];
    let mut bytes = 0_u64;
    loop {
        match output.read(&mut block).unwrap() {
            0 => break,
            length => {
                assert!(block[..length].iter().all(|it| *it == 0));
                bytes += length as u64;
            }
        }
    }
    assert_eq!(bytes, 1 << 30);
    assert!(child.wait().unwrap().success());
}

#[test]
fn closed_stdin_is_an_empty_one() {
    let relay = Relay::of(&["a"]);
    let words = relay.words("a", &[], &["sh", "-c", "cat; readlink /proc/self/fd/0"]);
    let mut closed = vec![
        "sh".to_owned(),
        "-c".into(),
        "exec \"$@\" <&-".into(),
        "sh".into(),
    ];
    closed.extend(words);
    let output = prepared(&closed).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "/dev/null\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn output_may_be_closed() {
    let relay = Relay::of(&["a"]);
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let status = relay
        .command("a", &[], &["yes"])
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(128 + 13));
}

#[test]
fn termination_message_is_kept() {
    let relay = Relay::of(&["a"]);
    let log = relay.path("logs/a");
    let script = format!(
        "printf 'disk: full\nsecond line' > {}; exit 2",
        log.display()
    );
    assert_eq!(relay.sh("a", &[], &script).code(), 2);
    assert_eq!(relay.message("a"), "disk: full\nsecond line");
}

#[test]
fn long_termination_message_is_cut_after_record() {
    let relay = Relay::of(&["a", "b"]);
    let log = relay.path("logs/a");
    assert_eq!(
        relay
            .sh(
                "a",
                &[],
                &format!("yes ä | head -c 100000 > {}", log.display())
            )
            .code(),
        0
    );
    assert!(relay.termination_message("a").len() <= 4096);
    assert!(relay.message("a").len() > 3900);
    assert_eq!(relay.sh("b", &["a"], ":").code(), 0);
}

#[test]
fn orphans_are_reaped() {
    let relay = Relay::of(&["a"]);
    // As the first process of its namespace, the runner inherits the orphans: 50 that end while the step runs.
    let gate = relay.path("workspace/gate");
    assert!(
        Command::new("mkfifo")
            .arg(&gate)
            .status()
            .unwrap()
            .success()
    );
    let script = format!(
        "for i in $(seq 50); do (true & ); done; read line < {}",
        gate.display()
    );
    let step = crate::relay::Running(
        relay
            .as_first_process("a", &[], &["sh", "-c", &script])
            .spawn()
            .unwrap(),
    );
    relay.until_running("a");
    let runner = || children(step.pid())[0];
    until(
        "only the command is left",
        || matches!(children(runner())[..], [command] if children(command).is_empty() && blocked_in_open(command)),
    );
    fs::write(gate, "go\n").unwrap();
    assert_eq!(step.code(), 0);
}

/// The script has come to its last line.
fn blocked_in_open(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    status.contains("fifo") || status.contains("wait_for_partner")
}
