use thiserror::Error;

use crate::cycles::Cycle;

/// Why the name in an edge to a step does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// There is no step of that name.
    #[error("there is no step of that name")]
    Unknown,
    /// The edge comes from the step that it goes to.
    #[error("the step waits for itself")]
    ToItself,
    /// An edge is repeated.
    #[error("edge {first} is the same")]
    Repeated {
        /// The position of that edge.
        first: usize,
    },
}

/// Why tasks cannot run. Steps are counted through all tasks, the serial ones of each task first; edges are
/// counted among those to their step.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Two steps have one name.
    #[error("step {step} has the name of step {first}")]
    DuplicateName {
        /// The later one.
        step: usize,
        /// The earlier one.
        first: usize,
    },
    /// There are serial steps where the order is `Relay`.
    #[error("step {step} is serial, in a relay")]
    SerialInRelay {
        /// The first such step.
        step: usize,
    },
    /// An edge comes from a step that does not exist.
    #[error("edge {edge} to step {step} comes from an unknown step")]
    UnknownStep {
        /// The step that waits.
        step: usize,
        /// The edge.
        edge: usize,
    },
    /// A step waits for itself.
    #[error("edge {edge} to step {step} comes from itself")]
    EdgeToItself {
        /// The step that waits.
        step: usize,
        /// The edge.
        edge: usize,
    },
    /// A step waits for a step of its own task that does not end before it.
    #[error("edge {edge} to step {step} comes from step {from}, which does not end before it")]
    NotEarlierInTask {
        /// The step that waits.
        step: usize,
        /// The edge.
        edge: usize,
        /// The step that is waited for.
        from: usize,
    },
    /// A step waits for a step of a later task, where the order is `Linear`.
    #[error("edge {edge} to step {step} comes from step {from} of a later task")]
    InLaterTask {
        /// The step that waits.
        step: usize,
        /// The edge.
        edge: usize,
        /// The step that is waited for.
        from: usize,
    },
    /// Steps of one task wait for each other.
    #[error("steps wait for each other: {0:?}")]
    StepCycle(Cycle),
    /// Tasks wait for each other.
    #[error("tasks wait for each other: {0:?}")]
    TaskCycle(Cycle),
}
