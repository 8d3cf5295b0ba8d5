use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::trouble::Trouble;

/// The folder that the steps of a pod share: what each tells of itself lies where only it can write.
pub struct Relay<'a>(pub &'a Path);

impl Relay<'_> {
    /// The only folder of the relay that the step itself can write to.
    pub fn folder(&self, step: &str) -> PathBuf {
        self.0.join(step)
    }

    /// The step's record, locked while the step's runner lives. It is there once the step's container is up.
    pub fn record(&self, step: &str) -> PathBuf {
        self.folder(step).join("record")
    }

    /// A link to the step's mark, in its own folder: its runner removes it when it is up.
    pub fn own_mark(&self, step: &str) -> PathBuf {
        self.folder(step).join("absent")
    }

    /// A link to the step's mark where no step can write. It has a second link until the step's runner is
    /// up, and never again: that link can be made nowhere else than where this one lies.
    pub fn mark(&self, step: &str) -> PathBuf {
        self.marks().join(step)
    }

    /// A FIFO, at which who installs the relay and who waits for that meet.
    pub fn meeting(&self) -> PathBuf {
        self.0.join(".meeting")
    }

    pub fn marks(&self) -> PathBuf {
        self.0.join(".absent")
    }

    /// Whether the step's container is not up yet.
    pub fn is_absent(&self, step: &str) -> Result<bool, Trouble> {
        self.mark_of(step).map(|mark| mark.nlink() > 1)
    }

    /// That the step's folder is its own and its runner the first to come up.
    pub fn check_wiring(&self, step: &str) -> Result<(), Trouble> {
        let mark = self.mark_of(step)?;
        match fs::symlink_metadata(self.own_mark(step)) {
            Ok(own) if own.ino() == mark.ino() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && mark.nlink() < 2 => {
                Err(Trouble::RanBefore {
                    step: step.to_owned(),
                })
            }
            _ => Err(Trouble::Miswired {
                step: step.to_owned(),
                folder: self.folder(step),
            }),
        }
    }

    fn mark_of(&self, step: &str) -> Result<fs::Metadata, Trouble> {
        fs::symlink_metadata(self.mark(step)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Trouble::NotInstalled {
                step: step.to_owned(),
                relay: self.0.to_owned(),
            },
            _ => Trouble::io("look at", self.mark(step))(error),
        })
    }
}
