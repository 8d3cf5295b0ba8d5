use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Runs another Workplan again, from where it failed or from a step. The operator copies its spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Rerun {
    /// The name of the Workplan. It is in the same namespace and has ended.
    #[schemars(length(min = 1, max = 59))]
    pub of: String,

    /// What runs again. `Failed` (default): the steps that have not completed. The name of a step: this step, too.
    /// The steps after them also run again. All other steps count as completed, with their outputs.
    #[serde(default, skip_serializing_if = "RerunFrom::is_failed")]
    #[schemars(with = "String", length(min = 1, max = 63))]
    pub from: RerunFrom,
}

/// The steps that run again. The names of steps have no capitals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
pub enum RerunFrom {
    /// Those that have not completed.
    #[default]
    Failed,
    /// This one, and those that have not completed.
    Step(String),
}

const FAILED: &str = "Failed";

impl RerunFrom {
    fn is_failed(&self) -> bool {
        *self == Self::Failed
    }
}

impl From<String> for RerunFrom {
    fn from(text: String) -> Self {
        match text.as_str() {
            FAILED => Self::Failed,
            _ => Self::Step(text),
        }
    }
}

impl From<RerunFrom> for String {
    fn from(from: RerunFrom) -> Self {
        match from {
            RerunFrom::Failed => FAILED.to_owned(),
            RerunFrom::Step(name) => name,
        }
    }
}
