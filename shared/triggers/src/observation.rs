//! The observed state of one object, as one Workflow's triggers see it.

use crate::{filter::EventSelection, fingerprint::Fingerprint, object::ObjectRef};

/// The observed state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The object exists.
    Live {
        object: ObjectRef,
        fingerprint: Fingerprint,
        /// The events that matching triggers select, or `None` if no trigger matches.
        selection: Option<EventSelection>,
    },
    /// The object is deleted.
    Deleted {
        /// Whether a trigger that covers the object selects deletions.
        selected: bool,
    },
}

impl Observation {
    /// Whether `later` leads to the same transition as this observation.
    #[must_use]
    pub fn is_same_state(&self, later: &Self) -> bool {
        match (self, later) {
            (
                Self::Live {
                    object,
                    fingerprint,
                    selection,
                },
                Self::Live {
                    object: later_object,
                    fingerprint: later,
                    selection: later_selection,
                },
            ) => {
                object == later_object
                    && selection == later_selection
                    && fingerprint.same_content(later)
            }
            _ => self == later,
        }
    }
}
