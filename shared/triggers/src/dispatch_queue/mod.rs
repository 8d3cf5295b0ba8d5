//! The events of one Workflow, each object's in order: one creation at a time per object, any number of
//! objects at a time.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::{
    ledger::{Entry, Ledger},
    object::{ObjectRef, Uid},
    observation::Observation,
    transition::{Transition, evaluate},
};

/// The most states of one object that wait for a creation that does not succeed; then the newest replaces
/// the one before it.
const WAITING_MAX: usize = 64;
/// A full ledger admits again once it has this much room.
const ROOM: usize = 150;

/// The ledger of one Workflow, and what is on its way into it.
#[derive(Debug)]
pub struct Book {
    workflow: Uid,
    ledger: Ledger,
    lanes: HashMap<Uid, Lane>,
    last_sequence: i64,
    full: bool,
    changed: bool,
}

/// An object one of whose events is being made a Workplan.
#[derive(Debug)]
struct Lane {
    transition: Transition,
    /// The entry once the Workplan exists.
    next: Option<Entry>,
    waiting: VecDeque<Observation>,
    /// How many states were left out because too many wait.
    left_out: usize,
    /// The number of the Workplan, as long as it may come to exist.
    sequence: Option<i64>,
    /// Whether an attempt had no clear answer; then a refusal of a later one proves nothing.
    unclear: bool,
    attempts: u32,
    refused: Option<String>,
    /// Whether another attempt is in vain while the Workflow is as it is.
    parked: bool,
}

/// An event to create a Workplan for, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    pub uid: Uid,
    pub transition: Transition,
    pub sequence: i64,
}

/// Events that wait because their Workplans are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    pub events: usize,
    /// How many states of these objects will not fire, because too many newer ones wait.
    pub left_out: usize,
    /// Whether they wait for the Workflow to be changed, not for another attempt.
    pub parked: bool,
    /// One of the refusals.
    pub message: &'a str,
}

/// Why a Workplan was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The API server said no: it does not exist.
    #[error("refused: {0}")]
    Refused(String),
    /// The Workplan is larger than what can be stored.
    #[error("too large: {0}")]
    TooLarge(String),
    /// No clear answer: it may exist.
    #[error("no clear answer: {0}")]
    Unclear(String),
    /// The namespace is being deleted, and the Workflow with it: of no interest to anybody.
    #[error("its namespace is being deleted")]
    NamespaceEnds,
}

impl Book {
    #[must_use]
    pub fn new(workflow: Uid, ledger: Ledger, last_sequence: i64) -> Self {
        Self {
            workflow,
            ledger,
            lanes: HashMap::new(),
            last_sequence,
            full: false,
            changed: false,
        }
    }

    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The objects of which the ledger has remembered something new since this was last asked.
    pub fn take_dirty(&mut self) -> HashSet<Uid> {
        self.ledger.take_dirty()
    }

    /// The Workflow takes so many bytes of the object in which the ledger is stored too.
    pub fn stored_beside(&mut self, workflow: usize) {
        self.ledger.reserve(workflow);
    }

    /// Every Workplan up to this number is in the ledger or will never exist.
    #[must_use]
    pub fn told_sequence(&self) -> i64 {
        let open = self.lanes.values().filter_map(|lane| lane.sequence).min();
        open.map_or(self.last_sequence, |open| open.saturating_sub(1))
    }

    /// Whether there are more matching objects than the ledger can hold.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// What is known of events whose Workplans are refused.
    #[must_use]
    pub fn refused(&self) -> Option<Refused<'_>> {
        let lanes = || self.lanes.values().filter(|lane| lane.refused.is_some());
        let message = lanes().filter_map(|lane| lane.refused.as_deref()).min()?;
        Some(Refused {
            events: lanes().count(),
            left_out: lanes().map(|lane| lane.left_out).sum(),
            parked: lanes().all(|lane| lane.parked),
            message,
        })
    }

    /// Every object of which something is known or on its way.
    pub fn objects(&self) -> impl Iterator<Item = (&Uid, &ObjectRef)> {
        let known = self.ledger.iter().map(|(uid, entry)| (uid, &entry.object));
        let coming = self
            .lanes
            .iter()
            .filter(|(uid, _)| self.ledger.get(uid).is_none());
        known.chain(coming.map(|(uid, lane)| (uid, &lane.transition.object)))
    }

    /// Whether anything is known of the object or on its way.
    #[must_use]
    pub fn knows(&self, uid: &str) -> bool {
        self.ledger.get(uid).is_some() || self.lanes.contains_key(uid)
    }

    /// Takes an observation in; what fires of it at once.
    pub fn observe(&mut self, uid: &Uid, observation: Observation) -> Option<Firing> {
        if let Some(lane) = self.lanes.get_mut(uid) {
            lane.wait(observation);
            return None;
        }
        if !self.admits(uid, &observation) {
            self.changed |= !self.full;
            self.full = true;
            return None;
        }
        self.advance(uid, VecDeque::from([observation]))
    }

    /// The Workplan of the object's event exists; what fires next of the same object.
    pub fn created(&mut self, uid: &Uid) -> Option<Firing> {
        let lane = self.lanes.remove(uid)?;
        self.set(uid, lane.next);
        self.changed = true;
        self.advance(uid, lane.waiting)
    }

    /// The Workplan of the object's event was not created; how often that has been tried, if it is to be again.
    pub fn failed(&mut self, uid: &Uid, failure: Failure) -> Option<u32> {
        let lane = self.lanes.get_mut(uid)?;
        lane.attempts += 1;
        self.changed = true;
        lane.refused = match failure {
            // Tried again all the same: a new namespace of the same name may seem to end for a moment.
            Failure::NamespaceEnds => None,
            Failure::Refused(message) => {
                lane.sequence = lane.sequence.filter(|_| lane.unclear);
                Some(message)
            }
            Failure::TooLarge(message) => {
                lane.sequence = lane.sequence.filter(|_| lane.unclear);
                lane.parked = true;
                Some(message)
            }
            Failure::Unclear(message) => {
                lane.unclear = true;
                // The first one may pass unseen.
                Some(message).filter(|_| lane.attempts > 1)
            }
        };
        (!lane.parked).then_some(lane.attempts)
    }

    /// The objects whose events wait for the Workflow to be changed.
    pub fn parked(&self) -> Vec<Uid> {
        let parked = self.lanes.iter().filter(|(_, lane)| lane.parked);
        parked.map(|(uid, _)| uid.clone()).collect()
    }

    /// The same event once more.
    pub fn retry(&mut self, uid: &Uid) -> Option<Firing> {
        let lane = self.lanes.get_mut(uid)?;
        lane.parked = false;
        let last = &mut self.last_sequence;
        let sequence = *lane.sequence.get_or_insert_with(|| {
            // Whoever forges the last number there is stops the count, not the operator.
            *last = last.saturating_add(1);
            *last
        });
        Some(Firing {
            uid: uid.clone(),
            transition: lane.transition.clone(),
            sequence,
        })
    }

    /// Lets go of the tokens of objects that no trigger covers any more.
    pub fn uncover(&mut self, covered: impl Fn(&ObjectRef) -> bool) {
        let left =
            |(_, entry): &(&Uid, &Entry)| entry.fingerprint.is_some() && !covered(&entry.object);
        let unmatched = |(uid, entry): (&Uid, &Entry)| {
            let unmatched = |head| Entry::unmatched(entry.object.clone(), head);
            let kept = entry.head.clone().map(unmatched);
            (uid.clone(), kept.filter(|entry| self.keeps(entry)))
        };
        let left: Vec<_> = self.ledger.iter().filter(left).map(unmatched).collect();
        for (uid, entry) in left {
            self.set(&uid, entry);
        }
    }

    /// Whether there is something new to tell since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether a full ledger has room again; then all objects must be looked at once more.
    pub fn has_room_again(&mut self) -> bool {
        let again = self.full && self.has_room(ROOM);
        self.full &= !again;
        again
    }

    fn set(&mut self, uid: &Uid, entry: Option<Entry>) {
        self.changed |= self.ledger.set(uid, entry);
    }

    /// A full ledger forgets what does not match now.
    fn keeps(&self, entry: &Entry) -> bool {
        entry.fingerprint.is_some() || !self.full
    }

    fn has_room(&self, entries: usize) -> bool {
        self.ledger.capacity().fits(self.lanes.len() + entries)
    }

    fn admits(&self, uid: &Uid, observation: &Observation) -> bool {
        let admission = matches!(
            observation,
            Observation::Live {
                selection: Some(_),
                ..
            }
        ) && self.ledger.get(uid).is_none();
        !admission || self.has_room(1)
    }

    /// Takes steps until one fires; the rest waits.
    fn advance(&mut self, uid: &Uid, mut waiting: VecDeque<Observation>) -> Option<Firing> {
        while let Some(observation) = waiting.pop_front() {
            let evaluation = evaluate(&self.workflow, uid, self.ledger.get(uid), &observation);
            let Some(transition) = evaluation.transition else {
                let next = evaluation.next.filter(|next| self.keeps(next));
                self.set(uid, next);
                continue;
            };
            let lane = Lane {
                transition,
                next: evaluation.next,
                waiting,
                left_out: 0,
                sequence: None,
                unclear: false,
                attempts: 0,
                refused: None,
                parked: false,
            };
            self.lanes.insert(uid.clone(), lane);
            return self.retry(uid);
        }
        None
    }
}

impl Lane {
    /// A state is kept unless it is the last one again.
    fn wait(&mut self, observation: Observation) {
        let same = match (self.waiting.back(), &self.next, &observation) {
            (Some(last), ..) => last.is_same_state(&observation),
            (
                None,
                Some(next),
                Observation::Live {
                    fingerprint,
                    selection: Some(selection),
                    ..
                },
            ) => {
                let known = next.fingerprint.as_ref();
                known.is_some_and(|known| fingerprint.matches(known))
                    && next.on_delete == selection.delete
            }
            (None, None, Observation::Deleted { .. }) => true,
            _ => false,
        };
        if same {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_back();
            self.left_out += 1;
        }
        self.waiting.push_back(observation);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::filter::EventSelection;
    use crate::fingerprint::Fingerprint;
    use crate::resource::{Kind, Resource};

    fn live(token: usize) -> Observation {
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
            fingerprint: Fingerprint::named(&token.to_string()),
            selection: Some(EventSelection {
                add_or_update: true,
                delete: false,
            }),
        }
    }

    fn at_generation(token: usize, generation: i64) -> Observation {
        let Observation::Live {
            object,
            fingerprint,
            selection,
        } = live(token)
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
    fn a_generation_that_moves_alone_neither_waits_nor_is_told() {
        let uid = Uid::from("uid");
        let mut book = Book::new(Uid::from("workflow"), Ledger::default(), 0);
        assert!(book.observe(&uid, at_generation(0, 1)).is_some());
        for generation in 2..5 {
            book.observe(&uid, at_generation(0, generation));
        }
        assert_eq!(book.created(&uid), None);
        assert!(book.take_changed());
        for generation in 5..9 {
            assert_eq!(book.observe(&uid, at_generation(0, generation)), None);
        }
        assert!(!book.take_changed());
        let fingerprint = book.ledger().get("uid").unwrap().fingerprint.clone();
        assert_eq!(fingerprint.unwrap().as_str(), "h0.8", "known all the same");
    }

    #[test]
    fn what_is_too_large_waits_for_the_workflow() {
        let uid = Uid::from("uid");
        let mut book = Book::new(Uid::from("workflow"), Ledger::default(), 0);
        assert!(book.observe(&uid, live(0)).is_some());
        assert_eq!(book.parked(), []);
        let failure = Failure::TooLarge("etcd".to_owned());
        assert_eq!(book.failed(&uid, failure), None, "no other attempt will do");
        let refused = book.refused().unwrap();
        assert!(refused.parked && refused.events == 1 && refused.message == "etcd");
        assert_eq!(book.parked(), std::slice::from_ref(&uid));
        assert!(book.retry(&uid).is_some(), "once the Workflow is changed");
        assert_eq!(book.parked(), []);
    }

    #[test]
    fn nothing_is_said_where_the_namespace_ends() {
        let uid = Uid::from("uid");
        let mut book = Book::new(Uid::from("workflow"), Ledger::default(), 0);
        assert!(book.observe(&uid, live(0)).is_some());
        assert_eq!(book.failed(&uid, Failure::NamespaceEnds), Some(1));
        assert_eq!(book.refused(), None);
        assert!(book.retry(&uid).is_some());
    }

    #[test]
    fn law_7_said_how_many_states_were_left_out_behind_a_refusal() {
        let uid = Uid::from("uid");
        let mut book = Book::new(Uid::from("workflow"), Ledger::default(), 0);
        assert!(book.observe(&uid, live(0)).is_some());
        book.failed(&uid, Failure::Refused("no".to_owned()));
        for token in 1..=WAITING_MAX + 3 {
            assert_eq!(book.observe(&uid, live(token)), None);
        }
        let refused = book.refused().unwrap();
        assert_eq!((refused.events, refused.left_out), (1, 3));

        let mut fired = Vec::new();
        while let Some(firing) = book.created(&uid) {
            fired.push(firing.transition.hash);
        }
        let latest = format!("h{}", WAITING_MAX + 3);
        assert_eq!((fired.len(), fired.last()), (WAITING_MAX, Some(&latest)));
    }
}
