use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of volume of the shared folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WorkspaceKind {
    /// A folder on the node, for any number of pods. The operator removes it after the Workplan has ended.
    #[default]
    HostPath,
    /// An `emptyDir` volume, for Workplans with one pod. Pod Security `restricted` allows it.
    EmptyDir,
}

impl WorkspaceKind {
    /// Whether this is the default kind.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's skip_serializing_if passes a reference
    pub fn is_host_path(&self) -> bool {
        *self == Self::HostPath
    }
}
