use std::sync::Arc;

use super::{object_queue::PENDING_MAX, *};
use crate::filter::EventSelection;
use crate::fingerprint::Fingerprint;
use crate::resource::{Kind, Resource};

fn live(hash: usize) -> Observation {
    let resource = Resource {
        kind: Kind::new("v1", "ConfigMap"),
        plural: "configmaps".to_owned(),
    };
    let object = ObjectRef {
        resource: Arc::new(resource),
        namespace: None,
        name: "a".to_owned(),
    };
    Observation::Live {
        object,
        fingerprint: Fingerprint::named(&hash.to_string()),
        selection: Some(EventSelection {
            add_or_update: true,
            delete: false,
        }),
    }
}

fn at_generation(hash: usize, generation: i64) -> Observation {
    let Observation::Live {
        object,
        fingerprint,
        selection,
    } = live(hash)
    else {
        panic!("it is live")
    };
    Observation::Live {
        object,
        fingerprint: fingerprint.at(generation),
        selection,
    }
}

#[test]
fn generation_alone_neither_waits_nor_is_written() {
    let uid = Uid::from("uid");
    let mut queue = DispatchQueue::new(Uid::from("workflow"), Ledger::default(), 0);
    assert!(queue.observe(&uid, at_generation(0, 1), 1));
    assert!(queue.dispatch().is_some());
    for generation in 2..5 {
        queue.observe(&uid, at_generation(0, generation), 2);
    }
    assert!(!queue.created(&uid, 3));
    assert!(queue.take_dirty());
    for generation in 5..9 {
        assert!(!queue.observe(&uid, at_generation(0, generation), 4));
    }
    assert!(!queue.take_dirty());
    let fingerprint = queue.ledger().get("uid").unwrap().fingerprint.clone();
    assert_eq!(
        fingerprint.unwrap().as_str(),
        "h0.8",
        "the ledger has the latest generation"
    );
}

#[test]
fn too_large_workplan_blocks_until_workflow_changes() {
    let uid = Uid::from("uid");
    let mut queue = DispatchQueue::new(Uid::from("workflow"), Ledger::default(), 0);
    assert!(queue.observe(&uid, live(0), 1));
    assert!(queue.dispatch().is_some());
    assert_eq!(queue.blocked(), []);
    let error = CreateError::TooLarge("etcd".to_owned());
    assert_eq!(queue.failed(&uid, error), None, "no retry can succeed");
    let failed = queue.failed_dispatches().unwrap();
    assert!(failed.blocked && failed.count == 1 && failed.message == "etcd");
    assert_eq!(queue.blocked(), std::slice::from_ref(&uid));
    assert!(queue.retry(&uid), "after the Workflow changed");
    assert_eq!(queue.blocked(), []);
}

#[test]
fn terminating_namespace_is_no_failed_dispatch() {
    let uid = Uid::from("uid");
    let mut queue = DispatchQueue::new(Uid::from("workflow"), Ledger::default(), 0);
    assert!(queue.observe(&uid, live(0), 1));
    assert!(queue.dispatch().is_some());
    assert_eq!(
        queue.failed(&uid, CreateError::NamespaceTerminating),
        Some(1)
    );
    assert_eq!(queue.failed_dispatches(), None);
    assert!(queue.retry(&uid));
}

#[test]
fn dropped_observations_are_counted() {
    let uid = Uid::from("uid");
    let mut queue = DispatchQueue::new(Uid::from("workflow"), Ledger::default(), 0);
    assert!(queue.observe(&uid, live(0), 1));
    assert!(queue.dispatch().is_some());
    queue.failed(&uid, CreateError::Rejected("no".to_owned()));
    for hash in 1..=PENDING_MAX + 3 {
        assert!(!queue.observe(&uid, live(hash), 2));
    }
    let failed = queue.failed_dispatches().unwrap();
    assert_eq!((failed.count, failed.dropped), (1, 3));
    assert_eq!(queue.dropped(), 3);

    let mut created = Vec::new();
    while queue.created(&uid, 3) {
        let dispatch = queue.dispatch().unwrap();
        created.push(dispatch.transition.fingerprint.hash().to_owned());
    }
    let latest = format!("h{}", PENDING_MAX + 3);
    assert_eq!(
        (created.len(), created.last()),
        (PENDING_MAX, Some(&latest))
    );
}

#[test]
fn longest_waiting_event_is_dispatched_first() {
    let [first, second] = ["first", "second"].map(Uid::from);
    let mut queue = DispatchQueue::new(Uid::from("workflow"), Ledger::default(), 0);
    assert!(queue.observe(&first, live(0), 1));
    assert!(queue.observe(&second, live(0), 2));
    queue.observe(&second, live(1), 3);
    assert_eq!((queue.waiting_states(), queue.recorded_sequence()), (3, 0));
    assert_eq!(queue.dispatch().unwrap().uid, first);
    queue.failed(&first, CreateError::Rejected("no".to_owned()));
    assert_eq!(queue.waiting_states(), 2, "the backoff is no wait");
    assert!(queue.retry(&first));
    assert_eq!(queue.dispatch().unwrap().uid, first);
    assert_eq!((queue.requested(), queue.first_waiting()), (1, Some(2)));
    assert!(!queue.created(&first, 4));
    assert_eq!(queue.dispatch().unwrap().uid, second);
    assert!(queue.created(&second, 5));
    assert_eq!((queue.requested(), queue.first_waiting()), (0, Some(5)));
    assert_eq!(queue.recorded_sequence(), 3, "what waits has no number yet");
}
