//! Locks of open file descriptions. The kernel releases such a lock when the file is closed, at the latest when the
//! process ends.

use std::fs::File;
use std::io;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Locks a file that no other process has open.
pub fn exclusive(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK)))?;
    Ok(())
}

/// Blocks until the exclusive lock is released. Other processes that wait for the same do not block this one.
pub fn shared(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLKW(&whole_file(libc::F_RDLCK)))?;
    Ok(())
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap_or_default(),
        l_whence: 0, // SEEK_SET
        l_start: 0,
        l_len: 0, // to the end, wherever that is
        l_pid: 0, // the kernel asks for it
    }
}
