use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, PodSecurityContext, Toleration, Volume,
};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::schema::{list_by_name, undescribed};

/// What holds for every pod of a plan, with the names and meaning that a pod's own fields have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// The ServiceAccount of every pod of the plan, and the one that must be allowed to watch what
    /// the triggers name outside the Workflow's own namespace. Absent: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,

    /// Whether the steps find the ServiceAccount's token in their containers. Absent: as the ServiceAccount
    /// says; where that says nothing, they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,

    /// Labels that the node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "undescribed::<Vec<Toleration>>")]
    pub tolerations: Vec<Toleration>,

    /// Where the scheduler may place the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "undescribed::<Affinity>")]
    pub affinity: Option<Affinity>,

    /// Secrets with the credentials for the steps' images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "undescribed::<Vec<LocalObjectReference>>")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// The security context of every pod. Where steps run as another user than root, say so here or in
    /// the step: the shared folder is then made writable for every user before the first step starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "undescribed::<PodSecurityContext>")]
    pub security_context: Option<PodSecurityContext>,

    /// Volumes that the steps' `volumeMounts` name. `kubeci-workspace` is taken by the shared folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_by_name::<Vec<Volume>>", length(max = 100))]
    pub volumes: Vec<Volume>,
}
