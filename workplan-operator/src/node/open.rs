use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot make {path} writable for all users: {error}")]
    Folder { path: PathBuf, error: io::Error },
    #[error("cannot start {}: {error}; use the image of the workplan operator, which contains it", program.display())]
    Next { program: OsString, error: io::Error },
}

/// Makes a folder writable for all users, then executes another program, if one is given.
///
/// # Errors
/// When the folder is absent, or not this process's to change; when the program cannot be started.
pub fn open(path: &Path, then: &[OsString]) -> Result<(), OpenError> {
    fs::set_permissions(path, Permissions::from_mode(0o777)).map_err(|error| {
        OpenError::Folder {
            path: path.into(),
            error,
        }
    })?;
    let Some((program, args)) = then.split_first() else {
        return Ok(());
    };
    Err(OpenError::Next {
        program: program.clone(),
        error: Command::new(program).args(args).exec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_may_write() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), &[]).unwrap();
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o777);
        let error = open(&folder.path().join("absent"), &[]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("absent writable for all users"), "{error}");
        let error = open(folder.path(), &["/absent".into()]).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("cannot start /absent"), "{error}");
    }
}
