use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be made writable for every user: {error}")]
pub struct OpenError {
    path: PathBuf,
    error: io::Error,
}

/// Makes a folder writable for every user.
///
/// # Errors
/// When it is absent, or not this process's to change.
pub fn open(path: &Path) -> Result<(), OpenError> {
    fs::set_permissions(path, Permissions::from_mode(0o777)).map_err(|error| OpenError {
        path: path.into(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_may_write() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).unwrap();
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o777);
        let error = open(&folder.path().join("absent")).unwrap_err().to_string();
        assert!(error.contains("absent cannot be made writable"), "{error}");
    }
}
