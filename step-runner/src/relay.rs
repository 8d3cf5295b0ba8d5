use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The folder that the steps of a pod share. Each step can write to its own folder there, and to no other.
pub struct Relay<'a>(pub &'a Path);

impl Relay<'_> {
    /// The step's own folder, the only one that it can write to.
    pub fn folder(&self, step: &str) -> PathBuf {
        self.0.join(step)
    }

    /// The step's record, locked while its runner lives. It exists once the step's container is up.
    pub fn record(&self, step: &str) -> PathBuf {
        self.folder(step).join("record")
    }

    /// The file to which the step's command writes its outputs.
    pub fn outputs(&self, step: &str) -> PathBuf {
        self.folder(step).join("outputs")
    }

    /// A link to the step's mark, in its own folder. Its runner removes it when it is up.
    pub fn own_mark(&self, step: &str) -> PathBuf {
        self.folder(step).join("absent")
    }

    /// A link to the step's mark where no step can write. It has a second link until the step's runner is up, and never
    /// again: the mark can be linked only from where this one is.
    pub fn mark(&self, step: &str) -> PathBuf {
        self.marks().join(step)
    }

    /// The folder of the step runner.
    pub fn bin(&self) -> PathBuf {
        self.0.join(".bin")
    }

    /// The FIFO at which `install` and `installed` meet.
    pub fn meeting(&self) -> PathBuf {
        self.0.join(".meeting")
    }

    /// The folder of the slots that the steps share.
    pub fn slots(&self) -> PathBuf {
        self.0.join(".slots")
    }

    pub fn marks(&self) -> PathBuf {
        self.0.join(".absent")
    }

    /// Whether the step's container is not up yet.
    pub fn is_absent(&self, step: &str) -> Result<bool, Error> {
        self.mark_of(step).map(|mark| mark.nlink() > 1)
    }

    /// Checks that the step's folder is its own and its runner the first to come up.
    pub fn check_wiring(&self, step: &str) -> Result<(), Error> {
        let mark = self.mark_of(step)?;
        match fs::symlink_metadata(self.own_mark(step)) {
            Ok(own) if own.ino() == mark.ino() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && mark.nlink() < 2 => {
                Err(Error::RanBefore {
                    step: step.to_owned(),
                })
            }
            _ => Err(Error::Miswired {
                step: step.to_owned(),
                folder: self.folder(step),
            }),
        }
    }

    fn mark_of(&self, step: &str) -> Result<fs::Metadata, Error> {
        fs::symlink_metadata(self.mark(step)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotInstalled {
                step: step.to_owned(),
                relay: self.0.to_owned(),
            },
            _ => Error::io("read", self.mark(step))(error),
        })
    }
}
