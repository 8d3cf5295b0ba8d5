//! Watches all Workflows, and lets one that cannot be read stall none of the others.

use std::sync::Arc;

use kube::{Api, Client, ResourceExt, core::DeserializeGuard, runtime::watcher::Config};
use kubeci_api::Workflow;
use kubeci_runtime::{Metrics, Watch};
use tokio::sync::Semaphore;

use crate::{
    api_error::said_of_watch,
    input::{Inbox, Input},
};

/// How many Workflows wait to be taken in at most, each of which may have more than a megabyte.
const WAITING_MAX: usize = 4;

pub async fn watch(client: Client, inbox: Inbox, metrics: Metrics) {
    let api: Api<DeserializeGuard<Workflow>> = Api::all(client);
    let mut events = Watch::new(api, Config::default(), "workflows", &metrics);
    let waiting = Arc::new(Semaphore::new(WAITING_MAX));
    loop {
        match events.next().await {
            Ok(event) => {
                let event = event.modify(|workflow| workflow.managed_fields_mut().clear());
                let Ok(permit) = waiting.clone().acquire_owned().await else {
                    return;
                };
                let input = Input::Workflow(Box::new(event), permit);
                if inbox.send(input).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(
                    "watching workflows fails and is tried again: {}",
                    said_of_watch(&error)
                );
            }
        }
    }
}
