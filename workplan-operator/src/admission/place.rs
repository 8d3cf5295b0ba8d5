use super::caps::Caps;

/// Whether a Workplan may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It runs, with at most this many pods whose steps have not ended.
    Admitted { pods: usize },
    /// It waits. Without a place nothing is written.
    Queued(Option<Place>),
}

impl Admission {
    /// The admission without caps.
    pub const UNLIMITED: Self = Self::Admitted { pods: usize::MAX };
}

/// A place in the queue of all Workplans that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub number: usize,
    pub count: usize,
    pub caps: Caps,
}

impl Place {
    /// Why the Workplan waits.
    pub fn message(self) -> String {
        let Self {
            number,
            count,
            caps,
        } = self;
        format!(
            "waits at place {number} of {count} in the queue, because {caps}. The place is written again when it has halved"
        )
    }
}
