use serde_json::json;

use super::*;
use crate::{access_review::AccessDecision, engine::WatchError, uid::Uids, watch_key::Scope};

#[test]
fn object_is_observed_through_one_watch() {
    let own = config_maps(&json!({}));
    let mut engine = engine(&json!([own, config_maps(&json!({"namespace": "*"}))]));
    let narrow = started_watches(&mut engine).remove(0);
    assert_eq!(narrow.0.scope, Scope::Namespace("own".to_owned()));
    observe(&mut engine, &narrow, "a", "2");
    assert_eq!(fired_event(&mut engine), Some(TriggerEvent::Add));
    let review = engine.access_reviews().into_iter().next().unwrap();
    assert_eq!(watched(&mut engine).1, "Starting");
    engine.access_reviewed(&review, AccessDecision::Denied);
    assert_eq!(
        watched(&mut engine),
        ("False".to_owned(), "Forbidden".to_owned())
    );
    engine.access_reviewed(&review, AccessDecision::Allowed);
    // The narrow watch has no subscriber any more.
    observe(&mut engine, &narrow, "a", "3");
    assert_eq!(fired_event(&mut engine), None);
    let wide = started_watches(&mut engine).remove(0);
    assert_eq!(wide.0.scope, Scope::All);
    observe(&mut engine, &wide, "a", "3");
    observe_in(&mut engine, &wide, "b", "other", "1");
    assert_eq!(fired(&mut engine).len(), 2);
    // The right is withdrawn: the ledger keeps the entries until it is granted again.
    engine.access_reviewed(&review, AccessDecision::Denied);
    let narrow = started_watches(&mut engine).remove(0);
    engine.objects_listed(&narrow.0, narrow.1, &Uids::from(["a".into()]));
    engine.access_reviewed(&review, AccessDecision::Allowed);
    let wide = started_watches(&mut engine).remove(0);
    observe_in(&mut engine, &wide, "b", "other", "1");
    engine.objects_listed(&wide.0, wide.1, &Uids::from(["a".into(), "b".into()]));
    assert_eq!(fired(&mut engine), []);
}

#[test]
fn new_subscriber_waits_for_next_list() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut engine = engine(&triggers);
    let first = started_watches(&mut engine).remove(0);
    let mut second = workflow(1, &triggers);
    second.metadata.uid = Some("second".to_owned());
    second.metadata.name = Some("x".to_owned());
    engine.workflow_applied(second);
    observe(&mut engine, &first, "a", "1");
    assert_eq!(fired(&mut engine).len(), 1);
    let relisted = started_watches(&mut engine).remove(0);
    observe(&mut engine, &relisted, "a", "1");
    assert_eq!(fired(&mut engine).len(), 1);
}

#[test]
fn removed_kind_fires_delete() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let (key, epoch) = started_watches(&mut engine).remove(0);
    observe(&mut engine, &(key.clone(), epoch), "a", "1");
    fired(&mut engine);
    engine.resource_not_served(&key, epoch);
    assert_eq!(engine.take_watch_commands(), [WatchCommand::Stop { key }]);
    engine.kind_discovered(&kind(), DiscoveryResult::NotServed { suggestion: None });
    assert_eq!(watched(&mut engine).1, "KindNotFound");
    assert_eq!(fired_event(&mut engine), None);
    engine.kind_removed(&kind());
    assert_eq!(fired_event(&mut engine), Some(TriggerEvent::Delete));
}

#[test]
fn watch_error_sets_and_clears_condition() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let (key, epoch) = started_watches(&mut engine).remove(0);
    engine.watch_error(&key, epoch, Some(WatchError::Forbidden));
    assert_eq!(
        watched(&mut engine),
        ("False".to_owned(), "OperatorForbidden".to_owned())
    );
    engine.objects_listed(&key, epoch, &Uids::new());
    assert_eq!(
        watched(&mut engine),
        ("True".to_owned(), "Watching".to_owned())
    );
}
