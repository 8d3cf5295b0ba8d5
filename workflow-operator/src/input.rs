//! The inputs of the main loop.

use kube::{core::DeserializeGuard, runtime::watcher::Event};
use kubeci_api::Workflow;
use kubeci_triggers::{
    AccessDecision, AccessReview, DiscoveryResult, Kind, ObjectRef, ObservedObject,
    PartialWorkplan, Uid, Uids, WatchError, WatchKey,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// An input of the main loop.
pub enum Input {
    /// The permit bounds the memory of Workflows that wait. It is released when the input is handled.
    Workflow(Box<Event<DeserializeGuard<Workflow>>>, OwnedSemaphorePermit),
    Workplan(Box<Event<PartialWorkplan>>),
    KindDiscovered(Kind, DiscoveryResult),
    KindRemoved(Kind),
    AccessReviewed(AccessReview, AccessDecision),
    Watch {
        key: WatchKey,
        epoch: u64,
        update: WatchUpdate,
    },
}

/// An update from the watch of a trigger's objects.
pub enum WatchUpdate {
    /// An object was added, modified or listed.
    Applied(ObservedObject),
    Deleted(Uid, ObjectRef),
    /// The list is complete.
    Listed(Uids),
    /// The watch has begun to fail, or works again.
    Error(Option<WatchError>),
    /// The API does not serve the resource.
    NotServed,
}

pub type InputSender = mpsc::Sender<Input>;

/// The most inputs that wait. Beyond, the senders wait.
pub const CAPACITY: usize = 1024;
