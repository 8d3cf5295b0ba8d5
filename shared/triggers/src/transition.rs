//! The step: what one Workflow makes of one observation of one object.

use kubeci_api::TriggerEvent;
use kubeci_compiler::head;

use crate::{
    filter::Wants,
    fingerprint::{Fingerprint, token_of},
    ledger::Entry,
    object::ObjectRef,
};

/// What is known of an object now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It exists in this state; `wants` is what matching triggers want of it, nothing if none matches.
    Live {
        object: ObjectRef,
        fingerprint: Fingerprint,
        wants: Option<Wants>,
    },
    /// It exists no more; whether some trigger that covers it still wants to know.
    Gone { wanted: bool },
}

impl Observation {
    /// Whether `later` shows nothing else.
    #[must_use]
    pub fn is_again(&self, later: &Self) -> bool {
        match (self, later) {
            (
                Self::Live {
                    object,
                    fingerprint,
                    wants,
                },
                Self::Live {
                    object: later_object,
                    fingerprint: later,
                    wants: later_wants,
                },
            ) => object == later_object && wants == later_wants && fingerprint.same_state(later),
            _ => self == later,
        }
    }
}

/// An event to create a Workplan for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fire {
    pub object: ObjectRef,
    pub event: TriggerEvent,
    pub token: String,
    /// The link before this event's own in the object's chain.
    pub previous: Option<String>,
}

/// What follows: perhaps an event, and the entry once it has fired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub fire: Option<Fire>,
    pub next: Option<Entry>,
}

/// Compares what is remembered of an object with what is seen of it.
///
/// Matching without a token is *add*, with another token *update*, gone with a token *delete*. What no
/// longer matches loses its token and keeps its head, so that coming back is an *add* with a new name.
/// What the triggers leave out moves the token, not the head; so does all that happens to an object whose
/// deletion has begun, of which nothing but its end is wanted.
#[must_use]
pub fn step(workflow: &str, uid: &str, entry: Option<&Entry>, observation: &Observation) -> Step {
    let head_of = |entry: Option<&Entry>| entry.and_then(|entry| entry.head.clone());
    match observation {
        Observation::Gone { wanted } => Step {
            fire: deletion(entry, *wanted),
            next: None,
        },
        Observation::Live {
            object,
            wants: None,
            ..
        } => {
            let next = head_of(entry).map(|head| Entry::unmatched(object.clone(), head));
            Step { fire: None, next }
        }
        Observation::Live {
            object,
            fingerprint,
            wants: Some(wants),
        } => {
            let known = entry.and_then(|entry| entry.token.as_deref());
            let event = match known {
                Some(known) if fingerprint.is(known) => None,
                Some(_) => Some(TriggerEvent::Update),
                None => Some(TriggerEvent::Add),
            };
            let fire = event.filter(|_| wants.add_or_update).map(|event| Fire {
                object: object.clone(),
                event,
                token: fingerprint.token().to_owned(),
                previous: head_of(entry),
            });
            let head = match &fire {
                Some(fire) => Some(fire.head(workflow, uid)),
                None => head_of(entry),
            };
            let on_delete = wants.delete;
            let next = Entry {
                object: object.clone(),
                head,
                token: Some(fingerprint.remembered()),
                on_delete,
            };
            Step {
                fire,
                next: Some(next),
            }
        }
    }
}

fn deletion(entry: Option<&Entry>, wanted: bool) -> Option<Fire> {
    let entry = entry.filter(|entry| wanted && entry.on_delete)?;
    Some(Fire {
        object: entry.object.clone(),
        event: TriggerEvent::Delete,
        token: token_of(entry.token.as_deref()?).to_owned(),
        previous: entry.head.clone(),
    })
}

impl Fire {
    /// The event's own link in the object's chain.
    #[must_use]
    pub fn head(&self, workflow: &str, uid: &str) -> String {
        head(
            workflow,
            uid,
            self.previous.as_deref(),
            &self.token,
            self.event,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Kind, Resource};
    use rstest::rstest;
    use std::sync::Arc;

    const BOTH: Wants = Wants {
        add_or_update: true,
        delete: true,
    };
    const DELETE: Wants = Wants {
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

    fn live(token: &str, wants: Option<Wants>) -> Observation {
        Observation::Live {
            object: object(),
            fingerprint: Fingerprint::named(token),
            wants,
        }
    }

    fn entry(head: Option<&str>, token: Option<&str>, on_delete: bool) -> Entry {
        let head = head.map(str::to_owned);
        let token = token.map(|token| Fingerprint::named(token).remembered());
        Entry {
            object: object(),
            head,
            token,
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
    #[case::deleted(Some(entry(Some("h"), Some("1"), true)), Observation::Gone { wanted: true }, Some(Delete))]
    #[case::delete_not_wanted_then(Some(entry(Some("h"), Some("1"), false)), Observation::Gone { wanted: true }, None)]
    #[case::delete_not_wanted_now(Some(entry(Some("h"), Some("1"), true)), Observation::Gone { wanted: false }, None)]
    #[case::deleted_after_label_removed(Some(entry(Some("h"), None, true)), Observation::Gone { wanted: true }, None)]
    #[case::unknown_deleted(None, Observation::Gone { wanted: true }, None)]
    #[case::add_left_out(None, live("1", Some(DELETE)), None)]
    fn events(
        #[case] entry: Option<Entry>,
        #[case] observation: Observation,
        #[case] event: Option<TriggerEvent>,
    ) {
        let fired = step("w", "u", entry.as_ref(), &observation)
            .fire
            .map(|fire| fire.event);
        assert_eq!(fired, event);
    }

    #[test]
    fn what_fires_moves_head_and_token() {
        let step = step(
            "w",
            "u",
            Some(&entry(Some("h"), Some("1"), false)),
            &live("2", Some(BOTH)),
        );
        let fire = step.fire.unwrap();
        assert_eq!(fire.previous.as_deref(), Some("h"));
        let next = step.next.unwrap();
        assert_eq!(next.head, Some(fire.head("w", "u")));
        assert_eq!((next.token.as_deref(), next.on_delete), (Some("h2"), true));
    }

    /// The entry, as an operator that kept generations left it.
    fn older(token: &str) -> Entry {
        Entry {
            token: Some(token.to_owned()),
            ..entry(Some("h"), None, true)
        }
    }

    #[rstest]
    #[case::same("7", 7, None)]
    #[case::moved("7", 8, Some(Update))]
    #[case::hash("h1", 7, None)]
    fn what_is_known_by_an_older_token_fires_only_when_it_moved(
        #[case] token: &str,
        #[case] generation: i64,
        #[case] event: Option<TriggerEvent>,
    ) {
        let fingerprint = Fingerprint::named("1").at(generation);
        let observation = Observation::Live {
            object: object(),
            fingerprint,
            wants: Some(BOTH),
        };
        let step = step("w", "u", Some(&older(token)), &observation);
        assert_eq!(step.fire.as_ref().map(|fire| fire.event), event);
        let next = step.next.unwrap();
        assert_eq!(next.token, Some(format!("h1.{generation}")));
        assert_eq!(next.head.as_deref() == Some("h"), event.is_none());
    }

    #[test]
    fn a_workplan_names_the_state_without_its_generation() {
        let fired = |observation| step("w", "u", Some(&older("h0.7")), &observation).fire;
        let update = Observation::Live {
            object: object(),
            fingerprint: Fingerprint::named("1").at(8),
            wants: Some(BOTH),
        };
        assert_eq!(fired(update).unwrap().token, "h1");
        let deletion = fired(Observation::Gone { wanted: true }).unwrap();
        assert_eq!(deletion.token, "h0");
    }

    #[test]
    fn what_a_trigger_leaves_out_moves_the_token_not_the_head() {
        let step = step(
            "w",
            "u",
            Some(&entry(Some("h"), Some("1"), false)),
            &live("2", Some(DELETE)),
        );
        assert_eq!(step.next, Some(entry(Some("h"), Some("2"), true)));
    }

    #[test]
    fn what_no_longer_matches_keeps_its_head_and_comes_back_under_a_new_name() {
        let added = step("w", "u", None, &live("1", Some(BOTH)));
        let left = step("w", "u", added.next.as_ref(), &live("1", None));
        assert_eq!(left.next.as_ref().map(|entry| &entry.token), Some(&None));
        let back = step("w", "u", left.next.as_ref(), &live("1", Some(BOTH)));
        let heads = [added.fire.unwrap(), back.fire.unwrap()].map(|fire| fire.head("w", "u"));
        assert_ne!(heads[0], heads[1]);
    }

    #[test]
    fn what_never_fired_and_no_longer_matches_is_forgotten() {
        let step = step(
            "w",
            "u",
            Some(&entry(None, Some("1"), true)),
            &live("1", None),
        );
        assert_eq!(step.next, None);
    }
}
