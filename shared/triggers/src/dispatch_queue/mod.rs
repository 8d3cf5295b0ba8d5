//! The dispatch queue of one Workflow: it creates Workplans for the transitions of each object in order, for any
//! number of objects at a time. A transition waits until the engine dispatches it.

mod create_error;
mod object_queue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::{
    ledger::{Entry, Ledger},
    object::ObjectRef,
    observation::Observation,
    transition::{Transition, evaluate},
    uid::Uid,
};
use object_queue::{ObjectQueue, Pushed};

pub use create_error::CreateError;

/// A full ledger admits objects again once it has room for this many.
const READMISSION_ROOM: usize = 150;

/// The ledger of one Workflow, and a queue for each object whose Workplan is being created.
#[derive(Debug)]
pub struct DispatchQueue {
    workflow: Uid,
    ledger: Ledger,
    objects: HashMap<Uid, ObjectQueue>,
    /// The objects whose next Workplan is not requested yet, by the number of the event.
    waiting: BTreeMap<u64, Uid>,
    /// The objects whose Workplan is requested.
    requested: HashSet<Uid>,
    last_sequence: i64,
    /// How many observations were dropped because too many of one object waited.
    dropped: i64,
    full: bool,
    dirty: bool,
    waiting_changed: bool,
}

/// A transition to create a Workplan for, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    pub uid: Uid,
    pub transition: Transition,
    /// The number of the Workplan among all Workplans of the Workflow.
    pub sequence: i64,
}

/// The transitions whose Workplans could not be created yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedDispatches<'a> {
    pub count: usize,
    /// How many observations of these objects were dropped because too many wait.
    pub dropped: usize,
    /// Whether all of them are blocked until the Workflow changes.
    pub blocked: bool,
    /// The message of one of the errors.
    pub message: &'a str,
}

impl DispatchQueue {
    #[must_use]
    pub fn new(workflow: Uid, ledger: Ledger, last_sequence: i64) -> Self {
        Self {
            workflow,
            ledger,
            objects: HashMap::new(),
            waiting: BTreeMap::new(),
            requested: HashSet::new(),
            last_sequence,
            dropped: 0,
            full: false,
            dirty: false,
            waiting_changed: false,
        }
    }

    /// A queue that continues to count dropped observations.
    #[must_use]
    pub fn with_dropped(self, dropped: i64) -> Self {
        Self { dropped, ..self }
    }

    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The objects whose ledger entries changed since the last call.
    pub fn take_dirty_entries(&mut self) -> HashSet<Uid> {
        self.ledger.take_dirty()
    }

    /// Reserves the bytes of the Workflow, which is stored in the same object as the ledger.
    pub fn reserve(&mut self, workflow_bytes: usize) {
        self.ledger.reserve(workflow_bytes);
    }

    /// Every Workplan up to this number is recorded in the ledger or will never exist.
    #[must_use]
    pub fn recorded_sequence(&self) -> i64 {
        let open = self.objects.values().filter_map(|queue| queue.sequence);
        open.min()
            .map_or(self.last_sequence, |open| open.saturating_sub(1))
    }

    /// Whether more objects match than the ledger can hold.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The transitions whose Workplans could not be created yet, if there are any.
    #[must_use]
    pub fn failed_dispatches(&self) -> Option<FailedDispatches<'_>> {
        let failed = || self.objects.values().filter(|queue| queue.error.is_some());
        let message = failed().filter_map(|queue| queue.error.as_deref()).min()?;
        Some(FailedDispatches {
            count: failed().count(),
            dropped: failed().map(|queue| queue.dropped).sum(),
            blocked: failed().all(|queue| queue.blocked),
            message,
        })
    }

    /// How many observations were dropped because too many of one object waited.
    #[must_use]
    pub fn dropped(&self) -> i64 {
        self.dropped
    }

    /// How many states wait for the request of a Workplan.
    #[must_use]
    pub fn waiting_states(&self) -> usize {
        let queues = self
            .waiting
            .values()
            .filter_map(|uid| self.objects.get(uid));
        queues.map(|queue| 1 + queue.pending.len()).sum()
    }

    /// How many objects wait for the request of their Workplan.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The number of the event that waits the longest.
    #[must_use]
    pub fn first_waiting(&self) -> Option<u64> {
        self.waiting.keys().next().copied()
    }

    /// How many Workplans are requested.
    #[must_use]
    pub fn requested(&self) -> usize {
        self.requested.len()
    }

    /// Whether more states wait since the last call.
    pub fn take_waiting_changed(&mut self) -> bool {
        std::mem::take(&mut self.waiting_changed)
    }

    /// The objects that wait.
    #[cfg(test)]
    pub fn waiting_objects(&self) -> impl Iterator<Item = &Uid> {
        self.waiting.values()
    }

    /// All objects in the ledger or in a queue.
    pub fn tracked_objects(&self) -> impl Iterator<Item = (&Uid, &ObjectRef)> {
        let recorded = self.ledger.iter().map(|(uid, entry)| (uid, &entry.object));
        let queued = self.objects.iter();
        let queued = queued.filter(|(uid, _)| self.ledger.get(uid).is_none());
        recorded.chain(queued.map(|(uid, queue)| (uid, &queue.transition.object)))
    }

    /// Whether the object is in the ledger or in a queue.
    #[must_use]
    pub fn tracks(&self, uid: &str) -> bool {
        self.ledger.get(uid).is_some() || self.objects.contains_key(uid)
    }

    /// Adds an observation. If it fires, the event with this number waits: returns true.
    pub fn observe(&mut self, uid: &Uid, observation: Observation, event: u64) -> bool {
        if let Some(queue) = self.objects.get_mut(uid) {
            self.dropped += i64::from(queue.push(observation) == Pushed::Dropped);
            self.waiting_changed = true;
            return false;
        }
        if !self.admits(uid, &observation) {
            self.dirty |= !self.full;
            self.full = true;
            return false;
        }
        self.advance(uid, VecDeque::from([observation]), event)
    }

    /// The Workplan of the object's transition exists. If the object has a next transition, the event with this number
    /// waits: returns true.
    pub fn created(&mut self, uid: &Uid, event: u64) -> bool {
        let Some(queue) = self.objects.remove(uid) else {
            return false;
        };
        self.requested.remove(uid);
        self.waiting.remove(&queue.event);
        self.set(uid, queue.next);
        self.dirty = true;
        self.advance(uid, queue.pending, event)
    }

    /// The Workplan of the object's transition was not created. Returns the number of attempts, or `None` if no
    /// retry can succeed before the Workflow changes.
    pub fn failed(&mut self, uid: &Uid, error: CreateError) -> Option<u32> {
        let queue = self.objects.get_mut(uid)?;
        self.requested.remove(uid);
        self.dirty = true;
        queue.fail(error)
    }

    /// The objects whose transitions are blocked until the Workflow changes.
    pub fn blocked(&self) -> Vec<Uid> {
        let blocked = self.objects.iter().filter(|(_, queue)| queue.blocked);
        blocked.map(|(uid, _)| uid.clone()).collect()
    }

    /// The object's transition waits once more, with the number of its event. Returns whether it does.
    pub fn retry(&mut self, uid: &Uid) -> bool {
        let Some(queue) = self.objects.get_mut(uid) else {
            return false;
        };
        queue.blocked = false;
        self.waiting.insert(queue.event, uid.clone());
        self.waiting_changed = true;
        true
    }

    /// Dispatches the transition that waits the longest.
    pub fn dispatch(&mut self) -> Option<Dispatch> {
        let (_, uid) = self.waiting.pop_first()?;
        let queue = self.objects.get_mut(&uid)?;
        self.requested.insert(uid.clone());
        let last = &mut self.last_sequence;
        let sequence = *queue.sequence.get_or_insert_with(|| {
            // A user may write a Workplan with the largest number.
            *last = last.saturating_add(1);
            *last
        });
        Some(Dispatch {
            uid,
            transition: queue.transition.clone(),
            sequence,
        })
    }

    /// Removes the fingerprints of objects that no trigger covers any more.
    pub fn release_uncovered(&mut self, covered: impl Fn(&ObjectRef) -> bool) {
        let uncovered =
            |(_, entry): &(&Uid, &Entry)| entry.fingerprint.is_some() && !covered(&entry.object);
        let unmatched = |(uid, entry): (&Uid, &Entry)| {
            let unmatched = |head| Entry::unmatched(entry.object.clone(), head);
            let next = entry.head.clone().map(unmatched);
            (uid.clone(), next.filter(|entry| self.keeps(entry)))
        };
        let released = self.ledger.iter().filter(uncovered).map(unmatched);
        for (uid, entry) in released.collect::<Vec<_>>() {
            self.set(&uid, entry);
        }
    }

    /// Whether the Workflow's status needs to be written since the last call.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Ends the full state once the ledger has room again. If it returns true, all objects must be listed again.
    pub fn readmit(&mut self) -> bool {
        let readmits = self.full && self.has_room(READMISSION_ROOM);
        self.full &= !readmits;
        readmits
    }

    fn set(&mut self, uid: &Uid, entry: Option<Entry>) {
        self.dirty |= self.ledger.set(uid, entry);
    }

    /// Whether the ledger keeps the entry. A full ledger drops objects that do not match.
    fn keeps(&self, entry: &Entry) -> bool {
        entry.fingerprint.is_some() || !self.full
    }

    fn has_room(&self, entries: usize) -> bool {
        let queued = self.objects.len();
        self.ledger.capacity().fits(queued + entries)
    }

    fn admits(&self, uid: &Uid, observation: &Observation) -> bool {
        let matches = matches!(
            observation,
            Observation::Live {
                selection: Some(_),
                ..
            }
        );
        let is_new = matches && self.ledger.get(uid).is_none();
        !is_new || self.has_room(1)
    }

    /// Evaluates observations up to the first transition. The others wait.
    fn advance(&mut self, uid: &Uid, mut pending: VecDeque<Observation>, event: u64) -> bool {
        while let Some(observation) = pending.pop_front() {
            let entry = self.ledger.get(uid);
            let evaluation = evaluate(&self.workflow, uid, entry, &observation);
            let Some(transition) = evaluation.transition else {
                let next = evaluation.next.filter(|next| self.keeps(next));
                self.set(uid, next);
                continue;
            };
            let queue = ObjectQueue::new(event, transition, evaluation.next, pending);
            self.objects.insert(uid.clone(), queue);
            return self.retry(uid);
        }
        false
    }
}
