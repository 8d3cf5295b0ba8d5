use std::collections::BTreeSet;

use crate::{uid::Uid, watch_key::WatchKey};

/// A watch that several Workflows share.
#[derive(Debug, Default)]
pub(super) struct SharedWatch {
    /// The number of the current start of the watch; 0 before the first one.
    pub epoch: u64,
    pub subscribers: BTreeSet<Uid>,
    /// Whether the list of the current epoch is complete.
    pub listed: bool,
    pub error: Option<WatchError>,
}

/// A watch fails, and is retried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The operator may not watch the resource.
    #[error("the operator may not watch the resource")]
    Forbidden,
    /// The watch fails with this message.
    #[error("{0}")]
    Failing(String),
}

/// A command to the watches that run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchCommand {
    /// Starts a watch with a list. It replaces the watch of an earlier epoch.
    Start {
        /// What to watch.
        key: WatchKey,
        /// The number of this start. Observations carry it.
        epoch: u64,
    },
    /// Stops a watch.
    Stop {
        /// What was watched.
        key: WatchKey,
    },
}
