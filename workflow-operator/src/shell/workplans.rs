//! Watches all Workplans, without their tasks.

use kube::{
    Api, Client,
    core::ApiResource,
    runtime::watcher::{self, watcher},
};
use kubeci_api::Workplan;
use kubeci_runtime::Metrics;

use super::{Inbox, Input, said::said_of_watch, steady::Steady};
use crate::core::run::PartialWorkplan;

pub async fn watch(client: Client, inbox: Inbox, metrics: Metrics) {
    let resource = ApiResource::erase::<Workplan>(&());
    let api: Api<PartialWorkplan> = Api::all_with(client, &resource);
    let mut stream = Steady::new(watcher(api, watcher::Config::default()));
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if inbox.send(Input::Workplan(Box::new(event))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                metrics.watch_restarted("workplans");
                tracing::warn!(
                    "watching workplans fails and is tried again: {}",
                    said_of_watch(&error)
                );
            }
        }
    }
}
