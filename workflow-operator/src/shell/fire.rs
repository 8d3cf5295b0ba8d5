//! Creates Workplans.

use std::{sync::Arc, time::Duration};

use kube::{Api, Client, ResourceExt, api::PostParams};
use kubeci_api::Workplan;
use kubeci_runtime::Outcome;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::{
    Inbox, Input,
    metrics::Metrics,
    said::{namespace_ends, said},
    steady::pause,
};
use crate::core::{
    engine::{Creation, Retry},
    existing::{is_same_event, name_taken},
    lane::Failure,
};

/// How many creations the API server is asked for at once.
const AT_ONCE: usize = 32;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub struct Fires {
    client: Client,
    inbox: Inbox,
    metrics: Metrics,
    slots: Arc<Semaphore>,
}

impl Fires {
    pub fn new(client: Client, inbox: Inbox, metrics: Metrics) -> Self {
        Self {
            client,
            inbox,
            metrics,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    pub fn create(&self, creation: Creation) {
        let (client, inbox, metrics) = (
            self.client.clone(),
            self.inbox.clone(),
            self.metrics.clone(),
        );
        let slots = self.slots.clone();
        let begun = Instant::now();
        tokio::spawn(async move {
            let Ok(_slot) = slots.acquire().await else {
                return;
            };
            let Creation {
                workflow,
                object,
                workplan,
            } = creation;
            let created = create(client, &workplan).await;
            let workplan = workplan.name_any();
            let result = match &created {
                Ok(()) | Err(Failure::NamespaceEnds) => Outcome::Success,
                Err(failure) => {
                    tracing::warn!(workplan, "not created, tried again: {failure}");
                    Outcome::Error
                }
            };
            metrics.runtime.reconciled(result, begun.elapsed());
            let input = match created {
                Ok(()) => Input::Created {
                    workflow,
                    object,
                    workplan,
                },
                Err(failure) => Input::NotCreated {
                    workflow,
                    object,
                    failure,
                },
            };
            // Nobody listens any more only if the process stops; the next one does it again.
            let _ = inbox.send(input).await;
        });
    }

    pub fn retry_later(&self, retry: Retry) {
        let inbox = self.inbox.clone();
        let pause = pause(retry.attempts, LONGEST_PAUSE);
        tokio::spawn(async move {
            sleep(pause).await;
            let _ = inbox.send(Input::Retry(retry)).await;
        });
    }
}

/// Never applied: an earlier attempt may have made it.
async fn create(client: Client, workplan: &Workplan) -> Result<(), Failure> {
    let api: Api<Workplan> = Api::namespaced(client, &workplan.namespace().unwrap_or_default());
    match api.create(&PostParams::default(), workplan).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => exists(&api, workplan).await,
        Err(kube::Error::Api(status)) if namespace_ends(&status) => Err(Failure::NamespaceEnds),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
            Err(Failure::Refused(status.message.clone()))
        }
        Err(error) => Err(Failure::Unclear(said(&error))),
    }
}

/// A Workplan of this name exists: the event's own, or something else, which must not pass for it.
async fn exists(api: &Api<Workplan>, workplan: &Workplan) -> Result<(), Failure> {
    match api.get_metadata(&workplan.name_any()).await {
        Ok(existing) if is_same_event(workplan, &existing.metadata) => Ok(()),
        Ok(_) => Err(Failure::Refused(name_taken(workplan))),
        Err(error) => Err(Failure::Unclear(said(&error))),
    }
}
