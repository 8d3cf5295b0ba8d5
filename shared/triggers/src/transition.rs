//! Transitions: what the observed state of an object means for one Workflow.

use kubeci_api::TriggerEvent;
use kubeci_compiler::head;

use crate::{
    filter::EventSelection,
    fingerprint::{Fingerprint, StoredFingerprint},
    ledger::Entry,
    object::ObjectRef,
    observation::Observation,
};

/// A transition of an object that gets a Workplan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub object: ObjectRef,
    pub event: TriggerEvent,
    /// The fingerprint of the object's state. Its hash is the `token` of the Workplan's trigger.
    pub fingerprint: StoredFingerprint,
    /// The head of the object's chain before this transition.
    pub previous_head: Option<String>,
}

/// The result of comparing an observation with the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// The transition that gets a Workplan, if there is one.
    pub transition: Option<Transition>,
    /// The ledger entry once the Workplan exists; `None` removes the entry.
    pub next: Option<Entry>,
}

/// Compares the ledger entry of an object with an observation of it.
///
/// | entry | observation | event | next entry |
/// |---|---|---|---|
/// | none, or without fingerprint | matches | *add* | new head and fingerprint |
/// | another fingerprint | matches | *update* | new head and fingerprint |
/// | same fingerprint | matches | | unchanged head |
/// | any | does not match | | head without fingerprint, so that the next *add* gets a new name |
/// | with fingerprint | deleted | *delete* | none |
///
/// An event that the triggers do not select updates the fingerprint and keeps the head.
#[must_use]
pub fn evaluate(
    workflow: &str,
    uid: &str,
    entry: Option<&Entry>,
    observation: &Observation,
) -> Evaluation {
    match observation {
        Observation::Deleted { selected } => Evaluation {
            transition: deletion(entry, *selected),
            next: None,
        },
        Observation::Live {
            object,
            selection: None,
            ..
        } => Evaluation {
            transition: None,
            next: head_of(entry).map(|head| Entry::unmatched(object.clone(), head)),
        },
        Observation::Live {
            object,
            fingerprint,
            selection: Some(selection),
        } => {
            let transition = add_or_update(entry, object, fingerprint, *selection);
            let head = match &transition {
                Some(transition) => Some(transition.head(workflow, uid)),
                None => head_of(entry),
            };
            let next = Entry {
                object: object.clone(),
                head,
                fingerprint: Some(fingerprint.to_stored()),
                on_delete: selection.delete,
            };
            Evaluation {
                transition,
                next: Some(next),
            }
        }
    }
}

fn head_of(entry: Option<&Entry>) -> Option<String> {
    entry?.head.clone()
}

fn add_or_update(
    entry: Option<&Entry>,
    object: &ObjectRef,
    fingerprint: &Fingerprint,
    selection: EventSelection,
) -> Option<Transition> {
    let event = match entry.and_then(|entry| entry.fingerprint.as_ref()) {
        Some(stored) if fingerprint.matches(stored) => None,
        Some(_) => Some(TriggerEvent::Update),
        None => Some(TriggerEvent::Add),
    };
    Some(Transition {
        object: object.clone(),
        event: event.filter(|_| selection.add_or_update)?,
        fingerprint: fingerprint.to_stored(),
        previous_head: head_of(entry),
    })
}

fn deletion(entry: Option<&Entry>, selected: bool) -> Option<Transition> {
    let entry = entry.filter(|entry| selected && entry.on_delete)?;
    Some(Transition {
        object: entry.object.clone(),
        event: TriggerEvent::Delete,
        fingerprint: entry.fingerprint.clone()?,
        previous_head: entry.head.clone(),
    })
}

impl Transition {
    /// The head of the object's chain after this transition.
    #[must_use]
    pub fn head(&self, workflow: &str, uid: &str) -> String {
        let previous = self.previous_head.as_deref();
        head(workflow, uid, previous, self.fingerprint.hash(), self.event)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;
    use crate::resource::{Kind, Resource};

    const BOTH: EventSelection = EventSelection {
        add_or_update: true,
        delete: true,
    };
    const DELETE: EventSelection = EventSelection {
        add_or_update: false,
        delete: true,
    };

    fn object() -> ObjectRef {
        let kind = Kind::new("v1", "ConfigMap");
        let resource = Arc::new(Resource {
            kind,
            plural: "configmaps".to_owned(),
        });
        ObjectRef {
            resource,
            namespace: Some("a".to_owned()),
            name: "b".to_owned(),
        }
    }

    fn live(hash: &str, selection: Option<EventSelection>) -> Observation {
        Observation::Live {
            object: object(),
            fingerprint: Fingerprint::named(hash),
            selection,
        }
    }

    fn entry(head: Option<&str>, hash: Option<&str>, on_delete: bool) -> Entry {
        let head = head.map(str::to_owned);
        let fingerprint = hash.map(|hash| Fingerprint::named(hash).to_stored());
        Entry {
            object: object(),
            head,
            fingerprint,
            on_delete,
        }
    }

    use TriggerEvent::{Add, Delete, Update};

    #[rstest]
    #[case::appears(None, live("1", Some(BOTH)), Some(Add))]
    #[case::label_added(Some(entry(Some("h"), None, false)), live("1", Some(BOTH)), Some(Add))]
    #[case::changes(
        Some(entry(Some("h"), Some("1"), true)),
        live("2", Some(BOTH)),
        Some(Update)
    )]
    #[case::same(Some(entry(Some("h"), Some("1"), true)), live("1", Some(BOTH)), None)]
    #[case::label_removed(Some(entry(Some("h"), Some("1"), true)), live("1", None), None)]
    #[case::never_matched(None, live("1", None), None)]
    #[case::deleted(Some(entry(Some("h"), Some("1"), true)), Observation::Deleted { selected: true }, Some(Delete))]
    #[case::delete_not_selected_then(Some(entry(Some("h"), Some("1"), false)), Observation::Deleted { selected: true }, None)]
    #[case::delete_not_selected_now(Some(entry(Some("h"), Some("1"), true)), Observation::Deleted { selected: false }, None)]
    #[case::deleted_after_label_removed(Some(entry(Some("h"), None, true)), Observation::Deleted { selected: true }, None)]
    #[case::unknown_deleted(None, Observation::Deleted { selected: true }, None)]
    #[case::add_not_selected(None, live("1", Some(DELETE)), None)]
    fn event_follows_from_entry_and_observation(
        #[case] entry: Option<Entry>,
        #[case] observation: Observation,
        #[case] event: Option<TriggerEvent>,
    ) {
        let fired = evaluate("w", "u", entry.as_ref(), &observation)
            .transition
            .map(|transition| transition.event);
        assert_eq!(fired, event);
    }

    #[test]
    fn transition_moves_head_and_fingerprint() {
        let evaluation = evaluate(
            "w",
            "u",
            Some(&entry(Some("h"), Some("1"), false)),
            &live("2", Some(BOTH)),
        );
        let transition = evaluation.transition.unwrap();
        assert_eq!(transition.previous_head.as_deref(), Some("h"));
        let next = evaluation.next.unwrap();
        assert_eq!(next.head, Some(transition.head("w", "u")));
        assert_eq!(
            (next.fingerprint, next.on_delete),
            (Some("h2".to_owned().into()), true)
        );
    }

    /// An entry as older releases wrote it.
    fn older(fingerprint: &str) -> Entry {
        Entry {
            fingerprint: Some(fingerprint.to_owned().into()),
            ..entry(Some("h"), None, true)
        }
    }

    #[rstest]
    #[case::same("7", 7, None)]
    #[case::moved("7", 8, Some(Update))]
    #[case::hash("h1", 7, None)]
    fn generation_of_older_ledger_fires_only_if_changed(
        #[case] fingerprint: &str,
        #[case] generation: i64,
        #[case] event: Option<TriggerEvent>,
    ) {
        let observed = Fingerprint::named("1").at(generation);
        let observation = Observation::Live {
            object: object(),
            fingerprint: observed,
            selection: Some(BOTH),
        };
        let evaluation = evaluate("w", "u", Some(&older(fingerprint)), &observation);
        assert_eq!(
            evaluation
                .transition
                .as_ref()
                .map(|transition| transition.event),
            event
        );
        let next = evaluation.next.unwrap();
        assert_eq!(next.fingerprint, Some(format!("h1.{generation}").into()));
        assert_eq!(next.head.as_deref() == Some("h"), event.is_none());
    }

    #[test]
    fn transition_hash_has_no_generation() {
        let fired = |observation| evaluate("w", "u", Some(&older("h0.7")), &observation).transition;
        let update = Observation::Live {
            object: object(),
            fingerprint: Fingerprint::named("1").at(8),
            selection: Some(BOTH),
        };
        assert_eq!(fired(update).unwrap().fingerprint.hash(), "h1");
        let deletion = fired(Observation::Deleted { selected: true }).unwrap();
        assert_eq!(deletion.fingerprint.hash(), "h0");
    }

    #[test]
    fn unselected_event_moves_only_the_fingerprint() {
        let evaluation = evaluate(
            "w",
            "u",
            Some(&entry(Some("h"), Some("1"), false)),
            &live("2", Some(DELETE)),
        );
        assert_eq!(evaluation.next, Some(entry(Some("h"), Some("2"), true)));
    }

    #[test]
    fn rematching_object_gets_new_head() {
        let added = evaluate("w", "u", None, &live("1", Some(BOTH)));
        let left = evaluate("w", "u", added.next.as_ref(), &live("1", None));
        assert_eq!(
            left.next.as_ref().map(|entry| &entry.fingerprint),
            Some(&None)
        );
        let back = evaluate("w", "u", left.next.as_ref(), &live("1", Some(BOTH)));
        let heads = [added.transition.unwrap(), back.transition.unwrap()]
            .map(|transition| transition.head("w", "u"));
        assert_ne!(heads[0], heads[1]);
    }

    #[test]
    fn unmatched_entry_without_head_is_removed() {
        let evaluation = evaluate(
            "w",
            "u",
            Some(&entry(None, Some("1"), true)),
            &live("1", None),
        );
        assert_eq!(evaluation.next, None);
    }
}
