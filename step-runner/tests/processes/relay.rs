//! A relay in a temporary folder, and steps that run in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use step_runner::record::{Record, Stage};
use tempfile::TempDir;

/// How long a condition may take before the test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

pub struct Relay {
    folder: TempDir,
}

/// A step's process; killed with the test.
pub struct Running(pub Child);

impl Relay {
    /// What the first container does.
    pub fn of(steps: &[&str]) -> Self {
        let relay = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        open_to_all(relay.folder.path());
        for folder in ["relay", "logs", "workspace"] {
            fs::create_dir(relay.path(folder)).unwrap();
            open_to_all(&relay.path(folder));
        }
        relay.install(steps);
        relay
    }

    pub fn install(&self, steps: &[&str]) {
        let mut install = Running(self.installing(steps).spawn().unwrap());
        assert!(self.installed().status().unwrap().success());
        assert!(install.0.wait().unwrap().success());
    }

    pub fn installing(&self, steps: &[&str]) -> Command {
        let mut install = Command::new(env!("CARGO_BIN_EXE_step-runner"));
        install.arg("install").arg("--relay").arg(self.root());
        install.args(steps);
        install
    }

    /// What the first container's hook does.
    pub fn installed(&self) -> Command {
        let mut installed = Command::new(env!("CARGO_BIN_EXE_step-runner"));
        installed.arg("installed").arg("--relay").arg(self.root());
        installed
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.path("relay")
    }

    pub fn runner(&self) -> PathBuf {
        self.root().join(".bin/step-runner")
    }

    /// What a step's container runs, as words.
    pub fn words(&self, step: &str, needs: &[&str], command: &[&str]) -> Vec<String> {
        let log = self.log(step);
        fs::write(&log, []).unwrap();
        fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).unwrap();
        let (runner, root) = (self.runner(), self.root());
        let paths = [runner, root, log].map(|it| it.to_str().unwrap().to_owned());
        let [runner, root, log] = paths;
        let own = [&runner, "run", "--relay", &root, "--step", step];
        let rest = ["--needs", &needs.join(","), "--termination-log", &log, "--"];
        own.iter()
            .chain(&rest)
            .chain(command)
            .map(|it| (*it).to_owned())
            .collect()
    }

    pub fn command(&self, step: &str, needs: &[&str], command: &[&str]) -> Command {
        prepared(&self.words(step, needs, command))
    }

    pub fn start(&self, step: &str, needs: &[&str], command: &[&str]) -> Running {
        Running(self.command(step, needs, command).spawn().unwrap())
    }

    pub fn sh(&self, step: &str, needs: &[&str], script: &str) -> Running {
        self.start(step, needs, &["sh", "-c", script])
    }

    /// A script in a working directory that is entered when its turn comes.
    pub fn start_in(&self, dir: &Path, step: &str, needs: &[&str], script: &str) -> Running {
        let mut words = self.words(step, needs, &["sh", "-c", script]);
        let own = ["--dir".to_owned(), dir.to_str().unwrap().to_owned()];
        words.splice(2..2, own);
        Running(prepared(&words).spawn().unwrap())
    }

    /// A step that a test lets end: with the script, once `release` is called.
    pub fn held(&self, step: &str, needs: &[&str], script: &str) -> Running {
        let gate = self.path(&format!("workspace/{step}.gate"));
        let made = Command::new("mkfifo")
            .arg("-m")
            .arg("666")
            .arg(&gate)
            .status();
        assert!(made.unwrap().success());
        let running = self.sh(
            step,
            needs,
            &format!("read line < {}; {script}", gate.display()),
        );
        if needs.is_empty() {
            self.until_running(step);
        }
        running
    }

    pub fn release(&self, step: &str) {
        fs::write(self.path(&format!("workspace/{step}.gate")), "go\n").unwrap();
    }

    fn log(&self, step: &str) -> PathBuf {
        self.path(&format!("logs/{step}"))
    }

    /// The termination message, as the kubelet reads it.
    pub fn termination_message(&self, step: &str) -> String {
        fs::read_to_string(self.log(step)).unwrap()
    }

    pub fn record(&self, step: &str) -> Record {
        let text = self.termination_message(step);
        text.parse()
            .unwrap_or_else(|error| panic!("{step}: {text:?}: {error}"))
    }

    pub fn message(&self, step: &str) -> String {
        match self.record(step).stage {
            Stage::Ended { message, .. } => message,
            other => panic!("{step} has not ended: {other:?}"),
        }
    }

    pub fn published(&self, step: &str) -> PathBuf {
        self.root().join(step).join("record")
    }

    pub fn until_running(&self, step: &str) {
        until(&format!("{step} runs"), || {
            self.termination_message(step)
                .parse()
                .is_ok_and(|it: Record| matches!(it.stage, Stage::Running { .. }))
        });
    }

    /// Until a step's container is up.
    pub fn until_up(&self, step: &str) {
        until(&format!("{step} is up"), || self.published(step).exists());
    }
}

impl Running {
    pub fn exit(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "a step did not end");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn code(self) -> i32 {
        let status = self.exit();
        status.code().unwrap_or_else(|| panic!("{status}"))
    }

    pub fn signal(&self, signal: &str) {
        kill(self.0.id(), signal);
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Until it waits for the lock of a dependency's record.
    pub fn until_blocked(&self) {
        let fcntl = if cfg!(target_arch = "x86_64") {
            "72"
        } else {
            "25"
        };
        self.until_in(&[fcntl]);
    }

    /// Until it waits for a slot to become free.
    pub fn until_polling(&self) {
        let x86_64 = cfg!(target_arch = "x86_64");
        self.until_in(if x86_64 { &["7", "271"] } else { &["73"] });
    }

    /// Until it waits for another runner that waits for a slot.
    pub fn until_locking(&self) {
        let x86_64 = cfg!(target_arch = "x86_64");
        self.until_in(if x86_64 { &["73"] } else { &["32"] });
    }

    /// Until it pauses before it looks again for a container that is not up.
    pub fn until_asleep(&self) {
        let x86_64 = cfg!(target_arch = "x86_64");
        self.until_in(if x86_64 {
            &["35", "230"]
        } else {
            &["101", "115"]
        });
    }

    /// Until its main thread is in one of these system calls.
    fn until_in(&self, calls: &[&str]) {
        let path = format!("/proc/{}/syscall", self.pid());
        until("a runner waits", || {
            let now = fs::read_to_string(&path).unwrap_or_default();
            calls.contains(&now.split(' ').next().unwrap_or_default())
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A runner takes its command with it, unless it is killed.
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            kill(self.pid(), "TERM");
            let _ = self.0.wait();
        }
    }
}

/// A command that is started as in a container, whatever started the tests: with no signal ignored.
pub fn prepared(words: &[String]) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").args(words);
    command.stdin(Stdio::null());
    command
}

/// A command that is started with these signals ignored.
pub fn ignoring(signals: &str, words: &[String]) -> Command {
    let script = format!("trap '' {signals}; exec \"$@\"");
    let shell = ["bash", "-c", &script, "bash"].map(ToOwned::to_owned);
    prepared(&[&shell, words].concat())
}

pub fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

pub fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed
        .split_whitespace()
        .map(|it| it.parse().unwrap())
        .collect()
}

fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
}
