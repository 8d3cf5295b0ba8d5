use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::arguments::Install;
use crate::relay::Relay;
use crate::trouble::Trouble;

/// Prepares a relay pod: the runner where each step finds it, and a folder for each step. May be run again.
pub fn install(install: &Install) -> Result<(), Trouble> {
    copy_self(&install.bin)?;
    let relay = Relay(&install.relay);
    make_folder(&relay.marks(), 0o755)?;
    install
        .steps
        .iter()
        .try_for_each(|step| make_step(&relay, step))
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
