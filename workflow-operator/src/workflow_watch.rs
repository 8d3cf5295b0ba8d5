//! The watch of Workflows. One that cannot be deserialized does not stop it.

use std::sync::Arc;

use kube::{Api, Client, ResourceExt, core::DeserializeGuard, runtime::watcher::Config};
use kubeci_api::Workflow;
use kubeci_controller::{Metrics, Watch};
use tokio::sync::Semaphore;

use crate::input::{Input, InputSender};

/// The most Workflows that wait in the input. Each may have more than a megabyte.
const MAX_WAITING: usize = 4;

/// Sends the events of Workflows until the operator stops.
pub async fn run(client: Client, inputs: InputSender, metrics: Metrics) {
    let api: Api<DeserializeGuard<Workflow>> = Api::all(client);
    let mut events = Watch::new(api, Config::default(), "workflows", &metrics);
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    loop {
        let event = events.next_event().await;
        let event = event.modify(|workflow| workflow.managed_fields_mut().clear());
        let Ok(permit) = waiting.clone().acquire_owned().await else {
            return;
        };
        let input = Input::Workflow(Box::new(event), permit);
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}
