//! Removes one folder of a Workplan from this node, and nothing else, independent of its content.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::workspace::Folder;

#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("{0} is not a directory; nothing below it is removed")]
    NotADirectory(PathBuf),
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

/// Removes `folder` below `root`, then the empty folders above it. Does not follow symbolic links and does not enter
/// mounts: it removes links, not their targets, and a mount is an error. A folder that does not exist is no error.
///
/// A pod of the same Workflow may start at the same time. If its parent folder is removed between two steps of the
/// kubelet's `mkdir -p`, the kubelet retries within a second.
///
/// # Errors
/// When the path contains something other than directories, or when an entry cannot be removed.
pub fn remove(root: &Path, folder: &Folder) -> Result<(), RemoveError> {
    let [namespace, workflow, workplan] = folder.parts();
    let Some(root) = Opened::new(CWD, root, root.to_owned(), OFlags::empty())? else {
        return Ok(());
    };
    let Some(of_namespace) = root.open(namespace)? else {
        return Ok(());
    };
    if let Some(of_workflow) = of_namespace.open(workflow)? {
        of_workflow.remove_all(workplan)?;
    }
    of_namespace.unlink_parent(workflow)?;
    root.unlink_parent(namespace)
}

/// A folder that is used by its descriptor, because its path may change.
struct Opened {
    folder: OwnedFd,
    path: PathBuf,
}

impl Opened {
    fn new(
        at: impl AsFd,
        name: impl Arg,
        path: PathBuf,
        flags: OFlags,
    ) -> Result<Option<Self>, RemoveError> {
        let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(at, name, flags, Mode::empty()) {
            Ok(folder) => Ok(Some(Self { folder, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(RemoveError::NotADirectory(path)),
            Err(error) => Err(RemoveError::Io {
                path,
                error: error.into(),
            }),
        }
    }

    fn open(&self, name: impl Arg + Copy) -> Result<Option<Self>, RemoveError> {
        Self::new(&self.folder, name, self.path_of(name), OFlags::NOFOLLOW)
    }

    /// Removes the entry of this name with its content, at any depth and with few open files: moves each folder into
    /// one that no step can reach, under a number, and removes them one after the other.
    fn remove_all(&self, name: &str) -> Result<(), RemoveError> {
        let apart = format!(".{name}"); // not the name of a Workplan
        if self.unlink(name)? && self.unlink(&apart)? {
            return Ok(());
        }
        match mkdirat(&self.folder, &apart, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(self.failed(&apart, error)),
        }
        let Some(moved) = self.open(&apart)? else {
            return Ok(());
        };
        let mut numbers = 0..0;
        self.hand_over(name, &moved, &mut numbers.end)?;
        while !self.unlink(&apart)? {
            while let Some(number) = numbers.next() {
                moved.take_apart(&number.to_string(), &mut numbers.end)?;
            }
            // A stopped sweep left it, or a process still writes to it.
            for left in moved.names()? {
                moved.take_apart(&left?, &mut numbers.end)?;
            }
        }
        Ok(())
    }

    /// Removes a folder. Its folders that are not empty are moved beside it.
    fn take_apart(&self, name: impl Arg + Copy, numbers: &mut u64) -> Result<(), RemoveError> {
        if self.unlink(name)? {
            return Ok(());
        }
        if let Some(folder) = self.open(name)? {
            for inner in folder.names()? {
                let inner = inner?;
                if !folder.unlink(&*inner)? {
                    folder.hand_over(&*inner, self, numbers)?;
                }
            }
            self.unlink(name)?;
        }
        Ok(())
    }

    /// Moves an entry to another folder, under the next free number.
    fn hand_over(
        &self,
        name: impl Arg + Copy,
        to: &Self,
        numbers: &mut u64,
    ) -> Result<(), RemoveError> {
        loop {
            let number = numbers.to_string();
            *numbers += 1;
            match renameat(&self.folder, name, &to.folder, number) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(error) => return Err(self.failed(name, error)),
            }
        }
    }

    /// Removes a file, a link or an empty folder. Returns false for a folder that is not empty.
    fn unlink(&self, name: impl Arg + Copy) -> Result<bool, RemoveError> {
        let removed = match unlinkat(&self.folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => unlinkat(&self.folder, name, AtFlags::REMOVEDIR),
            removed => removed,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    /// Removes a folder above that of a Workplan, unless it is not empty or a file system is mounted there.
    fn unlink_parent(&self, name: &str) -> Result<(), RemoveError> {
        match unlinkat(&self.folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::EXIST | Errno::NOTEMPTY | Errno::BUSY) => Ok(()),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    fn names(&self) -> Result<impl Iterator<Item = Result<CString, RemoveError>>, RemoveError> {
        let failed = |error: Errno| RemoveError::Io {
            path: self.path.clone(),
            error: error.into(),
        };
        let entries = Dir::read_from(&self.folder).map_err(failed)?;
        let names = entries.map(move |entry| Ok(entry.map_err(failed)?.file_name().to_owned()));
        let is_entry = |name: &CString| ![&b"."[..], b".."].contains(&name.to_bytes());
        Ok(names.filter(move |name| name.as_ref().is_ok_and(is_entry) || name.is_err()))
    }

    fn path_of(&self, name: impl Arg + Copy) -> PathBuf {
        self.path.join(&*name.to_string_lossy())
    }

    fn failed(&self, name: impl Arg + Copy, error: Errno) -> RemoveError {
        RemoveError::Io {
            path: self.path_of(name),
            error: error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A temporary folder for the test.
    fn root() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn folder(text: &str) -> Folder {
        text.parse().unwrap()
    }

    fn fill(path: &Path) {
        fs::create_dir_all(path.join("deep/er")).unwrap();
        fs::write(path.join("deep/er/file"), "x").unwrap();
    }

    #[test]
    fn law_5_folder_is_removed_with_empty_parents() {
        let root = root();
        fill(&root.path().join("ns/flow/plan-1"));
        fill(&root.path().join("ns/flow/plan-2"));
        remove(root.path(), &folder("ns/flow/plan-1")).unwrap();
        assert!(!root.path().join("ns/flow/plan-1").exists());
        assert!(root.path().join("ns/flow/plan-2/deep/er/file").exists());
        remove(root.path(), &folder("ns/flow/plan-2")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn law_6_removing_again_changes_nothing() {
        let root = root();
        fill(&root.path().join("ns/flow/plan"));
        for _ in 0..2 {
            remove(root.path(), &folder("ns/flow/plan")).unwrap();
        }
        fs::create_dir_all(root.path().join("ns/flow")).unwrap();
        remove(root.path(), &folder("ns/flow/plan")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn law_5_targets_of_links_stay() {
        let (root, elsewhere) = (root(), root());
        fill(elsewhere.path());
        let plan = root.path().join("ns/flow/plan");
        fill(&plan);
        symlink(elsewhere.path(), plan.join("folder")).unwrap();
        symlink(
            elsewhere.path().join("deep/er/file"),
            plan.join("deep/file"),
        )
        .unwrap();
        symlink("../../..", plan.join("up")).unwrap();
        symlink("nowhere", plan.join("dangling")).unwrap();
        remove(root.path(), &folder("ns/flow/plan")).unwrap();
        assert!(!plan.exists());
        assert!(elsewhere.path().join("deep/er/file").exists());
    }

    #[test]
    fn law_5_link_instead_of_folder_is_removed() {
        let (root, elsewhere) = (root(), root());
        fill(elsewhere.path());
        fs::create_dir_all(root.path().join("ns/flow")).unwrap();
        symlink(elsewhere.path(), root.path().join("ns/flow/plan")).unwrap();
        remove(root.path(), &folder("ns/flow/plan")).unwrap();
        assert!(elsewhere.path().join("deep/er/file").exists());
        assert!(!root.path().join("ns").exists());
    }

    #[test]
    fn law_5_link_in_the_path_is_refused() {
        let (root, elsewhere) = (root(), root());
        fill(&elsewhere.path().join("plan"));
        fs::create_dir_all(root.path().join("ns")).unwrap();
        symlink(elsewhere.path(), root.path().join("ns/flow")).unwrap();
        let error = remove(root.path(), &folder("ns/flow/plan")).unwrap_err();
        assert!(
            error.to_string().contains("ns/flow is not a directory"),
            "{error}"
        );
        assert!(elsewhere.path().join("plan/deep/er/file").exists());
    }

    /// Nested folders, deeper than the maximum length of a path. Each folder is created after its content.
    fn nest(path: &Path, depth: usize) {
        fs::create_dir_all(path.join("d/beside")).unwrap();
        for _ in 0..depth {
            fs::create_dir(path.join("outer")).unwrap();
            fs::rename(path.join("d"), path.join("outer/d")).unwrap();
            fs::rename(path.join("outer"), path.join("d")).unwrap();
        }
        fs::write(path.join("d/file"), "x").unwrap();
    }

    #[test]
    fn law_5_any_depth_is_removed() {
        let root = root();
        nest(&root.path().join("ns/flow/plan"), 20_000);
        remove(root.path(), &folder("ns/flow/plan")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn law_5_any_name_is_removed() {
        let root = root();
        let plan = root.path().join("ns/flow/plan");
        for name in ["0", "1", ".plan", "0/1/2", "1/0/1", ".plan/1/.plan"] {
            fill(&plan.join(name));
        }
        remove(root.path(), &folder("ns/flow/plan")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn law_6_rest_of_stopped_sweep_is_removed() {
        let root = root();
        for left in ["plan", ".plan/0", ".plan/1", ".plan/17"] {
            fill(&root.path().join("ns/flow").join(left));
        }
        fs::write(root.path().join("ns/flow/.plan/2"), "x").unwrap();
        remove(root.path(), &folder("ns/flow/plan")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);

        fill(&root.path().join("ns/flow/.plan/3"));
        remove(root.path(), &folder("ns/flow/plan")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
