use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Kubernetes objects to watch, and the events that fire the Workflow. An object matches if all filters
/// match it. A filter that is not set matches every object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.onAddOrUpdate) && self.onAddOrUpdate) || (has(self.onDelete) && self.onDelete)")
        .message("a trigger needs onAddOrUpdate: true, onDelete: true, or both"),
)]
pub struct Trigger {
    /// The `apiVersion` of the objects, as in their manifests, such as `v1` or `apps/v1`.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,

    /// The `kind` of the objects, as in their manifests, such as `ConfigMap`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// The plural name of the kind in the API, such as `configmaps`. Optional: the operator finds it by
    /// discovery. If it is set, it must agree with discovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub resource: Option<String>,

    /// The name of the object. Default: objects of every name match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// The namespace of the objects; `"*"` means all namespaces. Default: the namespace of the Workflow.
    /// For another namespace, for `"*"` and for a cluster-scoped kind, the ServiceAccount in
    /// `serviceAccountName` must be allowed to watch the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")
    )]
    pub namespace: Option<String>,

    /// A label selector for the objects. Default: objects with any labels match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// Whether to fire when an object is added, begins to match, or changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_add_or_update: bool,

    /// Whether to fire when a matching object is deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_delete: bool,
}

/// A change of an object.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum TriggerEvent {
    /// The object was created, or began to match.
    Add,
    /// The object changed.
    Update,
    /// The object was deleted.
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
    /// The namespace of the object. Not set for a cluster-scoped kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: String,
    /// The uid of the object.
    pub uid: String,
    /// `add`: the object was created, or began to match. `update`: it changed. `delete`: it was deleted.
    pub event: TriggerEvent,
    /// A fingerprint of the object's state: a hash of its content outside `metadata` and `status`.
    pub token: String,
    /// The generation of the object, if each change of its content changes the generation. The same generation is the
    /// same state, also where a new version of the API server or the scheduler adds to the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// The event, the kind and the name: `update Deployment/shop`. The column TRIGGER shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}
