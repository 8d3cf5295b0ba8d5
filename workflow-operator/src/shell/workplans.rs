//! Watches all Workplans, without their tasks.

use futures::StreamExt;
use kube::{
    Api, Client,
    core::ApiResource,
    runtime::{WatchStreamExt, watcher},
};
use kubeci_api::Workplan;
use kubeci_runtime::Metrics;

use super::{Inbox, Input};
use crate::core::run::PartialWorkplan;

pub async fn watch(client: Client, inbox: Inbox, metrics: Metrics) {
    let resource = ApiResource::erase::<Workplan>(&());
    let api: Api<PartialWorkplan> = Api::all_with(client, &resource);
    let stream = watcher(api, watcher::Config::default()).default_backoff();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if inbox.send(Input::Workplan(Box::new(event))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                metrics.watch_restarted("workplans");
                tracing::warn!("watching workplans fails and is tried again: {error}");
            }
        }
    }
}
