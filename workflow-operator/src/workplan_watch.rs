//! The watch of Workplans, without their tasks.

use kube::{Api, Client, runtime::watcher::Config};
use kubeci_controller::{Metrics, Watch};
use kubeci_triggers::PartialWorkplan;

use crate::{
    api_error::watch_message,
    input::{Input, InputSender},
};

/// Sends the events of Workplans until the operator stops.
pub async fn run(client: Client, inputs: InputSender, metrics: Metrics) {
    let api: Api<PartialWorkplan> = Api::all(client);
    let mut events = Watch::new(api, Config::default(), "workplans", &metrics);
    loop {
        match events.next().await {
            Ok(event) => {
                let input = Input::Workplan(Box::new(event));
                if inputs.send(input).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let error = watch_message(&error);
                tracing::warn!("the watch of workplans fails and is retried: {error}");
            }
        }
    }
}
