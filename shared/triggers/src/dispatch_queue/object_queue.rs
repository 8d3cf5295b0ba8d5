use std::collections::VecDeque;

use super::create_error::CreateError;
use crate::{ledger::Entry, observation::Observation, transition::Transition};

/// The most observations that wait in the queue of one object. Beyond, the newest replaces the last one.
pub(super) const PENDING_MAX: usize = 64;

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Repeats,
    Appended,
    /// It has replaced the last one, which does not fire.
    Dropped,
}

/// The queue of one object: a transition whose Workplan is being created, and the observations after it.
#[derive(Debug)]
pub(super) struct ObjectQueue {
    /// The number of the event among all events of the engine.
    pub event: u64,
    pub transition: Transition,
    /// The ledger entry once the Workplan exists.
    pub next: Option<Entry>,
    pub pending: VecDeque<Observation>,
    /// How many observations were dropped because too many wait.
    pub dropped: usize,
    /// The number of the Workplan, as long as it may be created.
    pub sequence: Option<i64>,
    /// Whether an attempt had no definite result. Then the rejection of a later attempt proves nothing.
    may_exist: bool,
    attempts: u32,
    /// The message of the last error, once it is worth a condition.
    pub error: Option<String>,
    /// Whether no attempt can succeed before the Workflow changes.
    pub blocked: bool,
}

impl ObjectQueue {
    pub fn new(
        event: u64,
        transition: Transition,
        next: Option<Entry>,
        pending: VecDeque<Observation>,
    ) -> Self {
        Self {
            event,
            transition,
            next,
            pending,
            dropped: 0,
            sequence: None,
            may_exist: false,
            attempts: 0,
            error: None,
            blocked: false,
        }
    }

    /// Records an attempt that failed. Returns the number of attempts, or `None` if the queue is blocked.
    pub fn fail(&mut self, error: CreateError) -> Option<u32> {
        self.attempts += 1;
        self.error = match error {
            // Retried all the same: a new namespace of the same name may still appear as terminating.
            CreateError::NamespaceTerminating => None,
            CreateError::Rejected(message) => {
                self.release_sequence();
                Some(message)
            }
            CreateError::TooLarge(message) => {
                self.release_sequence();
                self.blocked = true;
                Some(message)
            }
            CreateError::Unknown(message) => {
                self.may_exist = true;
                // A single failed request is no condition.
                Some(message).filter(|_| self.attempts > 1)
            }
        };
        (!self.blocked).then_some(self.attempts)
    }

    fn release_sequence(&mut self) {
        self.sequence = self.sequence.filter(|_| self.may_exist);
    }

    /// Appends an observation, unless it repeats the last one.
    pub fn push(&mut self, observation: Observation) -> Pushed {
        if self.repeats_last(&observation) {
            return Pushed::Repeats;
        }
        let is_full = self.pending.len() >= PENDING_MAX;
        if is_full {
            self.pending.pop_back();
            self.dropped += 1;
        }
        self.pending.push_back(observation);
        if is_full {
            Pushed::Dropped
        } else {
            Pushed::Appended
        }
    }

    fn repeats_last(&self, observation: &Observation) -> bool {
        match (self.pending.back(), &self.next, observation) {
            (Some(last), ..) => last.is_same_state(observation),
            (
                None,
                Some(next),
                Observation::Live {
                    fingerprint,
                    selection: Some(selection),
                    ..
                },
            ) => {
                let stored = next.fingerprint.as_ref();
                stored.is_some_and(|stored| fingerprint.matches(stored))
                    && next.on_delete == selection.delete
            }
            (None, None, Observation::Deleted { .. }) => true,
            _ => false,
        }
    }
}
