//! Watches all Workflows, and lets one that cannot be read stall none of the others.

use kube::{
    Api, Client, ResourceExt,
    core::DeserializeGuard,
    runtime::watcher::{self, watcher},
};
use kubeci_api::Workflow;
use kubeci_runtime::Metrics;

use super::{Inbox, Input, said::said_of_watch, steady::Steady};

pub async fn watch(client: Client, inbox: Inbox, metrics: Metrics) {
    let api: Api<DeserializeGuard<Workflow>> = Api::all(client);
    let mut stream = Steady::new(watcher(api, watcher::Config::default()));
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
                tracing::warn!(
                    "watching workflows fails and is tried again: {}",
                    said_of_watch(&error)
                );
            }
        }
    }
}
