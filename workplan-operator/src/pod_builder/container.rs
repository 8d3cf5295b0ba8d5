//! What the containers of all pods have in common.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, ResourceRequirements, SecurityContext, VolumeMount,
};
use kube::ResourceExt;
use kubeci_api::names::{WORKSPACE_MOUNT_PATH, WORKSPACE_VOLUME};
use kubeci_api::{Step, Task, Workplan};
use kubeci_compiler::{Limits, Need};

use crate::workspace::workflow;

/// The container of a step as it was written, with the shared folder and the variables of kubeci, without the variables
/// whose values are expressions.
pub fn container(workplan: &Workplan, step: &Step) -> Container {
    let own = variables(workplan, step);
    let step = step.clone();
    let env = step
        .env
        .into_iter()
        .filter_map(kubeci_api::EnvVar::without_expression);
    let env = own.into_iter().chain(env);
    Container {
        name: step.name,
        image: Some(step.image),
        command: some(step.commands),
        args: some(step.args),
        env: some(env.collect()),
        env_from: some(step.env_from),
        resources: step.resources,
        working_dir: step.working_dir,
        image_pull_policy: step.image_pull_policy,
        security_context: step.security_context,
        volume_mounts: Some([mount()].into_iter().chain(step.volume_mounts).collect()),
        // So that the status contains the end of the log of a failed step.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

/// The variables of kubeci. They come first, so that other variables can refer to them.
fn variables(workplan: &Workplan, step: &Step) -> [EnvVar; 4] {
    [
        (
            "KUBECI_WORKFLOW",
            workflow(workplan).unwrap_or_default().to_owned(),
        ),
        ("KUBECI_WORKPLAN", workplan.name_any()),
        ("KUBECI_NAMESPACE", workplan.namespace().unwrap_or_default()),
        ("KUBECI_STEP", step.name.clone()),
    ]
    .map(|(name, value)| variable(name, &value))
}

pub fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: Some(value.into()),
        ..EnvVar::default()
    }
}

/// What the containers need that prepare a pod: a moment of work at its start.
const PREPARES: [Need; 3] = [
    need("cpu", 1000, 100),
    need("memory", 64 << 20, 32 << 20),
    need("ephemeral-storage", 64 << 20, 16 << 20),
];

/// A core in thousandths, or bytes.
const fn need(resource: &'static str, limit: u128, least_limit: u128) -> Need {
    let unit = if resource.len() == "cpu".len() {
        1
    } else {
        1000
    };
    Need {
        resource,
        request: 0,
        limit: limit * unit,
        least_limit: least_limit * unit,
    }
}

/// The resources of a container that prepares the pod of a task.
pub fn preparing(task: &Task, limits: &Limits, together: bool) -> Option<ResourceRequirements> {
    let steps = task.steps().filter_map(|step| step.resources.clone());
    limits.own(&PREPARES, &steps.collect::<Vec<_>>(), together)
}

/// Root with only these capabilities, independent of the pod.
pub fn as_root(capabilities: &[&str]) -> SecurityContext {
    let add: Vec<String> = capabilities.iter().map(ToString::to_string).collect();
    SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        run_as_non_root: Some(false),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            add: some(add),
            drop: Some(vec!["ALL".into()]),
        }),
        ..SecurityContext::default()
    }
}

pub fn mount() -> VolumeMount {
    VolumeMount {
        name: WORKSPACE_VOLUME.into(),
        mount_path: WORKSPACE_MOUNT_PATH.into(),
        ..VolumeMount::default()
    }
}

pub fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
