use serde_json::json;

use super::*;
use crate::ledger::ENTRIES_MAX;

#[test]
fn full_ledger_readmits_objects() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let watch = started_watches(&mut engine).remove(0);
    for index in 0..ENTRIES_MAX + 10 {
        observe(&mut engine, &watch, &format!("object-{index}"), "1");
        fired(&mut engine);
    }
    engine.objects_listed(
        &watch.0,
        watch.1,
        &(0..ENTRIES_MAX + 10)
            .map(|i| format!("object-{i}").into())
            .collect(),
    );
    let (_, reason, message) = condition(&mut engine, "TriggersWatched");
    assert_eq!(reason, "LedgerFull", "{message}");
    let status = status(&mut engine);
    assert!(status.ledger.len() <= ENTRIES_MAX && status.ledger.len() > ENTRIES_MAX * 4 / 5);
    for index in 0..ENTRIES_MAX / 2 {
        let name = format!("object-{index}");
        engine.object_deleted(
            &watch.0,
            watch.1,
            &name.as_str().into(),
            &object(&name, "own"),
        );
        fired(&mut engine);
    }
    let watch = started_watches(&mut engine).remove(0);
    for index in ENTRIES_MAX / 2..ENTRIES_MAX + 10 {
        observe(&mut engine, &watch, &format!("object-{index}"), "1");
    }
    engine.objects_listed(
        &watch.0,
        watch.1,
        &(ENTRIES_MAX / 2..ENTRIES_MAX + 10)
            .map(|i| format!("object-{i}").into())
            .collect(),
    );
    let late = fired(&mut engine);
    assert!(!late.is_empty());
    assert!(late.iter().all(|(event, _)| *event == TriggerEvent::Add));
    assert_eq!(watched(&mut engine).1, "Watching");
}
