//! Removes one folder of a plan from this node, and nothing else.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::core::workspace::Folder;

#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("{0} is not a folder; what is below it is not touched")]
    NotADirectory(PathBuf),
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

/// Removes `folder` below `root`, then the folders above it that are empty now. No symbolic link is
/// followed: links in it are removed, not what they point to. One that is absent is removed already.
///
/// A pod of the same Workflow that starts meanwhile may lose the folder above its own between two steps of
/// the kubelet's `mkdir -p`; the kubelet then tries again within a second, and nothing is lost.
///
/// # Errors
/// When the path to it is not made of folders, or something in it cannot be removed.
pub fn remove(root: &Path, folder: &Folder) -> Result<(), RemoveError> {
    let [namespace, workflow, workplan] = folder.parts();
    let namespace = root.join(namespace);
    let workflow = namespace.join(workflow);
    for parent in [&namespace, &workflow] {
        match kind(parent)? {
            Some(kind) if kind.is_dir() => {}
            Some(_) => return Err(RemoveError::NotADirectory(parent.clone())),
            None => return Ok(()),
        }
    }
    remove_all(&workflow.join(workplan))?;
    for parent in [workflow, namespace] {
        remove_empty(&parent)?;
    }
    Ok(())
}

fn remove_all(path: &Path) -> Result<(), RemoveError> {
    let removed = match kind(path)? {
        Some(kind) if kind.is_dir() => fs::remove_dir_all(path),
        Some(_) => fs::remove_file(path),
        None => Ok(()),
    };
    unless_absent(path, removed)
}

fn remove_empty(path: &Path) -> Result<(), RemoveError> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => unless_absent(path, removed),
    }
}

/// What is at a path itself, not where it may point to.
fn kind(path: &Path) -> Result<Option<fs::FileType>, RemoveError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RemoveError::Io {
            path: path.into(),
            error,
        }),
    }
}

fn unless_absent(path: &Path, result: io::Result<()>) -> Result<(), RemoveError> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(RemoveError::Io {
            path: path.into(),
            error,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
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
            error.to_string().contains("ns/flow is not a folder"),
            "{error}"
        );
        assert!(elsewhere.path().join("plan/deep/er/file").exists());
    }
}
