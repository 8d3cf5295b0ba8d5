//! Removes one folder of a plan from this node, and nothing else, whatever its steps have put into it.

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

/// Removes `folder` below `root`, then the folders above it that are empty now. No symbolic link is followed
/// and no mount entered: links in it are removed, not what they point to, and a mount in it is an error. One
/// that is absent is removed already.
///
/// A pod of the same Workflow that starts meanwhile may lose the folder above its own between two steps of
/// the kubelet's `mkdir -p`; the kubelet then tries again within a second, and nothing is lost.
///
/// # Errors
/// When the path to it is not made of folders, or something in it cannot be removed.
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
    of_namespace.unlink(workflow)?;
    root.unlink(namespace)?;
    Ok(())
}

/// A folder that is worked in by its descriptor, wherever its path leads to by then.
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

    /// Removes what has this name and all in it, however deep, with a few open files: folders are moved into
    /// one that none of the plan's steps can reach, under numbers, and taken apart one after the other.
    fn remove_all(&self, name: &str) -> Result<(), RemoveError> {
        let apart = format!(".{name}"); // the name of no plan
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
            // Left by a sweep that was stopped, or still written to.
            for left in moved.names()? {
                moved.take_apart(&left?, &mut numbers.end)?;
            }
        }
        Ok(())
    }

    /// Removes a folder; what is not empty in it stands beside it then.
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

    /// Moves something to another folder, under the next number that is free there.
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

    /// Removes a file, a link or an empty folder. Whether it is gone: a folder that is not empty stays.
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

    /// A folder of the machine that is gone with the test.
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
    fn law_5_the_folder_goes_with_all_in_it_and_empty_parents() {
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
    fn law_5_links_go_and_what_they_point_to_stays() {
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
    fn law_5_a_link_in_place_of_the_folder_goes_alone() {
        let (root, elsewhere) = (root(), root());
        fill(elsewhere.path());
        fs::create_dir_all(root.path().join("ns/flow")).unwrap();
        symlink(elsewhere.path(), root.path().join("ns/flow/plan")).unwrap();
        remove(root.path(), &folder("ns/flow/plan")).unwrap();
        assert!(elsewhere.path().join("deep/er/file").exists());
        assert!(!root.path().join("ns").exists());
    }

    #[test]
    fn law_5_a_link_on_the_way_is_refused() {
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

    /// Folders in folders, deeper than any path or any stack: each lies in the one that was made after it.
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
    fn law_5_no_depth_is_too_deep() {
        let root = root();
        nest(&root.path().join("ns/flow/plan"), 20_000);
        remove(root.path(), &folder("ns/flow/plan")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn law_5_no_name_is_special() {
        let root = root();
        let plan = root.path().join("ns/flow/plan");
        for name in ["0", "1", ".plan", "0/1/2", "1/0/1", ".plan/1/.plan"] {
            fill(&plan.join(name));
        }
        remove(root.path(), &folder("ns/flow/plan")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn law_6_what_a_sweep_left_that_was_stopped_goes_with_the_next() {
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
