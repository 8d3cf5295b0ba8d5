//! Watches all Workplans, without their tasks.

use kube::{Api, Client, runtime::watcher::Config};
use kubeci_runtime::{Metrics, Watch};

use crate::{
    api_error::said_of_watch,
    input::{Inbox, Input},
};
use kubeci_triggers::PartialWorkplan;

pub async fn watch(client: Client, inbox: Inbox, metrics: Metrics) {
    let api: Api<PartialWorkplan> = Api::all(client);
    let mut events = Watch::new(api, Config::default(), "workplans", &metrics);
    loop {
        match events.next().await {
            Ok(event) => {
                if inbox.send(Input::Workplan(Box::new(event))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(
                    "watching workplans fails and is tried again: {}",
                    said_of_watch(&error)
                );
            }
        }
    }
}
