//! Watches all Workplans, without their tasks.

use kube::{Api, Client, runtime::watcher::watcher};
use kubeci_runtime::Metrics;

use super::{Inbox, Input, said::said_of_watch, steady::Steady, watching};
use crate::core::run::PartialWorkplan;

pub async fn watch(client: Client, inbox: Inbox, metrics: Metrics) {
    let api: Api<PartialWorkplan> = Api::all(client);
    let mut stream = Steady::new(watcher(api, watching()));
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
