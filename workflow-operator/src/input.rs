//! What the main loop is told.

use http::HeaderValue;
use kube::{core::DeserializeGuard, runtime::watcher::Event};
use kubeci_api::Workflow;
use kubeci_triggers::{AccessReview, DiscoveryResult, Kind, PartialWorkplan, WatchKey};
use tokio::sync::OwnedSemaphorePermit;

use crate::object_watches::Shown;

/// What the main loop is told.
pub enum Input {
    /// With the permit to hold one, which is given back once it is taken.
    Workflow(Box<Event<DeserializeGuard<Workflow>>>, OwnedSemaphorePermit),
    Workplan(Box<Event<PartialWorkplan>>),
    KindDiscovered(Kind, DiscoveryResult),
    KindRemoved(Kind),
    AccessReviewed(AccessReview, bool),
    Watch {
        key: WatchKey,
        epoch: u64,
        shown: Shown,
    },
}

pub type Inbox = tokio::sync::mpsc::Sender<Input>;

/// What the main loop may lag behind before those who tell it something wait.
pub const INBOX: usize = 1024;

/// What the API server is to answer to a write: not the whole object.
pub const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
