//! The file to which a command writes its outputs.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::libc::{O_NOCTTY, O_NOFOLLOW, O_NONBLOCK};

use crate::error::Error;
use crate::outputs::{KUBELET_BYTES, OutputError, Outputs, Size};

/// Creates the file, writable for all users of the container, because the command may run as another user than the
/// runner.
pub fn create(path: &Path) -> Result<(), Error> {
    let file = File::create_new(path).map_err(Error::io("create", path))?;
    file.set_permissions(Permissions::from_mode(0o666))
        .map_err(Error::io("set the mode of", path))
}

/// Creates the file for another attempt, in place of the one that the attempt before has written, or has removed.
pub fn create_again(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => create(path),
    }
}

/// The outputs of a command that has completed.
pub fn of_completed(path: &Path, most: usize) -> Result<Outputs, OutputError> {
    let (text, size) = match read(path) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outputs::default()),
        Err(error) => return Err(OutputError::Unreadable(error.to_string())),
    };
    Outputs::of_completed(&text, size, most)
}

/// The outputs of a command that has failed, or else its message.
pub fn of_failed(path: &Path, most: usize) -> Result<Outputs, String> {
    let Ok((text, size)) = read(path) else {
        return Err(String::new());
    };
    Outputs::of_failed(&text, size, most).ok_or_else(|| text.trim().to_owned())
}

/// Reads the file up to a bound. The command may have replaced it with a link, a pipe or a device.
fn read(path: &Path) -> io::Result<(String, Size)> {
    let flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(KUBELET_BYTES as u64).read_to_end(&mut bytes)?;
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let size = Size::Exactly(size.max(bytes.len()));
    Ok((String::from_utf8_lossy(&bytes).into_owned(), size))
}
