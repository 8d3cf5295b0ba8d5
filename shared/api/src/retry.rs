use kube::{KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::step_duration;

/// When a failed step is attempted again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// The number of attempts after the first one, 1 to 20.
    #[schemars(range(min = 1, max = 20))]
    pub limit: u32,

    /// The pauses between attempts. Default: the next attempt starts at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,

    /// The failures after which there is another attempt. Default: `Failure`, `Timeout` and `OOMKilled`. In YAML the
    /// word `"on"` needs quotes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub on: Vec<RetryOn>,

    /// If set, a `Failure` with another exit code is not attempted again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(range(min = 1, max = 255)))]
    pub exit_codes: Vec<i32>,
}

/// The pauses between the attempts of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// The pause before the second attempt, such as `500ms` or `10s`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::duration::serialize_some"
    )]
    #[schemars(schema_with = "step_duration")]
    pub initial: Option<Duration>,

    /// What each pause is multiplied by to get the next one. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub factor: Option<u32>,

    /// The longest pause. Default: `5m`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::duration::serialize_some"
    )]
    #[schemars(schema_with = "step_duration")]
    pub max: Option<Duration>,
}

/// The kind of a failure. `Failure`: the exit code is not 0, or the step could not start. `Timeout`: the step took
/// longer than its `timeout`. `OOMKilled`: its container used more memory than its limit. `Infrastructure`: its pod
/// was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RetryOn {
    /// The command ended with an exit code other than 0, or could not be started.
    Failure,
    /// The step took longer than its `timeout`.
    Timeout,
    /// The container used more memory than its limit.
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// The pod was lost after the step had started: evicted, preempted, deleted by hand, or with its node.
    Infrastructure,
}
