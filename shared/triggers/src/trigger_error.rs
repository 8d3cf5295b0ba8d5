use crate::filter::FilterError;

/// A trigger is invalid until its Workflow changes. The message names the field and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// The trigger cannot be read.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The kind has another plural name.
    #[error(
        "spec.triggers[{index}].resource: the resource of {kind} is {served:?}, not {given:?}; correct or remove it"
    )]
    WrongResource {
        index: usize,
        kind: String,
        given: String,
        served: String,
    },
    /// The resource does not support `list` and `watch`.
    #[error(
        "spec.triggers[{index}].kind: {kind} cannot be listed and watched, so it cannot be a trigger; use another kind"
    )]
    NotWatchable { index: usize, kind: String },
    /// The trigger names a namespace, but the resource has none.
    #[error("spec.triggers[{index}].namespace: {plural} are cluster-scoped; remove the namespace")]
    ClusterScoped { index: usize, plural: String },
    /// An earlier trigger names the same kind at another version.
    #[error(
        "spec.triggers[{index}].apiVersion: spec.triggers[{first}] has {kind} in {api_version:?}; use the same version in both triggers"
    )]
    ConflictingVersion {
        index: usize,
        first: usize,
        kind: String,
        api_version: String,
    },
}
