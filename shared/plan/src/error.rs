use std::num::NonZeroUsize;

use thiserror::Error;

use crate::cycles::Cycle;
use crate::expressions::{ExpressionField, InvalidExpression};

/// Why the name in an edge to a step does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// There is no step of that name.
    #[error("there is no step of that name")]
    Unknown,
    /// The edge comes from the step that it goes to.
    #[error("the step waits for itself")]
    ToItself,
    /// The edge waits for a failure that is allowed, and counts as success.
    #[error("the failure of the step is allowed")]
    FailureAllowed,
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
    /// An approval shares its task with other steps.
    #[error("the approval step {step} shares its task")]
    ApprovalInTask {
        /// The approval.
        step: usize,
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
    /// An edge waits for a failure that is allowed, and counts as success.
    #[error("edge {edge} to step {step} waits for an allowed failure")]
    FailureAllowed {
        /// The step that waits.
        step: usize,
        /// The edge.
        edge: usize,
    },
    /// A step waits for a serial step of its own task, and not for its success. A serial step that fails ends the pod.
    #[error("step {step} goes on after the serial step {from}, whose failure ends the pod")]
    FailureEndsTask {
        /// The step that waits.
        step: usize,
        /// The serial step.
        from: usize,
    },
    /// The failure of a serial step is allowed, and other steps of its task come after it.
    #[error("the failure of the serial step {step} is allowed, but ends the pod")]
    AllowedFailureEndsTask {
        /// The serial step.
        step: usize,
    },
    /// A step waits for the success and for the failure of another one.
    #[error("step {step} waits for the success and for the failure of step {of}")]
    NeverStarts {
        /// The step that waits.
        step: usize,
        /// The other one.
        of: usize,
    },
    /// Expressions of a step are wrong.
    #[error("expressions of step {step} are wrong: {invalid:?}")]
    InvalidExpressions {
        /// The step.
        step: usize,
        /// The expressions, and what is wrong with each.
        invalid: Vec<InvalidExpression>,
    },
    /// An expression names a step that its own step does not wait for.
    #[error("step {step}: {field} names {named}, and the step does not wait for it")]
    NamedWithoutEdge {
        /// The step.
        step: usize,
        /// The field.
        field: ExpressionField,
        /// The name, which may be the name of no step.
        named: String,
    },
    /// An expression names a step of its own task, whose pod is created before that step has ended.
    #[error("step {step}: {field} names step {named} of the same task")]
    NamedInTask {
        /// The step.
        step: usize,
        /// The field.
        field: ExpressionField,
        /// The step that it names.
        named: usize,
    },
    /// A step that is not final waits for a final one.
    #[error("edge {edge} to step {step} comes from a final step")]
    MainNeedsFinal {
        /// The step that waits.
        step: usize,
        /// The edge.
        edge: usize,
    },
    /// A final step waits for a step that is not final.
    #[error("edge {edge} to the final step {step} comes from a step that is not final")]
    FinalNeedsMain {
        /// The step that waits.
        step: usize,
        /// The edge.
        edge: usize,
    },
    /// A final step is in a task with a step that does not end before it, whatever happens.
    #[error("the final step {step} shares its task with step {from}")]
    FinalSharesTask {
        /// The final step.
        step: usize,
        /// The other step.
        from: usize,
    },
    /// A final step is in a task before that of another step, where the order is `Linear`.
    #[error("the final step {step} is in a task before that of step {from}")]
    FinalInEarlierTask {
        /// The final step.
        step: usize,
        /// The other step.
        from: usize,
    },
    /// All steps are final.
    #[error("all steps are final")]
    OnlyFinal,
    /// The pod of a task runs more steps at the same time than the plan allows.
    #[error("task {task} runs {steps} steps at the same time, but at most {max_parallel} may run")]
    TooWide {
        /// The task.
        task: usize,
        /// The number of its steps that run at the same time.
        steps: usize,
        /// The maximum of the plan.
        max_parallel: NonZeroUsize,
    },
    /// Steps of one task wait for each other.
    #[error("steps wait for each other: {0:?}")]
    StepCycle(Cycle),
    /// Tasks wait for each other.
    #[error("tasks wait for each other: {0:?}")]
    TaskCycle(Cycle),
}
