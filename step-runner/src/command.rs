use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd;
use rustix::io::retry_on_intr;
use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, wait};

use crate::arguments::Run;
use crate::error::Error;
use crate::exit_code;
use crate::expressions::Named;
use crate::outputs::VARIABLE;
use crate::record::Exit;
use crate::spawn::{search_path, spawn};

/// Why a command could not be started.
pub struct NotStarted {
    pub exit_code: u8,
    pub message: String,
}

/// Starts the command of the step with the environment of the runner, these variables, and the name of the file for its
/// outputs. The command has been executed when this returns. If it may have to be killed with what it started, it leads
/// a process group of its own.
pub fn start(run: &Run, outputs: &Path, variables: &[Named]) -> Result<Pid, NotStarted> {
    if let Some(dir) = &run.dir {
        enter(dir)?;
    }
    let mut command = Command::new(&run.program);
    let variables = variables.iter().map(|it| (&it.name, &it.text));
    command.args(&run.args).envs(variables);
    command.env(VARIABLE, outputs);
    let leads_group = run.limit.is_some() || run.retry.limit > 0;
    spawn(&command, leads_group)
        .map_err(|error| not_started(&run.program, &search_path(&command), &error))
}

/// Enters the working directory of the command. An earlier step may have created it. Creates it if it is missing, as a
/// container runtime does.
fn enter(dir: &Path) -> Result<(), NotStarted> {
    let made = fs::create_dir_all(dir).and_then(|()| env::set_current_dir(dir));
    made.map_err(|error| NotStarted {
        exit_code: exit_code::NOT_EXECUTABLE,
        message: format!(
            "the working directory {} cannot be used: {error}; create it in an earlier step for the user of the \
             container, or correct workingDir",
            dir.display()
        ),
    })
}

/// Waits until the command has ended, and reaps other orphaned processes meanwhile.
pub fn reap(command: Pid) -> Result<Exit, Error> {
    loop {
        let ended = retry_on_intr(|| wait(WaitOptions::empty()));
        match ended.map_err(Error::refused("wait for the command"))? {
            Some((pid, status)) if pid == command => return Ok(exit(status)),
            _ => {}
        }
    }
}

/// How often and in what intervals [`reap_rest`] waits for killed processes.
const REAPS: usize = 4;
const REAP_INTERVAL: Duration = Duration::from_millis(1);

/// Kills what a command has started: all processes of the container if the runner is its first one, otherwise the
/// command's process group. Other processes with the same process ids may belong to other containers.
pub fn kill_rest(command: Pid) {
    let is_first = getpid().is_init();
    let all = if is_first {
        -1
    } else {
        -command.as_raw_nonzero().get()
    };
    let _ = kill(unistd::Pid::from_raw(all), Signal::SIGKILL);
}

/// Reaps killed processes, so that the next attempt finds their ports and locks free. A process that the kernel cannot
/// end now, or that the runner may not kill, is not waited for.
pub fn reap_rest() {
    for _ in 0..REAPS {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        thread::sleep(REAP_INTERVAL);
    }
}

fn exit(status: WaitStatus) -> Exit {
    let byte = |it: i32| u8::try_from(it).unwrap_or(u8::MAX);
    match status.terminating_signal() {
        Some(signal) => Exit::Signal(byte(signal)),
        None => Exit::Code(status.exit_status().map_or(u8::MAX, byte)),
    }
}

fn not_started(program: &OsStr, path: &OsStr, error: &io::Error) -> NotStarted {
    let name = program.display();
    let (exit_code, message) = match error.kind() {
        io::ErrorKind::NotFound if exists(program, path) => {
            let message =
                format!("{name} cannot be executed: its interpreter or loader is not in the image");
            (exit_code::NOT_EXECUTABLE, message)
        }
        io::ErrorKind::NotFound if is_path(program) => (
            exit_code::NOT_FOUND,
            format!("{name} was not found in the image"),
        ),
        io::ErrorKind::NotFound => {
            let path = path.display();
            let message = format!("{name} was not found in the PATH of the image, {path}");
            (exit_code::NOT_FOUND, message)
        }
        io::ErrorKind::PermissionDenied => {
            let message = format!(
                "{name} cannot be executed: it is a directory, or the user of the container may not execute it"
            );
            (exit_code::NOT_EXECUTABLE, message)
        }
        _ if error.raw_os_error() == Some(nix::libc::ENOEXEC) => {
            let message = format!(
                "{name} cannot be executed: it is not a script that begins with #!, and not a program for the architecture of the node"
            );
            (exit_code::NOT_EXECUTABLE, message)
        }
        _ => (
            exit_code::NOT_EXECUTABLE,
            format!("{name} cannot be executed: {error}"),
        ),
    };
    NotStarted { exit_code, message }
}

fn exists(program: &OsStr, path: &OsStr) -> bool {
    if is_path(program) {
        return Path::new(program).is_file();
    }
    env::split_paths(path).any(|folder| folder.join(program).is_file())
}

fn is_path(program: &OsStr) -> bool {
    program.as_encoded_bytes().contains(&b'/')
}
