//! A relay pod: all its containers start together, and the step runner in each of them waits for the dependencies of
//! its step.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, ExecAction, Lifecycle, LifecycleHandler,
    ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::names::{RELAY_VOLUME, RUNNER_CONTAINER, WORKSPACE_MOUNT_PATH};
use kubeci_api::{Step, Task, Workplan};
use kubeci_compiler::{relay_shares, retry_policy};
use kubeci_plan::{DurationText, FailureKind, NamedEdge, RetryPolicy};

use super::container::{as_root, container, mount, preparing, some};
use super::{Parts, Placement};
use crate::output_bounds::of_record;

/// The step runner in the operator's own image.
const IN_IMAGE: &str = "/step-runner";
/// The step runner in the steps' containers.
pub const IN_STEPS: &str = "/.kubeci/.bin/step-runner";

/// The volume of the step runner and of the records of the steps, each in its own folder: a few KiB for each step, in
/// memory, so that no write waits for a disk.
const RELAY_PATH: &str = "/.kubeci";
const RELAY_SIZE: &str = "16Mi";

/// The time from SIGTERM to SIGKILL: the pod has the default of Kubernetes for `terminationGracePeriodSeconds`.
const GRACE: Duration = Duration::from_secs(30);

/// A user that owns nothing in any image; the volumes are open to all.
const NOBODY: i64 = 65532;

/// How a step waits for other steps of its pod.
pub struct Waits<'a> {
    /// The edges to it from these.
    pub needs: Vec<NamedEdge<&'a str>>,
    /// Those of these steps that may be attempted again in another pod.
    pub repeated: Vec<&'a str>,
    /// Whether it must observe at once that an edge is broken, because other steps go on when it is skipped.
    pub at_once: bool,
    /// The arguments with its condition, its variables that have expressions, and the values that these name.
    pub expressions: Vec<String>,
}

pub fn parts<'a>(
    workplan: &Workplan,
    task: &Task,
    waits: impl Fn(&str) -> Waits<'a>,
    placement: &Placement,
    opens: bool,
) -> Parts {
    let own = preparing(task, placement.limits, true);
    let max_parallel = workplan.spec.max_parallel;
    let most = max_parallel.map(Into::into);
    let shares = relay_shares(
        task,
        &workplan.spec.finally,
        most,
        placement.limits,
        own.as_ref(),
    );
    let slots = slots(task, max_parallel);
    let containers = task.steps().zip(shares);
    let output_bytes = of_record(workplan, 1 + task.steps().count());
    let outputs = ["--output-bytes".to_owned(), output_bytes.to_string()];
    let options = [&slots[..], &outputs].concat();
    let waiting = |(step, requests)| Container {
        resources: resources(step, requests),
        ..waiting(workplan, step, &waits(&step.name), &options)
    };
    let installer = Container {
        resources: own,
        ..installer(task, &slots, placement.image, opens)
    };
    Parts {
        default_container: task.steps().next().map(|step| step.name.clone()),
        main: [installer]
            .into_iter()
            .chain(containers.map(waiting))
            .collect(),
        volumes: volumes(),
        ..Parts::default()
    }
}

/// Installs the step runner, after it has opened the shared folder if necessary. The kubelet starts the next container
/// when its hook has ended. The end of an init container would be noticed up to a second late.
fn installer(task: &Task, slots: &[String], image: &str, opens: bool) -> Container {
    let install = [IN_IMAGE, "install", "--relay", RELAY_PATH];
    let names = task.steps().map(|step| step.name.as_str());
    let install = install.into_iter().map(Into::into);
    let mut words: Vec<String> = install
        .chain(slots.iter().cloned())
        .chain(names.map(Into::into))
        .collect();
    let mut mounts = vec![volume_mount(RELAY_VOLUME, RELAY_PATH)];
    let mut command = None;
    if opens {
        // The entrypoint of the image is the operator, which executes the following program.
        let open = ["open-workspace", WORKSPACE_MOUNT_PATH].map(Into::into);
        words.splice(0..0, open);
        mounts.push(mount());
    } else {
        command = Some(words.drain(..1).collect());
    }
    Container {
        name: RUNNER_CONTAINER.into(),
        image: Some(image.into()),
        command,
        args: Some(words),
        image_pull_policy: Some("IfNotPresent".into()),
        lifecycle: Some(held_until_installed()),
        security_context: Some(if opens { as_root(&[]) } else { as_nobody() }),
        volume_mounts: Some(mounts),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

fn held_until_installed() -> Lifecycle {
    let command = [IN_IMAGE, "installed", "--relay", RELAY_PATH];
    Lifecycle {
        post_start: Some(LifecycleHandler {
            exec: Some(ExecAction {
                command: Some(command.map(Into::into).to_vec()),
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// The container of a step as it was written, with the step runner in front of its command.
fn waiting(workplan: &Workplan, step: &Step, waits: &Waits, options: &[String]) -> Container {
    let mut container = container(workplan, step);
    let late = container.working_dir.take_if(|dir| is_shared(step, dir));
    let runner = runner(step, waits, late, options);
    let command = container.command.replace(runner);
    let words = command.into_iter().chain(container.args.take()).flatten();
    container.args = Some(words.collect());
    // The step runner writes the result there, with the message of the step itself. If the step runner could not start,
    // the runtime writes the cause to the log.
    container.termination_message_policy = Some("FallbackToLogsOnError".into());
    let own = VolumeMount {
        sub_path: Some(step.name.clone()),
        ..volume_mount(RELAY_VOLUME, &format!("{RELAY_PATH}/{}", step.name))
    };
    let all = VolumeMount {
        read_only: Some(true),
        ..volume_mount(RELAY_VOLUME, RELAY_PATH)
    };
    container
        .volume_mounts
        .get_or_insert_default()
        .extend([all, own]);
    container
}

/// Whether an earlier step may create a folder, so that the runtime would create it too early, when the container
/// starts. An earlier step cannot create a folder in the image.
fn is_shared(step: &Step, dir: &str) -> bool {
    let user = step.volume_mounts.iter().map(|it| it.mount_path.as_str());
    let mut mounts = user.chain([WORKSPACE_MOUNT_PATH]);
    mounts.any(|mount| Path::new(dir).starts_with(mount))
}

/// The slots that the steps share, as arguments of the step runner; none where all steps may run at the same time.
fn slots(task: &Task, max_parallel: Option<NonZeroU16>) -> Vec<String> {
    let is_fewer = |slots: &NonZeroU16| usize::from(slots.get()) < task.steps().count();
    let slots = max_parallel.filter(is_fewer);
    let words = slots.map(|slots| ["--slots".to_owned(), slots.to_string()]);
    words.into_iter().flatten().collect()
}

fn runner(step: &Step, waits: &Waits, dir: Option<String>, options: &[String]) -> Vec<String> {
    let needs: Vec<String> = waits.needs.iter().map(ToString::to_string).collect();
    let at_once = waits.at_once && needs.len() > 1;
    let needs = (!needs.is_empty()).then(|| ["--needs".to_owned(), needs.join(",")]);
    let repeated = &waits.repeated;
    let repeated = (!repeated.is_empty()).then(|| ["--repeated".to_owned(), repeated.join(",")]);
    // The kubelet expands variables in a command, and none in a working directory.
    let dir = dir.map(|dir| ["--dir".to_owned(), dir.replace('$', "$$")]);
    let run = [IN_STEPS, "run", "--relay", RELAY_PATH, "--step", &step.name];
    run.map(Into::into)
        .into_iter()
        .chain(needs.into_iter().flatten())
        .chain(repeated.into_iter().flatten())
        .chain(at_once.then(|| "--at-once".to_owned()))
        .chain(waits.expressions.iter().cloned())
        .chain(dir.into_iter().flatten())
        .chain(time_limit(step).into_iter().flatten())
        .chain(retries(step).into_iter().flatten())
        .chain(options.iter().cloned())
        .chain(["--".to_owned()])
        .collect()
}

fn time_limit(step: &Step) -> Option<[String; 4]> {
    let timeout = DurationText(step.timeout?.into()).to_string();
    let grace = DurationText(GRACE).to_string();
    Some(["--timeout".into(), timeout, "--grace".into(), grace])
}

/// The attempts that the step runner makes itself. After any other failure the container has ended, and with it the
/// step runner.
fn retries(step: &Step) -> Option<[String; 2]> {
    const IN_PLACE: [FailureKind; 2] = [FailureKind::Failure, FailureKind::Timeout];
    let policy = retry_policy(step)?;
    let on: Vec<_> = IN_PLACE
        .into_iter()
        .filter(|kind| policy.on.contains(kind))
        .collect();
    let policy = RetryPolicy { on, ..policy };
    let retries = policy.limit > 0 && !policy.on.is_empty();
    retries.then(|| ["--retry".to_owned(), policy.to_string()])
}

/// Whether a step that is lost with its container or its pod is attempted again in another pod.
pub fn is_repeated_elsewhere(step: &Step) -> bool {
    const ELSEWHERE: [FailureKind; 2] = [FailureKind::OomKilled, FailureKind::Infrastructure];
    let is_repeated =
        |policy: RetryPolicy| ELSEWHERE.map(|kind| policy.pause(1, kind, None).is_some());
    retry_policy(step).is_some_and(|policy| is_repeated(policy).contains(&true))
}

/// The step's limits, with the requests that its container has in the pod.
fn resources(step: &Step, requests: BTreeMap<String, Quantity>) -> Option<ResourceRequirements> {
    let written = step.resources.clone()?;
    Some(ResourceRequirements {
        requests: (!requests.is_empty()).then_some(requests),
        ..written
    })
}

fn volumes() -> Vec<Volume> {
    vec![Volume {
        name: RELAY_VOLUME.into(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".into()),
            size_limit: Some(Quantity(RELAY_SIZE.into())),
        }),
        ..Volume::default()
    }]
}

fn volume_mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        ..VolumeMount::default()
    }
}

/// Nothing but what Pod Security `restricted` allows.
fn as_nobody() -> SecurityContext {
    SecurityContext {
        run_as_user: Some(NOBODY),
        run_as_group: Some(NOBODY),
        run_as_non_root: Some(true),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            add: None,
            drop: some(vec!["ALL".into()]),
        }),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            localhost_profile: None,
        }),
        ..SecurityContext::default()
    }
}

#[cfg(test)]
mod tests;
