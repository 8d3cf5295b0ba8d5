//! Creates Workplans, in the order of their events and within limits, and schedules retries.

use std::{collections::BTreeMap, time::Duration};

use kube::{Api, Client, ResourceExt, api::PostParams, core::Request};
use kubeci_api::Workplan;
use kubeci_controller::{
    Backoff, Due, Outcome,
    api_error::{is_namespace_terminating, is_too_large, message},
    request_metadata,
};
use kubeci_triggers::{CreateError, Creation, Retry, Uid, is_same_event, name_taken};
use tokio::time::Instant;

use crate::{
    bounded_tasks::{BoundedTasks, Limits, Task},
    metrics::Metrics,
};

const LIMITS: Limits = Limits {
    tasks: 32,
    bytes: 8 << 20,
    interval: Duration::ZERO,
};
const BACKOFF: Backoff = Backoff::up_to(Duration::from_secs(30));

/// The creations that wait or run, and the retries.
pub struct WorkplanCreator {
    client: Client,
    metrics: Metrics,
    creations: BoundedTasks<CreateTask>,
    retries: BTreeMap<(Instant, u64), Retry>,
    last_retry: u64,
}

struct CreateTask {
    client: Client,
    creation: Creation,
    due: Due,
}

/// The result of a creation.
pub struct CreateResult {
    pub workflow: Uid,
    pub object: Uid,
    /// The name of the Workplan.
    pub created: Result<String, CreateError>,
}

impl WorkplanCreator {
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            client,
            metrics,
            creations: BoundedTasks::new(LIMITS),
            retries: BTreeMap::new(),
            last_retry: 0,
        }
    }

    /// Whether no creation waits or runs.
    pub fn is_idle(&self) -> bool {
        self.creations.len() == 0
    }

    pub fn create(&mut self, creation: Creation) {
        self.creations.push(CreateTask {
            client: self.client.clone(),
            creation,
            due: self.metrics.runtime.due(),
        });
    }

    /// Waits for the result of the next creation. Cancel safe.
    pub async fn next(&mut self) -> CreateResult {
        self.creations.next().await
    }

    /// Schedules a retry after the backoff of its attempts.
    pub fn schedule_retry(&mut self, retry: Retry) {
        let due = Instant::now() + BACKOFF.delay(retry.attempts);
        self.last_retry += 1;
        self.retries.insert((due, self.last_retry), retry);
    }

    /// When the next retry is due.
    pub fn next_retry(&self) -> Option<Instant> {
        self.retries.keys().next().map(|(due, _)| *due)
    }

    /// The retries that are due.
    pub fn take_due_retries(&mut self) -> impl Iterator<Item = Retry> {
        let later = self.retries.split_off(&(Instant::now(), u64::MAX));
        std::mem::replace(&mut self.retries, later).into_values()
    }
}

impl Task for CreateTask {
    type Output = CreateResult;

    fn bytes(&self) -> usize {
        self.creation.bytes()
    }

    async fn run(self) -> CreateResult {
        let reconciling = self.due.begin();
        let outline = self.creation.outline();
        let name = outline.name_any();
        let created = create(self.client, &self.creation, &outline).await;
        let outcome = match &created {
            Ok(()) | Err(CreateError::NamespaceTerminating) => Outcome::Success,
            Err(error) => {
                tracing::warn!(
                    workplan = name,
                    "the Workplan is not created; the creation is retried: {error}"
                );
                Outcome::Error
            }
        };
        reconciling.end(outcome);
        CreateResult {
            workflow: self.creation.workflow,
            object: self.creation.object,
            created: created.map(|()| name),
        }
    }
}

/// Creates a Workplan. It is not applied, because an earlier attempt may have created it.
async fn create(
    client: Client,
    creation: &Creation,
    outline: &Workplan,
) -> Result<(), CreateError> {
    let namespace = outline.namespace().unwrap_or_default();
    let api: Api<Workplan> = Api::namespaced(client.clone(), &namespace);
    match send(&client, &api, creation, outline).await {
        Ok(()) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            check_existing(&api, outline).await
        }
        Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => {
            Err(CreateError::NamespaceTerminating)
        }
        Err(kube::Error::Api(status)) if is_too_large(&status) => {
            Err(CreateError::TooLarge(status.message.clone()))
        }
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
            Err(CreateError::Rejected(status.message.clone()))
        }
        Err(error) => Err(CreateError::Unknown(message(&error))),
    }
}

/// Checks that the existing Workplan of this name is that of the same event.
async fn check_existing(api: &Api<Workplan>, workplan: &Workplan) -> Result<(), CreateError> {
    match api.get_metadata(&workplan.name_any()).await {
        Ok(existing) if is_same_event(workplan, &existing.metadata) => Ok(()),
        Ok(_) => Err(CreateError::Rejected(name_taken(workplan))),
        Err(error) => Err(CreateError::Unknown(message(&error))),
    }
}

async fn send(
    client: &Client,
    api: &Api<Workplan>,
    creation: &Creation,
    outline: &Workplan,
) -> kube::Result<()> {
    let body = creation.body(outline).map_err(kube::Error::SerdeError)?;
    let request = Request::new(api.resource_url()).create(&PostParams::default(), body);
    let request = request.map_err(kube::Error::BuildRequest)?;
    request_metadata(client, request).await?;
    Ok(())
}
