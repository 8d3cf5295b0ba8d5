//! Starts a command. The runner blocks the signals that it reads, and the command must not inherit that. The standard
//! library starts programs only with the signals blocked that are blocked in the runner.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::iter;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd;
use rustix::process::Pid;

/// Starts the command with its arguments and variables, and with no signal blocked. The command has been executed when
/// this returns.
pub fn spawn(command: &Command, leads_group: bool) -> io::Result<Pid> {
    let words = iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(text).collect::<io::Result<Vec<_>>>()?;
    let environment = environment(command)?;
    let (actions, attributes) = (PosixSpawnFileActions::init()?, attributes(leads_group)?);
    let mut why = Errno::ENOENT;
    for program in programs(command) {
        match posix_spawn(
            program.as_path(),
            &actions,
            &attributes,
            &words,
            &environment,
        ) {
            Ok(pid) => return Pid::from_raw(pid.as_raw()).ok_or_else(|| Errno::ESRCH.into()),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(Errno::EACCES) => why = Errno::EACCES,
            Err(error) => return Err(error.into()),
        }
    }
    Err(why.into())
}

fn attributes(leads_group: bool) -> nix::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    let mut flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
    attributes.set_sigmask(&SigSet::empty())?;
    // It is ignored in every Rust program.
    flags |= PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    attributes.set_sigdefault(&Signal::SIGPIPE.into())?;
    if leads_group {
        flags |= PosixSpawnFlags::POSIX_SPAWN_SETPGROUP;
        attributes.set_pgroup(unistd::Pid::from_raw(0))?;
    }
    attributes.set_flags(flags)?;
    Ok(attributes)
}

/// The environment of the runner with the variables of the command.
fn environment(command: &Command) -> io::Result<Vec<CString>> {
    let own: Vec<_> = command.get_envs().collect();
    let is_own = |name: &OsStr| own.iter().any(|it| it.0 == name);
    let inherited = env::vars_os().filter(|(name, _)| !is_own(name));
    let own = own
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned())));
    inherited
        .chain(own)
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            text(&variable)
        })
        .collect()
}

/// The files that the command may mean, in the order of the folders in its PATH.
fn programs(command: &Command) -> Vec<PathBuf> {
    let program = Path::new(command.get_program());
    if program.as_os_str().as_bytes().contains(&b'/') {
        return vec![program.to_owned()];
    }
    if program.as_os_str().is_empty() {
        return Vec::new();
    }
    env::split_paths(&search_path(command))
        .map(|folder| folder.join(program))
        .filter(|file| !is_missing(file))
        .collect()
}

fn is_missing(file: &Path) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    fs::metadata(file).is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

/// The folders in the PATH of the command, by default those of the C library.
pub fn search_path(command: &Command) -> OsString {
    let own = command.get_envs().find(|(name, _)| *name == "PATH");
    let own = own.and_then(|(_, path)| Some(path?.to_owned()));
    own.or_else(|| env::var_os("PATH"))
        .unwrap_or_else(|| "/usr/local/bin:/bin:/usr/bin".into())
}

fn text(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}
