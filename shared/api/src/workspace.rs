use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the shared folder of a Workplan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WorkspaceKind {
    /// A folder of the node, for any number of pods; removed when the Workplan has ended.
    #[default]
    HostPath,
    /// A folder of the pod, for Workplans of one pod; gone with it. Pod Security `restricted` allows it.
    EmptyDir,
}

impl WorkspaceKind {
    /// Whether this is the kind that need not be said.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's skip_serializing_if passes a reference
    pub fn is_host_path(&self) -> bool {
        *self == Self::HostPath
    }
}
