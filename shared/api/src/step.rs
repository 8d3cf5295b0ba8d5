use k8s_openapi::api::core::v1::{
    EnvFromSource, ResourceRequirements, SecurityContext, VolumeMount,
};
use kube::{KubeSchema, core::Duration};
use serde::{Deserialize, Serialize};

use crate::schema::{step_duration, undescribed};
use crate::{Approval, EnvVar, Retry};

/// One container that runs to completion, or an approval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.dependency) || !(self.name in self.dependency)")
        .message("a step cannot depend on itself; remove its name from dependency"),
    validation = Rule::new("!has(self.onFailure) || !(self.name in self.onFailure)")
        .message("a step cannot wait for its own failure; remove its name from onFailure"),
    validation = Rule::new("!has(self.after) || !(self.name in self.after)")
        .message("a step cannot wait for its own end; remove its name from after"),
    validation = Rule::new("!has(self.volumeMounts) || self.volumeMounts.all(m, m.name != 'kubeci-workspace' && m.mountPath != '/kubeci')")
        .message("the shared folder is always mounted at /kubeci; use another volume name and mountPath"),
    validation = Rule::new("!has(self.env) || self.env.all(e, (has(e.value) ? 1 : 0) + (has(e.valueFrom) ? 1 : 0) + (has(e.expr) ? 1 : 0) <= 1)")
        .message("a variable has one value: remove all but one of value, valueFrom and expr"),
    validation = Rule::new("has(self.image) != has(self.approval)")
        .message("a step needs an image, or an approval in place of it; set exactly one of both"),
    validation = Rule::new("!has(self.approval) || !(has(self.commands) || has(self.args) || has(self.env) || has(self.envFrom) || has(self.resources) || has(self.workingDir) || has(self.imagePullPolicy) || has(self.securityContext) || has(self.volumeMounts) || has(self.retry) || (has(self.isolate) && self.isolate))")
        .message("an approval runs no container; remove commands, args, env, envFrom, resources, workingDir, imagePullPolicy, securityContext, volumeMounts, retry and isolate"),
)]
pub struct Step {
    /// The name of the step, unique in the Workflow. The container has the same name. It consists of at
    /// most 63 lower-case letters, digits and `-`. The names `kubeci-workspace` and `kubeci-runner` are
    /// reserved.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// The container image. Required, except for an approval.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1))]
    pub image: String,

    /// If set, the step runs no container. It waits until `status.approvals` of the Workplan approves or rejects
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,

    /// The command of the container, as `command` of a pod's container. Default: the entrypoint of the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,

    /// The arguments of the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,

    /// The names of the steps that must complete before this step starts. If one of them fails or is
    /// skipped, this step is skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 499), inner(length(min = 1, max = 63)))]
    pub dependency: Vec<String>,

    /// The names of the steps that must fail before this step starts. If one of them completes or is skipped,
    /// this step is skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 499), inner(length(min = 1, max = 63)))]
    pub on_failure: Vec<String>,

    /// The names of the steps that must end before this step starts: complete, fail or be skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 499), inner(length(min = 1, max = 63)))]
    pub after: Vec<String>,

    /// A CEL condition that is evaluated when the steps that this step waits for have ended, such as
    /// `steps.test.phase == "failed"`. If it is false, this step is skipped. It may name the steps in `dependency`,
    /// `onFailure` and `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub when: Option<String>,

    /// Whether the step may fail. Its failure then counts as completion for the steps that depend on it, and for
    /// the Workplan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_failure: bool,

    /// Whether the step runs in its own pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolate: bool,

    /// How long the command may run, such as `90s` or `1h`. After that it gets SIGTERM and, after the
    /// `terminationGracePeriodSeconds` of its pod, SIGKILL, and the step fails with the reason `Timeout`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::duration::serialize_some"
    )]
    #[schemars(schema_with = "step_duration")]
    pub timeout: Option<Duration>,

    /// When the step is attempted again after it has failed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,

    /// Environment variables of the container, at most 250.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 250))]
    pub env: Vec<EnvVar>,

    /// ConfigMaps and Secrets whose entries become environment variables of the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "undescribed::<Vec<EnvFromSource>>")]
    pub env_from: Vec<EnvFromSource>,

    /// The resource requests and limits of the container.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::quantity::requirements"
    )]
    #[schemars(schema_with = "crate::quantity::requirements_schema")]
    pub resources: Option<ResourceRequirements>,

    /// The working directory of the command. Default: the working directory of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,

    /// When the kubelet pulls the image: `Always`, `IfNotPresent` or `Never`. Default: `Always` for the tag
    /// `latest` or no tag, otherwise `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(Always|IfNotPresent|Never)$"))]
    pub image_pull_policy: Option<String>,

    /// The security context of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "undescribed::<SecurityContext>")]
    pub security_context: Option<SecurityContext>,

    /// Mounts of the Workflow's `volumes`. The shared folder is always mounted at `/kubeci`; do not mount it
    /// here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "undescribed::<Vec<VolumeMount>>", length(max = 50))]
    pub volume_mounts: Vec<VolumeMount>,
}
