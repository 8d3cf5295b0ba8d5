use kubeci_api::names::{
    RELAY_VOLUME, STEPS_MAX, VARIABLE_PREFIX, WORKSPACE_MOUNT_PATH, WORKSPACE_VOLUME,
};
use kubeci_plan::{ExpressionError, describe_cycle};
use thiserror::Error;

use crate::size::TooLarge;

/// One thing that keeps a Workflow from being compiled: where it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}{}: {problem}", of_step(.step.as_deref()))]
pub struct CompileError {
    /// The field, as `spec.steps[3].dependency[0]`.
    pub path: String,
    /// The name of the step that the field belongs to, if it is a step's and the step has a name.
    pub step: Option<String>,
    /// What is wrong and what would be right.
    pub problem: Problem,
}

/// What is wrong, in words that say what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// There is nothing to run.
    #[error("there are no steps; add at least one, with a name and an image")]
    NoSteps,
    /// There is more to run than a Workflow may have.
    #[error(
        "there are {count} steps, but a Workflow may have at most {STEPS_MAX}; split it into several Workflows"
    )]
    TooManySteps {
        /// How many steps there are.
        count: usize,
    },
    /// A step without a name.
    #[error("the step has no name; add one, such as `build`")]
    EmptyName,
    /// A name that cannot be a container's.
    #[error("{name:?} is not a valid name: use lower-case letters, digits and `-`, at most 63, with a letter or digit first and last{}", such_as(.suggestion.as_deref()))]
    InvalidName {
        /// The name as written.
        name: String,
        /// A valid name that is like it.
        suggestion: Option<String>,
    },
    /// The name of a container of kubeci's own.
    #[error("the name {name:?} is reserved; use another name")]
    ReservedName {
        /// The name as written.
        name: String,
    },
    /// A name that another step has.
    #[error("{first} is {name:?}, too; rename one of the steps")]
    DuplicateName {
        /// The name.
        name: String,
        /// The field of the step that had it first.
        first: String,
    },
    /// A step without an image.
    #[error("the step has no image; add the container image to run, such as `alpine`")]
    EmptyImage,
    /// An approval with a field of a container.
    #[error("an approval runs no container; remove this field, or remove `approval`")]
    ApprovalWithContainer,
    /// A dependency on a step that does not exist.
    #[error("there is no step {name:?}; {}", did_you_mean(.suggestion.as_deref(), "use the name of a step of this Workflow"))]
    UnknownDependency {
        /// The name as written.
        name: String,
        /// The name of a step that is like it.
        suggestion: Option<String>,
    },
    /// A dependency that is listed twice.
    #[error("{name:?} is already in {first}; remove it here")]
    DuplicateDependency {
        /// The name of the step that is depended on.
        name: String,
        /// The field that listed it first.
        first: String,
    },
    /// A step that waits for itself.
    #[error("the step waits for itself, so it would never start; remove its own name here")]
    SelfDependency,
    /// A final step in an edge to a step that is not final.
    #[error(
        "{name:?} is in spec.finally, and starts when all steps of spec.steps have ended; remove it here, or move this step \
         to spec.finally"
    )]
    WaitsForFinal {
        /// The name of the final step.
        name: String,
    },
    /// A step that is not final in an edge to a final one.
    #[error(
        "{name:?} is in spec.steps, and has ended when the steps of spec.finally start, in whatever way; remove it here"
    )]
    FinalWaits {
        /// The name of the step that is not final.
        name: String,
    },
    /// A failure that counts as success is waited for.
    #[error(
        "{name:?} has `allowFailure: true`, so its failure counts as completion and this step would never start; \
         use `after`, or remove `allowFailure` from {name:?}"
    )]
    AllowedFailure {
        /// The name of the step that may fail.
        name: String,
    },
    /// A step that waits for both the success and the failure of another one.
    #[error(
        "the step waits for {name:?} to complete and to fail{}, so it would never start; remove one of both, \
         or use `after` to run it in any case", through_others(*.is_direct)
    )]
    NeverStarts {
        /// The name of the other step.
        name: String,
        /// Whether the step itself has both edges.
        is_direct: bool,
    },
    /// Steps that wait for each other.
    #[error("the steps wait for each other, so none would ever start: {}; remove one of these dependencies", describe_cycle(.steps))]
    Cycle {
        /// The names of the steps. Each step depends on the next, the last on the first.
        steps: Vec<String>,
    },
    /// An expression that cannot be evaluated.
    #[error("{error}")]
    InvalidExpression {
        /// Where in the expression, and what is wrong.
        error: ExpressionError,
    },
    /// An expression that names a step whose end its own step does not wait for.
    #[error(
        "the expression names the step {name:?}, which the step does not wait for; add {name:?} to `dependency`, \
         `onFailure` or `after` of this step"
    )]
    NamedWithoutEdge {
        /// The name of the step that is named.
        name: String,
    },
    /// An expression that names its own step.
    #[error(
        "the expression names its own step, which has not run; name a step that this step waits for"
    )]
    NamesItself,
    /// A variable with more than one value.
    #[error(
        "the variable has several values; remove all but one of `value`, `valueFrom` and `expr`"
    )]
    SeveralValues,
    /// A quantity that Kubernetes would refuse.
    #[error("{text:?} is not a resource quantity; use one such as `500m`, `2` or `1.5Gi`")]
    InvalidQuantity {
        /// The quantity as written.
        text: String,
    },
    /// A variable of kubeci's own.
    #[error(
        "the variable {name:?} is reserved: kubeci sets the variables that begin with `{VARIABLE_PREFIX}`; use another name"
    )]
    ReservedVariable {
        /// The name as written.
        name: String,
    },
    /// A volume mounted over the shared folder.
    #[error(
        "{mount_path:?} is reserved: the shared folder is mounted at `{WORKSPACE_MOUNT_PATH}` in every step; use another mountPath"
    )]
    ReservedMountPath {
        /// The path as written.
        mount_path: String,
    },
    /// The shared folder's own volume, mounted or defined by hand.
    #[error(
        "the volume name `{WORKSPACE_VOLUME}` is reserved: the shared folder is mounted at `{WORKSPACE_MOUNT_PATH}` in every step; use another name, or remove the volume"
    )]
    ReservedVolume,
    /// A volume of the relay pods' own.
    #[error("the volume name `{RELAY_VOLUME}` is reserved for relay pods; use another name")]
    RelayVolume,
    /// A mount of a volume that does not exist.
    #[error("spec.volumes has no volume {name:?}; {}", did_you_mean(.suggestion.as_deref(), "add it to spec.volumes"))]
    UnknownVolume {
        /// The name as written.
        name: String,
        /// The name of a volume that is like it.
        suggestion: Option<String>,
    },
    /// A workspace that lives in one pod, for steps that need more.
    #[error(
        "with `workspace: {{emptyDir: {{}}}}` all steps must fit into one pod, but they need {pods} pods: {why}; {}",
        instead_of_empty_dir(*.fits_relay)
    )]
    EmptyDirOfManyPods {
        /// How many pods the plan has.
        pods: usize,
        /// Which steps need more than one pod.
        why: String,
        /// Whether one pod would do with `execution: Relay`.
        fits_relay: bool,
    },
    /// A workspace that lives in one pod, and an approval before or after the pod.
    #[error(
        "with `workspace: {{emptyDir: {{}}}}` all steps must be in one pod, but these wait for an approval and have no \
         pod: {steps}; leave `workspace.emptyDir` out"
    )]
    EmptyDirWithApproval {
        /// The names of the approvals.
        steps: String,
    },
    /// A plan that cannot be stored.
    #[error("{found}")]
    TooLarge {
        /// What is too large.
        found: TooLarge,
    },
    /// A volume that is defined twice.
    #[error("{first} is {name:?}, too; rename one of the volumes")]
    DuplicateVolume {
        /// The name.
        name: String,
        /// The field of the volume that had it first.
        first: String,
    },
}

fn of_step(step: Option<&str>) -> String {
    step.map(|name| format!(" (step {name:?})"))
        .unwrap_or_default()
}

fn such_as(suggestion: Option<&str>) -> String {
    suggestion
        .map(|name| format!(", such as `{name}`"))
        .unwrap_or_default()
}

fn instead_of_empty_dir(fits_relay: bool) -> &'static str {
    if fits_relay {
        "use `execution: Relay`, which needs one pod, or leave `workspace.emptyDir` out"
    } else {
        "change these steps, or use `workspace: hostPath`"
    }
}

fn through_others(is_direct: bool) -> &'static str {
    if is_direct {
        ""
    } else {
        ", directly or through other steps"
    }
}

fn did_you_mean(suggestion: Option<&str>, otherwise: &str) -> String {
    suggestion.map_or_else(
        || otherwise.to_owned(),
        |name| format!("did you mean {name:?}?"),
    )
}
