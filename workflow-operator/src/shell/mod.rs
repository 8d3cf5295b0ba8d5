//! What talks to the API server. It holds no rules: what it sees goes into the engine, what the engine
//! decides it carries out.

mod fire;
mod metrics;
mod operate;
mod permit;
mod report;
mod resolve;
mod said;
mod steady;
mod tell;
mod watch;
mod workflows;
mod workplans;

pub use operate::operate;
use said::said;

use kube::{core::DeserializeGuard, runtime::watcher::Event};
use kubeci_api::Workflow;

use crate::core::{
    engine::Retry,
    lane::Failure,
    object::{Kind, Uid, WatchKey},
    run::PartialWorkplan,
    standing::{KindState, Question},
};

/// What the main loop is told.
enum Input {
    Workflow(Box<Event<DeserializeGuard<Workflow>>>),
    Workplan(Box<Event<PartialWorkplan>>),
    Kind(Kind, KindState),
    KindGone(Kind),
    Permit(Question, bool),
    Watch {
        key: WatchKey,
        run: u64,
        shown: watch::Shown,
    },
    Created {
        workflow: Uid,
        object: Uid,
        workplan: String,
    },
    NotCreated {
        workflow: Uid,
        object: Uid,
        failure: Failure,
    },
    Retry(Retry),
    Told {
        workflow: Uid,
        told: tell::Told,
    },
}

type Inbox = tokio::sync::mpsc::Sender<Input>;

/// What the main loop may lag behind before those who tell it something wait.
const INBOX: usize = 1024;
