//! The slots that the steps of a pod share where not all of them may run at the same time.
//!
//! A slot is a FIFO, which the runner of a step keeps open for reading while its command runs. The kernel closes it when
//! the process ends. A runner that waits opens the slots for writing: this fails for a slot without a reader, which is
//! free, and the kernel reports an error on the others as soon as their reader closes them. The folder of the slots is
//! the gate: only the runner that has locked it looks for a slot.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{ENXIO, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::error::Error;
use crate::install::set_mode;
use crate::relay::Relay;

/// A slot that is taken until this is dropped.
pub struct Slot(#[expect(dead_code, reason = "it is kept open")] File);

/// Makes the slots. May be repeated.
pub fn make(relay: &Relay<'_>, slots: NonZeroUsize) -> Result<(), Error> {
    for path in paths(relay, slots) {
        match mkfifo(&path, Mode::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(Error::io("create", path)(error.into())),
        }
        set_mode(&path, 0o666)?;
    }
    Ok(())
}

/// Waits for a slot. The runners that wait get one about in the order in which they began.
pub fn take(relay: &Relay<'_>, slots: NonZeroUsize) -> Result<Slot, Error> {
    let folder = relay.slots();
    let gate = File::open(&folder).map_err(Error::io("open", &folder))?;
    uninterrupted(|| gate.lock()).map_err(Error::io("lock", &folder))?;
    loop {
        let mut taken = Vec::with_capacity(slots.get());
        for path in paths(relay, slots) {
            match open(&path, OpenOptions::new().write(true)) {
                Ok(slot) => taken.push(slot),
                Err(error) if error.raw_os_error() == Some(ENXIO) => {
                    let slot = open(&path, OpenOptions::new().read(true));
                    return slot.map(Slot).map_err(Error::io("open", path));
                }
                Err(error) => return Err(Error::io("open", path)(error)),
            }
        }
        until_one_is_free(&taken).map_err(Error::io("poll", &folder))?;
    }
}

/// How long a step that was stopped keeps its slot for the others to be stopped too.
const OUTLASTED: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(1);

/// Waits until no runner waits for a slot, because the signal to stop may reach them a little later.
pub fn outlast_waiters(relay: &Relay<'_>) -> Result<(), Error> {
    let folder = relay.slots();
    let gate = File::open(&folder).map_err(Error::io("open", &folder))?;
    let until = Instant::now() + OUTLASTED;
    while gate.try_lock().is_err() && Instant::now() < until {
        thread::sleep(POLL);
    }
    Ok(())
}

fn paths(relay: &Relay<'_>, slots: NonZeroUsize) -> impl Iterator<Item = PathBuf> {
    let folder = relay.slots();
    (0..slots.get()).map(move |slot| folder.join(slot.to_string()))
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(O_NONBLOCK).open(path)
}

fn until_one_is_free(taken: &[File]) -> io::Result<()> {
    // An error is reported without being asked for.
    let slot = |slot| PollFd::new(File::as_fd(slot), PollFlags::empty());
    let mut slots: Vec<PollFd> = taken.iter().map(slot).collect();
    uninterrupted(|| poll(&mut slots, PollTimeout::NONE).map_err(Into::into))?;
    Ok(())
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
