//! Watches all Workflows, and lets one that cannot be read stall none of the others.

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    core::DeserializeGuard,
    runtime::{WatchStreamExt, watcher},
};
use kubeci_api::Workflow;
use kubeci_runtime::Metrics;

use super::{Inbox, Input};

pub async fn watch(client: Client, inbox: Inbox, metrics: Metrics) {
    let api: Api<DeserializeGuard<Workflow>> = Api::all(client);
    let stream = watcher(api, watcher::Config::default()).default_backoff();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                let event = event.modify(|workflow| workflow.managed_fields_mut().clear());
                if inbox.send(Input::Workflow(Box::new(event))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                metrics.watch_restarted("workflows");
                tracing::warn!("watching workflows fails and is tried again: {error}");
            }
        }
    }
}
