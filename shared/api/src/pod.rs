use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, PodSecurityContext, Toleration, Volume,
};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{list_by_name, undescribed};

/// Settings of every pod of a plan. The fields have the names and the meaning that they have in a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// The ServiceAccount of every pod of the plan. For a trigger on another namespace, or on a
    /// cluster-scoped kind, this ServiceAccount must be allowed to watch the resource. Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,

    /// Whether the token of the ServiceAccount is mounted into the steps' containers. Default: the setting
    /// of the ServiceAccount, which is `true` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,

    /// Labels that the node of the plan must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// The node taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "undescribed::<Vec<Toleration>>")]
    pub tolerations: Vec<Toleration>,

    /// Scheduling constraints of the plan's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "undescribed::<Affinity>")]
    pub affinity: Option<Affinity>,

    /// Secrets with the credentials to pull the steps' images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "undescribed::<Vec<LocalObjectReference>>")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// The security context of every pod. If steps run as a user other than root, set `runAsUser` or
    /// `runAsNonRoot` here or in the step: the operator then makes the shared folder writable for every
    /// user before the first step starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "undescribed::<PodSecurityContext>")]
    pub security_context: Option<PodSecurityContext>,

    /// Volumes that the steps mount with `volumeMounts`. The names `kubeci-workspace` and
    /// `kubeci-relay` are reserved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_by_name::<Vec<Volume>>", length(max = 100))]
    pub volumes: Vec<Volume>,
}
