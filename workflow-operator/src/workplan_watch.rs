//! The watch of Workplans, without their tasks.

use kube::{Api, Client, runtime::watcher::Config};
use kubeci_controller::{Metrics, Watch};
use kubeci_triggers::PartialWorkplan;

use crate::input::{Input, InputSender};

/// Sends the events of Workplans until the operator stops.
pub async fn run(client: Client, inputs: InputSender, metrics: Metrics) {
    let api: Api<PartialWorkplan> = Api::all(client);
    let mut events = Watch::new(api, Config::default(), "workplans", &metrics);
    loop {
        let input = Input::Workplan(Box::new(events.next_event().await));
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}
