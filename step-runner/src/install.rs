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
use crate::relay::Relay;
use crate::trouble::Trouble;

/// Prepares a relay pod: the runner where each step finds it, and a folder for each step. Ends when
/// [`installed`] has heard of it. May be run again.
pub fn install(install: &Install) -> Result<(), Trouble> {
    end_when_told()?;
    let relay = Relay(&install.relay);
    make_meeting(&relay)?;
    copy_self(&install.bin)?;
    make_folder(&relay.marks(), 0o755)?;
    install
        .steps
        .iter()
        .try_for_each(|step| make_step(&relay, step))?;
    meet(&relay, OpenOptions::new().read(true))?;
    let meeting = relay.meeting();
    fs::remove_file(&meeting).map_err(Trouble::io("remove", meeting))
}

/// Ends when the pod is prepared: as the `postStart` hook of the container that does it, it holds back
/// those after it.
pub fn installed(relay: &Path) -> Result<(), Trouble> {
    let relay = Relay(relay);
    make_meeting(&relay)?;
    meet(&relay, OpenOptions::new().write(true))
}

/// The first process of a container heeds no signal that it does not ask for.
fn end_when_told() -> Result<(), Trouble> {
    let always = Arc::new(AtomicBool::new(true));
    register_conditional_shutdown(SIGTERM, 128 + SIGTERM, always)
        .map(drop)
        .map_err(Trouble::refused::<io::Error>("take signals"))
}

/// Either side may come first.
fn make_meeting(relay: &Relay<'_>) -> Result<(), Trouble> {
    let meeting = relay.meeting();
    match mkfifo(&meeting, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(Trouble::io("create", meeting)(error.into())),
    }
}

/// To open one end of a FIFO blocks until somebody opens the other.
fn meet(relay: &Relay<'_>, end: &OpenOptions) -> Result<(), Trouble> {
    let meeting = relay.meeting();
    end.open(&meeting)
        .map(drop)
        .map_err(Trouble::io("open", meeting))
}

fn copy_self(bin: &Path) -> Result<(), Trouble> {
    let own = "/proc/self/exe";
    let (new, target) = (bin.join(".step-runner"), bin.join("step-runner"));
    fs::copy(own, &new).map_err(Trouble::io("write the runner to", &new))?;
    set_mode(&new, 0o555)?;
    fs::rename(&new, &target).map_err(Trouble::io("write the runner to", target))
}

fn make_step(relay: &Relay<'_>, step: &str) -> Result<(), Trouble> {
    make_folder(&relay.folder(step), 0o777)?;
    let (mark, own) = (relay.mark(step), relay.own_mark(step));
    // The mark comes last: where it is, the step is installed, and may have run.
    if mark.exists() {
        return Ok(());
    }
    fs::write(&own, []).map_err(Trouble::io("create", &own))?;
    fs::hard_link(&own, &mark).map_err(Trouble::io("create", mark))
}

fn make_folder(folder: &Path, mode: u32) -> Result<(), Trouble> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Trouble::io("create", folder)(error))
        }
        _ => set_mode(folder, mode),
    }
}

/// Gives the mode as it is, whatever umask the container has.
fn set_mode(path: &Path, mode: u32) -> Result<(), Trouble> {
    let permissions = Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).map_err(Trouble::io("set the mode of", path))
}
