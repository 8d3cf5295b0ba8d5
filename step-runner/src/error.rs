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
        "cannot {action}: {error}; allow it in the container's seccomp profile, RuntimeDefault does"
    )]
    Refused {
        action: &'static str,
        error: io::Error,
    },
    #[error("the relay {} has no step {step}; name it in the pod's `step-runner install`", relay.display())]
    NotInstalled { step: String, relay: PathBuf },
    #[error("step {step} has run in this relay before, and a step runs once; create another pod")]
    RanBefore { step: String },
    #[error("{} is not the folder of step {step}; mount the relay there with subPath: {step}", folder.display())]
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
            "every user needs the rights to it that `step-runner install` gives"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount the step's own folder of the relay without readOnly"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on the node, or raise the volume's sizeLimit"
        }
        io::ErrorKind::NotFound => "mount the volumes of the relay into the container",
        _ => "the relay must be an emptyDir",
    }
}
