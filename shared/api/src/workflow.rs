use std::collections::BTreeMap;
use std::num::NonZeroU16;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::schema::{duration, list_by_type, without_item_rules};
use crate::{Execution, History, HistoryStatus, PodSettings, Step, Trigger, Workspace};

/// The steps to run, and the triggers that run them.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kube.ci",
    version = "v1alpha1",
    kind = "Workflow",
    namespaced,
    status = "WorkflowStatus",
    derive = "PartialEq",
    shortname = "wfl",
    category = "kubeci",
    doc = "A Workflow declares steps (containers with dependencies) and triggers (changes of Kubernetes objects). The operator creates a Workplan for each event that a trigger matches.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name of a Workflow has at most 63 characters"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.active"),
    printcolumn(name = "Succeeded", type_ = "integer", json_path = ".status.succeeded"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed"),
    printcolumn(name = "Last-Fired", type_ = "date", json_path = ".status.lastFired"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Last-Workplan", type_ = "string", json_path = ".status.lastWorkplan", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
)]
#[x_kube(
    validation = Rule::new("!has(self.volumes) || self.volumes.all(v, v.name != 'kubeci-workspace')")
        .message("the volume name kubeci-workspace is reserved for the shared folder; use another name"),
)]
pub struct WorkflowSpec {
    /// The steps to run, 1 to 500. A step starts when all steps in its `dependency` have completed.
    #[schemars(length(min = 1, max = 500), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub steps: Vec<Step>,

    /// Steps that run when all `steps` have ended, in whatever way, at most 100: also after a failure, a cancel or a
    /// time limit. Their `dependency`, `onFailure` and `after` name steps of this list. If one of them fails, the
    /// Workplan fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), transform = without_item_rules, extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub finally: Vec<Step>,

    /// The triggers, at most 100. An event that matches one of them fires the Workflow. Without triggers the
    /// Workflow never fires.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub triggers: Vec<Trigger>,

    /// How a step starts after the steps that it depends on. Default: the operator's `--execution`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Execution>,

    /// The maximum number of steps of one Workplan that run at the same time, 1 to 500. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub max_parallel: Option<NonZeroU16>,

    /// The volume of the shared folder at `/kubeci`. Default: `hostPath: {}`. With `emptyDir: {}` all steps must fit
    /// into one pod, which most Workflows do with `execution: Relay`. `keep` leaves a folder on the node for some time.
    #[serde(default, skip_serializing_if = "Workspace::is_default")]
    pub workspace: Workspace,

    /// How long a Workplan may run, such as `10m` or `1h30m`, from the start of its first step. After that the
    /// steps that run are stopped, the others are skipped, and the Workplan fails with the reason `Timeout`.
    /// Default: no limit.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::duration::serialize_some"
    )]
    #[schemars(schema_with = "duration")]
    pub timeout: Option<Duration>,

    /// How long a Workplan may wait for the start of its first step, from its creation. After that it fails
    /// with the reason `PendingTimeout`. Default: the workplan operator's `--pending-timeout`, which is `1h`
    /// unless set.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::duration::serialize_some"
    )]
    #[schemars(schema_with = "duration")]
    pub pending_timeout: Option<Duration>,

    /// Whether the first failure of a step ends the Workplan: the steps that run are stopped, the others are
    /// skipped. Default: steps that do not depend on the failed step run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fail_fast: bool,

    /// How many ended Workplans are kept, and for how long. Default: the operator's `--history-*` flags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,

    /// Settings of every pod.
    #[serde(flatten)]
    pub pod: PodSettings,
}

/// The observed state of a Workflow. The workflow operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowStatus {
    /// The `metadata.generation` of the Workflow that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The `metadata.generation` of the Workflow when it last fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_observed_generation: Option<i64>,

    /// The last observed state of each matching object, by the uid of the object: a hash of the content
    /// outside `metadata` and `status`. If `metadata.generation` counts every change of the kind, it follows
    /// the hash after a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub last_observed_resource_generation: Option<BTreeMap<String, String>>,

    /// The objects that the Workflow keeps track of, by uid, with the last event of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub ledger: BTreeMap<String, LedgerEntry>,

    /// The ledger contains the events of all Workplans whose label `kube.ci/sequence` is not above this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<i64>,

    /// `Compiled`: the steps form a valid plan. `TriggersWatched`: every trigger is watched. `Ready`: both, and
    /// the API server accepts the Workplans. The message says what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_by_type::<Vec<Condition>>")]
    pub conditions: Vec<Condition>,

    /// The name of the Workplan that was created last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_workplan: Option<String>,

    /// When the Workflow last fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fired: Option<MicroTime>,

    /// The number of its Workplans that are pending or running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<i64>,

    /// The number of events that wait for their Workplans, because the operator has created as many as its
    /// `--max-active-workplans` allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<i64>,

    /// The number of states that did not fire, because too many states of one object waited for their
    /// Workplans. The latest state of an object is never dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<i64>,

    /// The number of its Workplans that have completed, with those that were deleted because of `spec.history`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<i64>,

    /// The number of its Workplans that have failed or were cancelled, with those that were deleted because of
    /// `spec.history`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<i64>,

    /// The Workplans that the operator has deleted because of `spec.history`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryStatus>,
}

/// One object that a Workflow keeps track of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// The resource, such as `configmaps.v1` or `deployments.v1.apps`.
    pub resource: String,
    /// The kind of the object.
    pub kind: String,
    /// The namespace of the object. Not set for a cluster-scoped kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: String,
    /// The label `kube.ci/head` of the last Workplan that the object fired. Not set before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Whether the deletion of the object fires.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_delete: bool,
}
