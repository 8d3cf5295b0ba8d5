use kubeci_api::{TriggerEvent, TriggeredBy, WorkflowStatus};
use kubeci_compiler::STORED_MAX;
use serde_json::json;

use super::*;
use crate::{fingerprint::Fingerprint, merge_patch};

fn link(
    sequence: i64,
    previous_head: Option<&str>,
    head: &str,
    token: &str,
    event: TriggerEvent,
) -> Link {
    let trigger = TriggeredBy {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some("a".to_owned()),
        name: "b".to_owned(),
        uid: "u".to_owned(),
        event,
        token: token.to_owned(),
        generation: None,
        summary: None,
    };
    Link {
        sequence,
        previous_head: previous_head.map(str::to_owned),
        head: head.to_owned(),
        trigger,
    }
}

fn replayed(ledger: &mut Ledger, links: &[Link]) -> Option<[String; 2]> {
    ledger.replay(links.to_vec(), |_| true);
    let entry = ledger.get("u").cloned()?;
    Some([
        entry.head.unwrap(),
        entry.fingerprint.unwrap().as_str().to_owned(),
    ])
}

use TriggerEvent::{Add, Delete, Update};

#[test]
fn ledger_survives_status_round_trip() {
    let mut ledger = Ledger::default();
    let links = [link(1, None, "h1", "1", Add)];
    replayed(&mut ledger, &links);
    let mut status = json!({});
    let mut write = |ledger: &mut Ledger| -> WorkflowStatus {
        let dirty = ledger.take_dirty();
        merge_patch::apply(&mut status, &ledger.patch(dirty).unwrap().into());
        serde_json::from_value(status.clone()).unwrap()
    };
    let written = write(&mut ledger);
    assert_eq!(written.ledger["u"].resource, "configmaps.v1");
    assert_eq!(Ledger::from_status(&written), ledger);
    let unmatched = Entry {
        on_delete: false,
        fingerprint: None,
        ..ledger.get("u").unwrap().clone()
    };
    ledger.set(&"u".into(), Some(unmatched));
    assert_eq!(Ledger::from_status(&write(&mut ledger)), ledger);
    ledger.set(&"u".into(), None);
    assert_eq!(Ledger::from_status(&write(&mut ledger)), Ledger::default());
}

/// A pod is created, fires, and is bound to a node, which adds to its spec but not to its generation.
#[test]
fn replayed_link_matches_a_spec_of_the_same_generation() {
    let mut link = link(1, None, "h1", "hunbound", Add);
    link.trigger.generation = Some(1);
    let mut ledger = Ledger::default();
    replayed(&mut ledger, &[link]);
    let entry = ledger.get("u").cloned().unwrap();
    let bound = Fingerprint::named("bound");
    let stored = entry.fingerprint.unwrap();
    assert!(bound.clone().at(1).matches(&stored));
    assert!(!bound.at(2).matches(&stored));
}

#[test]
fn replay_follows_links_in_order() {
    let links = [
        link(3, Some("h2"), "h3", "1", Update),
        link(1, None, "h1", "1", Add),
        link(2, Some("h1"), "h2", "2", Update),
    ];
    assert_eq!(
        replayed(&mut Ledger::default(), &links),
        Some(["h3", "1"].map(str::to_owned))
    );
    let mut ledger = Ledger::default();
    replayed(&mut ledger, &links[1..2]);
    assert_eq!(
        replayed(&mut ledger, &links[..1]),
        Some(["h1", "1"].map(str::to_owned)),
        "the link between is missing"
    );
    assert_eq!(
        replayed(&mut ledger, &links),
        Some(["h3", "1"].map(str::to_owned))
    );
}

#[test]
fn replay_ends_at_deletion() {
    let links = [
        link(1, None, "h1", "1", Add),
        link(2, Some("h1"), "h2", "1", Delete),
    ];
    assert_eq!(replayed(&mut Ledger::default(), &links), None);
}

#[test]
fn replay_follows_long_chains() {
    let head = |at: i64| format!("h{at}");
    let nth_link = |at: i64| {
        let previous_head = (at > 1).then(|| head(at - 1));
        link(
            at,
            previous_head.as_deref(),
            &head(at),
            &at.to_string(),
            Update,
        )
    };
    let links: Vec<Link> = (1..=200_000).map(nth_link).collect();
    let last = Some(["h200000", "200000"].map(str::to_owned));
    assert_eq!(replayed(&mut Ledger::default(), &links), last);
}

#[test]
fn replay_ends_in_circular_chain() {
    let links = [
        link(1, None, "h1", "1", Add),
        link(2, Some("h1"), "h2", "2", Update),
        link(3, Some("h2"), "h1", "3", Update),
        link(4, Some("h2"), "h2", "4", Update),
    ];
    let ended = replayed(&mut Ledger::default(), &links);
    assert_eq!(ended, Some(["h1", "3"].map(str::to_owned)));
}

#[test]
fn replay_stops_at_capacity() {
    let of_object = |uid: &str, token: &str| {
        let mut link = link(1, None, "h", token, Add);
        uid.clone_into(&mut link.trigger.uid);
        link
    };
    let many = (0..=ENTRIES_MAX).map(|at| of_object(&at.to_string(), "1"));
    let mut ledger = Ledger::default();
    ledger.replay(many.collect(), |_| true);
    assert_eq!(ledger.capacity().entries, 0);
    let long = of_object("u", &"x".repeat(BYTES_MAX));
    assert_eq!(replayed(&mut Ledger::default(), &[long]), None);
}

#[test]
fn large_workflow_reduces_capacity() {
    let mut ledger = Ledger::default();
    ledger.reserve(200_000);
    assert_eq!(ledger.capacity().bytes, BYTES_MAX);
    ledger.reserve(STORED_MAX - RESERVED - 1000);
    assert_eq!(ledger.capacity().bytes, 1000);
    ledger.reserve(STORED_MAX);
    assert!(!ledger.capacity().fits(1));
}

#[test]
fn replay_prefers_highest_sequence() {
    let links = [link(2, None, "h2", "2", Add), link(1, None, "h1", "1", Add)];
    assert_eq!(
        replayed(&mut Ledger::default(), &links),
        Some(["h2", "2"].map(str::to_owned))
    );
}
