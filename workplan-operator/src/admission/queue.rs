//! The queue of the Workplans that wait for the caps. It is derived from the Workplans that exist, so that a restart of
//! the operator changes nothing. Namespaces are served by their share of what runs, the least first; those of equal
//! shares in turn. Within a namespace Workplans are served in the order of their
//! creation. No Workplan is served before one that is earlier in this order and does not fit yet.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use jiff::Timestamp;

use super::caps::{Caps, Usage};
use super::place::{Admission, Place};
use super::recorded::Recorded;
use crate::workplan_key::WorkplanKey;

/// The places that are written again after a restart.
const FIRST: usize = 10;

/// The order of creation. The API server stores whole seconds; the sequence is that of the Workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    pub created: Timestamp,
    pub sequence: i64,
    pub uid: Box<str>,
}

/// A Workplan that has not ended.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub arrival: Arrival,
    /// The most pods that its tasks need at a time.
    pub pods: usize,
    /// What its status states, or its pods show.
    pub recorded: Recorded,
}

/// The Workplans that run and those that wait.
#[derive(Debug, Default)]
pub struct AdmissionQueue {
    caps: Caps,
    running: Usage,
    /// The number of the last admission. A restart begins again, which only changes who is next of equal shares.
    served: u64,
    namespaces: BTreeMap<Box<str>, Namespace>,
    workplans: HashMap<WorkplanKey, Known>,
}

#[derive(Debug, Default)]
struct Namespace {
    running: Usage,
    /// The number of the last admission here. A new namespace is before the one that was served last.
    served: u64,
    /// By arrival.
    waiting: VecDeque<(Arrival, WorkplanKey)>,
}

#[derive(Debug)]
struct Known {
    arrival: Arrival,
    usage: Usage,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Running,
    /// With the place in the status.
    Waiting(Reported),
}

#[derive(Debug, PartialEq, Eq)]
enum Reported {
    No,
    /// The status states a place, which an earlier operator wrote.
    Earlier,
    Place(Place),
}

impl AdmissionQueue {
    pub fn new(caps: Caps) -> Self {
        Self {
            caps,
            ..Self::default()
        }
    }

    /// Whether a Workplan waits.
    pub fn waits(&self, key: &WorkplanKey) -> bool {
        let known = self.workplans.get(key);
        known.is_some_and(|known| known.state != State::Running)
    }

    /// What the Workplans that run use.
    pub fn running(&self) -> Usage {
        self.running
    }

    /// The number of Workplans that wait.
    pub fn waiting(&self) -> usize {
        let namespaces = self.namespaces.values();
        namespaces.map(|namespace| namespace.waiting.len()).sum()
    }

    pub fn keys(&self) -> impl Iterator<Item = &WorkplanKey> {
        self.workplans.keys()
    }

    /// The Workplans that wait, with their uids.
    pub fn waiting_workplans(&self) -> impl Iterator<Item = (&WorkplanKey, &str)> {
        let namespaces = self.namespaces.values();
        let waiting = namespaces.flat_map(|namespace| &namespace.waiting);
        waiting.map(|(arrival, key)| (key, &*arrival.uid))
    }

    /// Adds a Workplan that has not ended, or updates it. A Workplan that runs does not wait again.
    pub fn observe(&mut self, key: &WorkplanKey, candidate: Candidate) {
        if let Some(known) = self.workplans.get(key) {
            if known.arrival.uid == candidate.arrival.uid {
                if candidate.recorded == Recorded::Admitted {
                    self.run(key);
                }
                return;
            }
            self.remove(key);
        }
        let Candidate {
            arrival,
            pods,
            recorded,
        } = candidate;
        let usage = Usage {
            workplans: 1,
            pods: self.caps.pods_of(pods),
        };
        let served = self.served.saturating_sub(1);
        let new = || Namespace {
            served,
            ..Namespace::default()
        };
        let namespace = self.namespaces.entry(key.namespace.clone());
        let namespace = namespace.or_insert_with(new);
        let waiting = &mut namespace.waiting;
        let at = waiting.partition_point(|(known, _)| *known < arrival);
        waiting.insert(at, (arrival.clone(), key.clone()));
        let reported = match recorded {
            Recorded::Queued => Reported::Earlier,
            Recorded::Nothing | Recorded::Admitted => Reported::No,
        };
        let known = Known {
            arrival,
            usage,
            state: State::Waiting(reported),
        };
        self.workplans.insert(key.clone(), known);
        if recorded == Recorded::Admitted {
            self.run(key);
        }
    }

    /// Removes a Workplan that has ended or is deleted.
    pub fn remove(&mut self, key: &WorkplanKey) {
        let Some(known) = self.workplans.remove(key) else {
            return;
        };
        let Some(namespace) = self.namespaces.get_mut(&key.namespace) else {
            return;
        };
        match known.state {
            State::Running => {
                namespace.running = namespace.running - known.usage;
                self.running = self.running - known.usage;
            }
            State::Waiting(_) => namespace.leave(&known.arrival),
        }
        if namespace.waiting.is_empty() && namespace.running == Usage::default() {
            self.namespaces.remove(&key.namespace);
        }
    }

    /// Admits all Workplans that the caps allow; returns them.
    pub fn admit(&mut self) -> Vec<WorkplanKey> {
        let mut admitted = Vec::new();
        while let Some(key) = self.next() {
            self.run(&key);
            admitted.push(key);
        }
        admitted
    }

    /// Whether a Workplan may run. A Workplan that is not known has ended or is being deleted: it creates no pods.
    pub fn admission(&self, key: &WorkplanKey, uid: &str) -> Admission {
        let known = self.workplans.get(key);
        match known.filter(|known| *known.arrival.uid == *uid) {
            Some(known) => match &known.state {
                State::Running => Admission::Admitted {
                    pods: known.usage.pods,
                },
                State::Waiting(Reported::Place(place)) => Admission::Queued(Some(*place)),
                State::Waiting(_) => Admission::Queued(None),
            },
            None => Admission::Admitted { pods: usize::MAX },
        }
    }

    /// Finds the Workplans whose status must state their place, the first in the queue first, and at most this many. The
    /// status states a place again once it is half of the last one.
    pub fn assign_places(&mut self, most: usize) -> Vec<WorkplanKey> {
        let order = self.order();
        let count = order.len();
        let mut changed = Vec::new();
        for (at, key) in order.into_iter().enumerate() {
            let place = Place {
                number: at + 1,
                count,
                caps: self.caps,
            };
            let Some(Known {
                state: State::Waiting(reported),
                ..
            }) = self.workplans.get_mut(&key)
            else {
                continue;
            };
            if changed.len() < most && reported.advance(place) {
                changed.push(key);
            }
        }
        changed
    }

    /// The next Workplan, if the caps allow it.
    fn next(&self) -> Option<WorkplanKey> {
        let waiting = self.namespaces.values().filter_map(|namespace| {
            let (arrival, key) = namespace.waiting.front()?;
            let share = self.caps.share(namespace.running);
            Some((share, namespace.served, arrival, key))
        });
        let (.., key) = waiting.min()?;
        let usage = self.workplans.get(key)?.usage;
        let fits = self.caps.admit(self.running, usage);
        fits.then(|| key.clone())
    }

    /// All Workplans that wait, in the order in which they are admitted if no other one ends or is created.
    fn order(&self) -> Vec<WorkplanKey> {
        let mut order = Vec::new();
        let namespaces = self.namespaces.values();
        let turns = namespaces.map(|namespace| Turn {
            running: namespace.running,
            served: namespace.served,
            waiting: namespace.waiting.iter(),
        });
        let mut turns: Vec<Turn<_>> = turns.collect();
        let heads = turns.iter_mut().enumerate();
        let mut heads: BinaryHeap<_> = heads
            .filter_map(|(at, turn)| Some(Reverse((turn.next(self.caps)?, at))))
            .collect();
        let mut served = self.served;
        while let Some(Reverse(((.., key), at))) = heads.pop() {
            order.push(key.clone());
            served += 1;
            let (Some(turn), Some(known)) = (turns.get_mut(at), self.workplans.get(key)) else {
                continue;
            };
            turn.served = served;
            turn.running = turn.running + known.usage;
            heads.extend(turn.next(self.caps).map(|next| Reverse((next, at))));
        }
        order
    }

    /// Counts a Workplan that waits as running.
    fn run(&mut self, key: &WorkplanKey) {
        let (Some(known), Some(namespace)) = (
            self.workplans.get_mut(key),
            self.namespaces.get_mut(&key.namespace),
        ) else {
            return;
        };
        if known.state == State::Running {
            return;
        }
        known.state = State::Running;
        namespace.leave(&known.arrival);
        self.served += 1;
        namespace.served = self.served;
        namespace.running = namespace.running + known.usage;
        self.running = self.running + known.usage;
    }
}

/// A namespace while the order of all Workplans that wait is found.
struct Turn<I> {
    running: Usage,
    served: u64,
    waiting: I,
}

impl<'a, I: Iterator<Item = &'a (Arrival, WorkplanKey)>> Turn<I> {
    fn next(&mut self, caps: Caps) -> Option<(usize, u64, &'a Arrival, &'a WorkplanKey)> {
        let (arrival, key) = self.waiting.next()?;
        Some((caps.share(self.running), self.served, arrival, key))
    }
}

impl Namespace {
    fn leave(&mut self, arrival: &Arrival) {
        let at = self.waiting.partition_point(|(known, _)| known < arrival);
        if self
            .waiting
            .get(at)
            .is_some_and(|(known, _)| known == arrival)
        {
            self.waiting.remove(at);
        }
    }
}

impl Reported {
    /// Updates the place. Returns whether the status must be written.
    fn advance(&mut self, place: Place) -> bool {
        let is_outdated = match self {
            Self::No => true,
            // The place in the status is not known here.
            Self::Earlier => place.number <= FIRST,
            Self::Place(reported) => place.number <= reported.number / 2,
        };
        if is_outdated || *self == Self::Earlier {
            *self = Self::Place(place);
        }
        is_outdated
    }
}
