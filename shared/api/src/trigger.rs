use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::undescribed;

/// A kind of Kubernetes object to watch, which of them, and which of their events fire the Workflow.
/// All filters must match; an absent one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.onAddOrUpdate) && self.onAddOrUpdate) || (has(self.onDelete) && self.onDelete)")
        .message("a trigger needs onAddOrUpdate: true, onDelete: true, or both"),
)]
pub struct Trigger {
    /// The API group and version of the objects, as in their manifests: `v1`, `apps/v1`.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,

    /// The kind of the objects, as in their manifests: `ConfigMap`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// The plural name of the kind in the API: `configmaps`. Absent: found by discovery, with which it
    /// must agree when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub resource: Option<String>,

    /// The name of the one object to watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// The namespace of the objects, `"*"` for all. Absent: the Workflow's own. Another namespace, `"*"`
    /// or a kind without namespaces needs the Workflow's `serviceAccountName` to be allowed to watch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")
    )]
    pub namespace: Option<String>,

    /// The labels of the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "undescribed::<LabelSelector>")]
    pub selector: Option<LabelSelector>,

    /// Fire when a matching object appears and when it changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_add_or_update: bool,

    /// Fire when a matching object is deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_delete: bool,
}

/// What happened to an object.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum TriggerEvent {
    /// It appeared, or began to match.
    Add,
    /// It changed.
    Update,
    /// It was deleted.
    Delete,
}

impl TriggerEvent {
    /// The event as it is written in a Workplan.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// The event that fired a Workplan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriggeredBy {
    /// The API group and version of the object.
    pub api_version: String,
    /// The kind of the object.
    pub kind: String,
    /// The namespace of the object; absent for a kind without namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: String,
    /// The uid of the object.
    pub uid: String,
    /// What happened to it.
    pub event: TriggerEvent,
    /// The object's state: a hash of its content outside `metadata` and `status`.
    pub token: String,
}
