//! The subcommands that run in pods on the nodes.

mod open;
mod remove;

use std::path::Path;

use kubeci_api::names::WORKSPACE_HOST_PATH;

use crate::sweep::report::{self, SweepReport};
use crate::workspace::Folder;

pub use open::open;

#[derive(Debug, thiserror::Error)]
#[error("{} of {asked} folders could not be removed; the first error: {}", report.failed.len(), report.error)]
pub struct SweepError {
    report: SweepReport,
    asked: usize,
}

/// Removes folders from this node, and reports which of them it could not remove.
///
/// # Errors
/// When a folder could not be removed.
pub fn sweep(folders: &[Folder]) -> Result<(), SweepError> {
    let mut report = SweepReport::default();
    for (at, folder) in folders.iter().enumerate() {
        match remove::remove(Path::new(WORKSPACE_HOST_PATH), folder) {
            Ok(()) => println!("removed {folder}"),
            Err(error) => {
                eprintln!("cannot remove {folder}: {error}");
                report.failed(at, &error);
            }
        }
    }
    // Outside of a pod nothing reads the report.
    if let Ok(text) = serde_json::to_vec(&report) {
        let _ = std::fs::write(report::PATH, text);
    }
    if report.failed.is_empty() {
        return Ok(());
    }
    Err(SweepError {
        asked: folders.len(),
        report,
    })
}
