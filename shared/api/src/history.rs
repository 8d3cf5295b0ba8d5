use kube::{KubeSchema, core::Duration};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How many of a Workflow's ended Workplans are kept, and for how long; what is beyond either is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// How many completed Workplans are kept, the latest. Absent: the operator's default, 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub succeeded: Option<i32>,

    /// How many failed Workplans are kept, the latest. Absent: the operator's default, 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failed: Option<i32>,

    /// How long a Workplan is kept after it has ended, as in `168h`, `1h30m` or `90s`. Absent: the
    /// operator's default, `168h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub ttl: Option<Duration>,
}

/// The Workplans that the operator has deleted, which `succeeded` and `failed` of the status still count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryStatus {
    /// How many of them had completed.
    #[serde(default)]
    pub succeeded: i64,

    /// How many of them had failed.
    #[serde(default)]
    pub failed: i64,

    /// The names of those that are being deleted now.
    #[serde(default)]
    pub deleting: Vec<String>,
}

/// A duration as the Gateway API writes it, which Go and Kubernetes read too.
fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')",
            "message": "a duration is up to four numbers with units h, m, s or ms, as in 168h, 1h30m or 90s; a day is 24h",
        }],
    })
}
