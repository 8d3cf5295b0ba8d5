use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What a step waits for that runs no container, but waits for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// What is to be approved, such as `Deploy version 1.4 to production?`. The status shows it while the step
    /// waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub message: Option<String>,
}

/// The approval or the rejection of a step, which a user writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepApproval {
    /// The name of a step with `approval`.
    #[schemars(length(min = 1, max = 63))]
    pub step: String,

    /// Whether the step is approved. `false` rejects it.
    #[serde(default = "approved")]
    pub approved: bool,

    /// Who approves or rejects the step. kubeci does not verify it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub by: Option<String>,

    /// When the step was approved or rejected. Default: when the operator observes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,

    /// Why the step is approved or rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub message: Option<String>,
}

const fn approved() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_without_a_decision_approves() {
        let entry: StepApproval = serde_json::from_str(r#"{"step": "gate"}"#).unwrap();
        assert!(entry.approved);
    }
}
