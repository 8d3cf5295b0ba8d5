//! The trigger engine of kubeci: which events of which objects get a Workplan. Observations go in, decisions come out.
//! The crate has no Kubernetes client, no runtime, no clock and no I/O.
//!
//! The path of an event through the modules:
//!
//! 1. A watch observes an object, which `object` reduces to an [`ObservedObject`] with a [`Fingerprint`].
//! 2. `filter` decides which Workflows it concerns, and which events their triggers select.
//! 3. `transition` compares the observation with the entry in the `ledger`: add, update, delete or nothing.
//! 4. `dispatch_queue` keeps the transitions of one object in order, and creates one Workplan at a time.
//! 5. [`Engine`] does this for all Workflows, and decides which watches, discoveries, access reviews, status updates
//!    and deletions are needed.
#![deny(missing_docs)]

mod access_review;
mod conditions;
mod discovery;
mod dispatch_queue;
mod engine;
mod existing_workplan;
mod filter;
mod fingerprint;
mod history;
mod ledger;
mod merge_patch;
mod messages;
#[cfg(test)]
mod model_test;
mod object;
mod observation;
mod observed_workplan;
mod origin;
mod partial_workplan;
mod resource;
mod transition;
mod trigger_error;
mod trigger_state;
mod uid;
mod watch_key;
mod workplan_index;
mod workplan_template;

pub use access_review::{AccessDecision, AccessReview, ServiceAccount};
pub use conditions::Problem;
pub use discovery::{DiscoveryResult, ServedResource, SimilarKind};
pub use dispatch_queue::CreateError;
pub use engine::{
    Counters, Creation, Deletion, Engine, Retry, Settings, StatusUpdate, WatchCommand, WatchError,
    WorkflowRef,
};
pub use existing_workplan::{is_same_event, name_taken};
pub use fingerprint::{Fingerprint, StoredFingerprint};
pub use history::HistoryLimits;
pub use ledger::Link;
pub use object::{ObjectRef, ObservedObject};
pub use observed_workplan::{ObservedWorkplan, WorkflowKey, WorkplanOutcome, WorkplanState};
pub use origin::Origin;
pub use partial_workplan::PartialWorkplan;
pub use resource::{Kind, Resource};
pub use uid::{Uid, Uids};
pub use watch_key::{Scope, WatchKey};
