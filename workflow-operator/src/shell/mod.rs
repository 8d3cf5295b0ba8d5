//! What talks to the API server. It holds no rules: what it sees goes into the engine, what the engine
//! decides it carries out.

mod fire;
mod metrics;
mod operate;
mod permit;
mod report;
mod resolve;
mod retire;
mod said;
mod tasks;
mod tell;
mod watch;
mod workflows;
mod workplans;

pub use operate::operate;
use said::said;

use http::HeaderValue;
use kube::{core::DeserializeGuard, runtime::watcher::Event};
use kubeci_api::Workflow;
use tokio::sync::OwnedSemaphorePermit;

use kubeci_triggers::{
    object::{Kind, WatchKey},
    run::PartialWorkplan,
    standing::{KindState, Question},
};

/// What the main loop is told.
enum Input {
    /// With the permit to hold one, which is given back once it is taken.
    Workflow(Box<Event<DeserializeGuard<Workflow>>>, OwnedSemaphorePermit),
    Workplan(Box<Event<PartialWorkplan>>),
    Kind(Kind, KindState),
    KindGone(Kind),
    Permit(Question, bool),
    Watch {
        key: WatchKey,
        run: u64,
        shown: watch::Shown,
    },
}

type Inbox = tokio::sync::mpsc::Sender<Input>;

/// What the main loop may lag behind before those who tell it something wait.
const INBOX: usize = 1024;

/// What the API server is to answer to a write: not the whole object.
const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
