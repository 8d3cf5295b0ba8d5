use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use signal_hook::consts::SIGTERM;
use signal_hook::flag::register_conditional_shutdown;

use crate::arguments::Install;
use crate::error::Error;
use crate::relay::Relay;
use crate::slots;

/// Prepares a relay pod: copies the runner to the relay, and makes a folder for each step. Ends when
/// [`installed`] runs too. May be repeated.
pub fn install(install: &Install) -> Result<(), Error> {
    end_on_sigterm()?;
    let relay = Relay(&install.relay);
    make_meeting(&relay)?;
    copy_self(&relay)?;
    make_folder(&relay.marks(), 0o755)?;
    if let Some(slots) = install.slots {
        make_folder(&relay.slots(), 0o755)?;
        slots::make(&relay, slots)?;
    }
    install
        .steps
        .iter()
        .try_for_each(|step| make_step(&relay, step))?;
    meet(&relay, OpenOptions::new().read(true))?;
    let meeting = relay.meeting();
    fs::remove_file(&meeting).map_err(Error::io("remove", meeting))
}

/// Ends when the pod is prepared. It is the `postStart` hook of the container that runs [`install`], and holds back
/// the containers after it.
pub fn installed(relay: &Path) -> Result<(), Error> {
    let relay = Relay(relay);
    make_meeting(&relay)?;
    meet(&relay, OpenOptions::new().write(true))
}

/// The first process of a container receives no signal for which it has no handler.
fn end_on_sigterm() -> Result<(), Error> {
    let always = Arc::new(AtomicBool::new(true));
    register_conditional_shutdown(SIGTERM, 128 + SIGTERM, always)
        .map(drop)
        .map_err(Error::refused::<io::Error>("take signals"))
}

/// Either side may come first.
fn make_meeting(relay: &Relay<'_>) -> Result<(), Error> {
    let meeting = relay.meeting();
    match mkfifo(&meeting, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(Error::io("create", meeting)(error.into())),
    }
}

/// Opening one end of a FIFO blocks until the other end is opened.
fn meet(relay: &Relay<'_>, end: &OpenOptions) -> Result<(), Error> {
    let meeting = relay.meeting();
    end.open(&meeting)
        .map(drop)
        .map_err(Error::io("open", meeting))
}

fn copy_self(relay: &Relay<'_>) -> Result<(), Error> {
    let (own, bin) = ("/proc/self/exe", relay.bin());
    make_folder(&bin, 0o755)?;
    let (new, target) = (bin.join(".step-runner"), bin.join("step-runner"));
    fs::copy(own, &new).map_err(Error::io("write the runner to", &new))?;
    set_mode(&new, 0o555)?;
    fs::rename(&new, &target).map_err(Error::io("write the runner to", target))
}

fn make_step(relay: &Relay<'_>, step: &str) -> Result<(), Error> {
    make_folder(&relay.folder(step), 0o777)?;
    let (mark, own) = (relay.mark(step), relay.own_mark(step));
    // The mark comes last: a step with a mark is installed, and may have run.
    if mark.exists() {
        return Ok(());
    }
    fs::write(&own, []).map_err(Error::io("create", &own))?;
    fs::hard_link(&own, &mark).map_err(Error::io("create", mark))
}

fn make_folder(folder: &Path, mode: u32) -> Result<(), Error> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io("create", folder)(error))
        }
        _ => set_mode(folder, mode),
    }
}

/// Sets the mode, regardless of the container's umask.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    let permissions = Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).map_err(Error::io("set the mode of", path))
}
