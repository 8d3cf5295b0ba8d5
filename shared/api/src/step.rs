use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, ResourceRequirements, SecurityContext, VolumeMount,
};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema::undescribed;

/// One container that runs to its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.dependency) || !(self.name in self.dependency)")
        .message("a step cannot depend on itself; remove its own name from dependency"),
    validation = Rule::new("!has(self.volumeMounts) || self.volumeMounts.all(m, m.name != 'kubeci-workspace' && m.mountPath != '/kubeci')")
        .message("the shared folder is mounted at /kubeci by itself; use another volume name and mountPath"),
)]
pub struct Step {
    /// The step's name, unique in the Workflow; its container has the same. Lower-case letters, digits
    /// and `-`, at most 63.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// The container's image.
    #[schemars(length(min = 1))]
    pub image: String,

    /// The container's command. Absent: the image's own entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,

    /// The arguments of the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,

    /// The steps that must have succeeded before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 499), inner(length(min = 1, max = 63)))]
    pub dependency: Vec<String>,

    /// Whether the step gets a pod of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolate: bool,

    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "undescribed::<Vec<EnvVar>>")]
    pub env: Vec<EnvVar>,

    /// ConfigMaps and Secrets whose entries become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "undescribed::<Vec<EnvFromSource>>")]
    pub env_from: Vec<EnvFromSource>,

    /// What the container requests of its node, and its limits.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::quantity::requirements"
    )]
    #[schemars(schema_with = "crate::quantity::requirements_schema")]
    pub resources: Option<ResourceRequirements>,

    /// The folder in which the command starts. Absent: the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,

    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`. Absent: `Always` for a `:latest`
    /// image, else `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(Always|IfNotPresent|Never)$"))]
    pub image_pull_policy: Option<String>,

    /// The security context of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "undescribed::<SecurityContext>")]
    pub security_context: Option<SecurityContext>,

    /// Where the Workflow's `volumes` are mounted. The shared folder is mounted at `/kubeci` by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "undescribed::<Vec<VolumeMount>>", length(max = 50))]
    pub volume_mounts: Vec<VolumeMount>,
}
