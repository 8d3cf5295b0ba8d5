use std::io;
use std::path::PathBuf;

/// Why the runner itself failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}; see step-runner --help")]
    Usage(String),
    #[error("cannot {action} {}: {error}; {}", path.display(), advice(error))]
    Io {
        action: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    #[error(
        "cannot {action}: {error}; allow it in the seccomp profile of the container, as RuntimeDefault does"
    )]
    Refused {
        action: &'static str,
        error: io::Error,
    },
    #[error("the relay {} has no step {step}; add it to the arguments of `step-runner install`", relay.display())]
    NotInstalled { step: String, relay: PathBuf },
    #[error("the step {step} has already run in this relay; create another pod")]
    RanBefore { step: String },
    #[error("{} is not the folder of the step {step}; mount the relay there with subPath: {step}", folder.display())]
    Miswired { step: String, folder: PathBuf },
}

impl Error {
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            action,
            path: path.into(),
            error,
        }
    }

    pub fn refused<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Refused {
            action,
            error: error.into(),
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "restore the mode that `step-runner install` sets, so that all users have access"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount the folder of the step in the relay without readOnly"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on the node, or raise the volume's sizeLimit"
        }
        io::ErrorKind::NotFound => "mount the volumes of the relay into the container",
        _ => "the relay must be an emptyDir",
    }
}
