use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::schema::list_by_type;
use crate::{Execution, History, HistoryStatus, PodSettings, Step, Trigger, WorkspaceKind};

/// When and what to run: triggers on Kubernetes resources, and container steps with dependencies.
/// Each triggering event becomes a Workplan.
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
    doc = "A Workflow says when to run (triggers on any Kubernetes resource) and what (container steps with dependencies). Each triggering event becomes a Workplan.",
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
        .message("the volume name kubeci-workspace is taken by the shared folder; use another"),
)]
pub struct WorkflowSpec {
    /// The containers to run, 1 to 500. A step starts once all that it depends on have succeeded.
    #[schemars(length(min = 1, max = 500), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub steps: Vec<Step>,

    /// The events that fire the Workflow; any one of them does. Absent: nothing does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub triggers: Vec<Trigger>,

    /// How the steps hand over to each other. Absent: the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Execution>,

    /// What the shared folder is. `hostPath` (default): a folder of the node. `emptyDir`: a folder of the
    /// pod, where all steps fit into one pod, as most do with `execution: Relay`.
    #[serde(default, skip_serializing_if = "WorkspaceKind::is_host_path")]
    pub workspace: WorkspaceKind,

    /// How many ended Workplans are kept, and for how long. Absent: the operator's defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,

    /// What holds for every pod.
    #[serde(flatten)]
    pub pod: PodSettings,
}

/// What the workflow operator last saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowStatus {
    /// The generation of the Workflow that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The generation that the Workflow had when it last fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_observed_generation: Option<i64>,

    /// The state in which each matching object was last seen, by the object's uid: a hash of its content
    /// outside `metadata` and `status`; behind a dot its `metadata.generation` where that counts all changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub last_observed_resource_generation: Option<BTreeMap<String, String>>,

    /// Which object each uid is, and the last link in its chain of events.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub ledger: BTreeMap<String, LedgerEntry>,

    /// The events of all Workplans up to this number, their label `kube.ci/sequence`, are in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<i64>,

    /// `Ready`, `Compiled` and `TriggersWatched`: whether it holds, why, and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_by_type::<Vec<Condition>>")]
    pub conditions: Vec<Condition>,

    /// The name of the Workplan that was created last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_workplan: Option<String>,

    /// When the Workflow last fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fired: Option<MicroTime>,

    /// How many of its Workplans are pending or running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<i64>,

    /// How many of its Workplans have completed, those that `history` has deleted included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<i64>,

    /// How many of its Workplans have failed, those that `history` has deleted included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<i64>,

    /// The Workplans that the operator has deleted because they were beyond `spec.history`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryStatus>,
}

/// What is remembered of one object that a Workflow watches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// The resource, as `configmaps.v1` or `deployments.v1.apps`.
    pub resource: String,
    /// The kind of the object.
    pub kind: String,
    /// The namespace of the object; absent for a kind without namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: String,
    /// The last event that fired; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Whether the object's deletion fires.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_delete: bool,
}
