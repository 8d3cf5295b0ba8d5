use kubeci_api::TriggerEvent;

use super::simulation::Simulation;
use crate::uid::Uid;

/// The events and hashes that must fire for an object if every change is observed.
pub fn expected_events(simulation: &Simulation, uid: &Uid) -> Vec<(TriggerEvent, String)> {
    let mut events = Vec::new();
    let mut matched: Option<String> = None;
    let history = simulation.cluster.history.iter();
    for change in history.filter(|change| change.object.uid == *uid) {
        let (object, hash) = (&change.object, change.object.hash());
        match (&matched, change.exists, object.labelled) {
            (Some(last), false, _) => events.push((TriggerEvent::Delete, last.clone())),
            _ if object.deleting => {}
            (None, true, true) => events.push((TriggerEvent::Add, hash.clone())),
            (Some(last), true, true) if *last != hash => {
                events.push((TriggerEvent::Update, hash.clone()));
            }
            _ => {}
        }
        matched = (change.exists && object.labelled).then_some(hash);
    }
    events
}
