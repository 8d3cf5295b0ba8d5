//! Creates Workplans: in the order of their events, a bounded number and a bounded size at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    time::Duration,
};

use http::header::ACCEPT;
use kube::{
    Api, Client, ResourceExt,
    api::PostParams,
    core::{PartialObjectMeta, Request},
};
use kubeci_api::Workplan;
use kubeci_runtime::{Due, Outcome, Reconciling, backoff, is_too_large};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    api_error::{namespace_ends, said},
    bounded_tasks::joined,
    input::METADATA,
    metrics::Metrics,
};
use kubeci_triggers::{CreateError, Creation, Retry, Uid, is_same_event, name_taken};

/// How many creations the API server is asked for at once.
const AT_ONCE: usize = 32;
/// How many bytes these have together, but for a single one that has more.
const BYTES_AT_ONCE: usize = 8 << 20;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub struct Fires {
    client: Client,
    metrics: Metrics,
    waiting: VecDeque<(Creation, Due)>,
    running: JoinSet<Fired>,
    bytes: usize,
    retries: BTreeMap<(Instant, u64), Retry>,
    last_retry: u64,
}

/// How a creation went.
pub struct Fired {
    pub workflow: Uid,
    pub object: Uid,
    /// The name of the Workplan, if it exists now.
    pub created: Result<String, CreateError>,
    bytes: usize,
}

impl Fires {
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            client,
            metrics,
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            bytes: 0,
            retries: BTreeMap::new(),
            last_retry: 0,
        }
    }

    /// How many creations wait or are under way.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    pub fn create(&mut self, creation: Creation) {
        let due = self.metrics.runtime.due();
        self.waiting.push_back((creation, due));
        self.start();
    }

    /// How the next creation went that ends.
    pub async fn next(&mut self) -> Fired {
        let Some(fired) = joined(&mut self.running).await else {
            return pending().await;
        };
        self.bytes -= fired.bytes;
        self.start();
        fired
    }

    pub fn retry_later(&mut self, retry: Retry) {
        let due = Instant::now() + backoff(retry.attempts, LONGEST_PAUSE);
        self.last_retry += 1;
        self.retries.insert((due, self.last_retry), retry);
    }

    /// When the next attempt is due.
    pub fn next_retry(&self) -> Option<Instant> {
        self.retries.keys().next().map(|(due, _)| *due)
    }

    /// The attempts that are due.
    pub fn take_retries(&mut self) -> impl Iterator<Item = Retry> {
        let later = self.retries.split_off(&(Instant::now(), u64::MAX));
        std::mem::replace(&mut self.retries, later).into_values()
    }

    fn start(&mut self) {
        while let Some((next, _)) = self.waiting.front() {
            let bytes = next.bytes();
            let fits = self.bytes == 0 || self.bytes + bytes <= BYTES_AT_ONCE;
            if !fits || self.running.len() >= AT_ONCE {
                return;
            }
            let Some((creation, due)) = self.waiting.pop_front() else {
                return;
            };
            self.bytes += bytes;
            let client = self.client.clone();
            self.running
                .spawn(fire(client, due.begin(), creation, bytes));
        }
    }
}

async fn fire(client: Client, reconciling: Reconciling, creation: Creation, bytes: usize) -> Fired {
    let outline = creation.outline();
    let created = create(client, &creation, &outline).await;
    let name = outline.name_any();
    let outcome = match &created {
        Ok(()) | Err(CreateError::NamespaceTerminating) => Outcome::Success,
        Err(error) => {
            tracing::warn!(workplan = name, "not created, tried again: {error}");
            Outcome::Error
        }
    };
    reconciling.end(outcome);
    Fired {
        workflow: creation.workflow,
        object: creation.object,
        created: created.map(|()| name),
        bytes,
    }
}

/// Never applied: an earlier attempt may have made it.
async fn create(
    client: Client,
    creation: &Creation,
    outline: &Workplan,
) -> Result<(), CreateError> {
    let api: Api<Workplan> =
        Api::namespaced(client.clone(), &outline.namespace().unwrap_or_default());
    match send(&client, &api, creation, outline).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => exists(&api, outline).await,
        Err(kube::Error::Api(status)) if namespace_ends(&status) => {
            Err(CreateError::NamespaceTerminating)
        }
        Err(kube::Error::Api(status)) if is_too_large(&status) => {
            Err(CreateError::TooLarge(status.message.clone()))
        }
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
            Err(CreateError::Rejected(status.message.clone()))
        }
        Err(error) => Err(CreateError::Unknown(said(&error))),
    }
}

/// A Workplan of this name exists: the event's own, or something else, which must not pass for it.
async fn exists(api: &Api<Workplan>, workplan: &Workplan) -> Result<(), CreateError> {
    match api.get_metadata(&workplan.name_any()).await {
        Ok(existing) if is_same_event(workplan, &existing.metadata) => Ok(()),
        Ok(_) => Err(CreateError::Rejected(name_taken(workplan))),
        Err(error) => Err(CreateError::Unknown(said(&error))),
    }
}

async fn send(
    client: &Client,
    api: &Api<Workplan>,
    creation: &Creation,
    outline: &Workplan,
) -> kube::Result<PartialObjectMeta<Workplan>> {
    let body = creation.body(outline).map_err(kube::Error::SerdeError)?;
    let request = Request::new(api.resource_url());
    let mut request = request
        .create(&PostParams::default(), body)
        .map_err(kube::Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, METADATA);
    client.request(request).await
}
