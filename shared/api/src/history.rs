use kube::{KubeSchema, core::Duration};
use serde::{Deserialize, Serialize};

use crate::schema::duration;

/// Limits for the ended Workplans of a Workflow. The operator deletes a Workplan that exceeds one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// The number of completed Workplans to keep. The Workplans that ended last are kept; 0 keeps none.
    /// Default: the operator's `--history-succeeded`, which is 100 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub succeeded: Option<i32>,

    /// The number of failed and cancelled Workplans to keep. The Workplans that ended last are kept; 0 keeps none.
    /// Default: the operator's `--history-failed`, which is 100 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failed: Option<i32>,

    /// How long to keep a Workplan after `status.finishedAt`, such as `168h`, `1h30m` or `90s`.
    /// Default: the operator's `--history-ttl`, which is `168h` unless set.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::duration::serialize_some"
    )]
    #[schemars(schema_with = "duration")]
    pub ttl: Option<Duration>,
}

/// The Workplans that the operator has deleted because of `spec.history`. `succeeded` and `failed` of the
/// status still count them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryStatus {
    /// The number of deleted Workplans that had completed.
    #[serde(default)]
    pub succeeded: i64,

    /// The number of deleted Workplans that had failed or were cancelled.
    #[serde(default)]
    pub failed: i64,

    /// The names of the Workplans that are being deleted now, at most 100.
    #[serde(default)]
    pub deleting: Vec<String>,
}
