//! A relay pod: all its containers start together, and the step runner in each of them waits for the dependencies of
//! its step.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, ExecAction, Lifecycle, LifecycleHandler,
    ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::names::{RELAY_VOLUME, RUNNER_CONTAINER, RUNNER_VOLUME, WORKSPACE_MOUNT_PATH};
use kubeci_api::{Step, Task, Workplan};
use kubeci_compiler::{relay_shares, retry_policy};
use kubeci_plan::{DurationText, FailureKind, NamedEdge, RetryPolicy};

use super::container::{as_root, container, mount, preparing, some};
use super::{Parts, Placement};
use crate::output_bounds::of_record;

/// The step runner in the operator's own image.
const IN_IMAGE: &str = "/step-runner";
/// The step runner in the steps' containers.
pub const IN_STEPS: &str = "/.kubeci/bin/step-runner";

const BIN_PATH: &str = "/.kubeci/bin";
const BIN_SIZE: &str = "32Mi";

/// The volume of the records of the steps, each in its own folder: a few KiB for each step, in memory, so that no write
/// waits for a disk.
const RELAY_PATH: &str = "/.kubeci/relay";
const RELAY_SIZE: &str = "8Mi";

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
}

pub fn parts<'a>(
    workplan: &Workplan,
    task: &Task,
    waits: impl Fn(&str) -> Waits<'a>,
    placement: &Placement,
    opens: bool,
) -> Parts {
    let own = preparing(task, placement.limits, true);
    let shares = relay_shares(task, placement.limits, own.as_ref());
    let containers = task.steps().zip(shares);
    let output_bytes = of_record(workplan, 1 + task.steps().count());
    let waiting = |(step, requests)| Container {
        resources: resources(step, requests),
        ..waiting(workplan, step, &waits(&step.name), output_bytes)
    };
    let installer = Container {
        resources: own,
        ..installer(task, placement.image, opens)
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
fn installer(task: &Task, image: &str, opens: bool) -> Container {
    let install = [
        IN_IMAGE, "install", "--bin", BIN_PATH, "--relay", RELAY_PATH,
    ];
    let names = task.steps().map(|step| step.name.as_str());
    let mut words: Vec<String> = install.into_iter().chain(names).map(Into::into).collect();
    let mut mounts = vec![
        volume_mount(RUNNER_VOLUME, BIN_PATH),
        volume_mount(RELAY_VOLUME, RELAY_PATH),
    ];
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
fn waiting(workplan: &Workplan, step: &Step, waits: &Waits, output_bytes: usize) -> Container {
    let mut container = container(workplan, step);
    let late = container.working_dir.take_if(|dir| is_shared(step, dir));
    let runner = runner(step, waits, late, output_bytes);
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
    let mounts = [
        read_only(volume_mount(RUNNER_VOLUME, BIN_PATH)),
        read_only(volume_mount(RELAY_VOLUME, RELAY_PATH)),
        own,
    ];
    container
        .volume_mounts
        .get_or_insert_default()
        .extend(mounts);
    container
}

/// Whether an earlier step may create a folder, so that the runtime would create it too early, when the container
/// starts. An earlier step cannot create a folder in the image.
fn is_shared(step: &Step, dir: &str) -> bool {
    let user = step.volume_mounts.iter().map(|it| it.mount_path.as_str());
    let mut mounts = user.chain([WORKSPACE_MOUNT_PATH]);
    mounts.any(|mount| Path::new(dir).starts_with(mount))
}

fn runner(step: &Step, waits: &Waits, dir: Option<String>, output_bytes: usize) -> Vec<String> {
    let needs: Vec<String> = waits.needs.iter().map(ToString::to_string).collect();
    let at_once = waits.at_once && needs.len() > 1;
    let needs = (!needs.is_empty()).then(|| ["--needs".to_owned(), needs.join(",")]);
    let repeated = &waits.repeated;
    let repeated = (!repeated.is_empty()).then(|| ["--repeated".to_owned(), repeated.join(",")]);
    // The kubelet expands variables in a command, and none in a working directory.
    let dir = dir.map(|dir| ["--dir".to_owned(), dir.replace('$', "$$")]);
    let outputs = ["--output-bytes".to_owned(), output_bytes.to_string()];
    let run = [IN_STEPS, "run", "--relay", RELAY_PATH, "--step", &step.name];
    run.map(Into::into)
        .into_iter()
        .chain(needs.into_iter().flatten())
        .chain(repeated.into_iter().flatten())
        .chain(at_once.then(|| "--at-once".to_owned()))
        .chain(dir.into_iter().flatten())
        .chain(time_limit(step).into_iter().flatten())
        .chain(retries(step).into_iter().flatten())
        .chain(outputs)
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
    let volume = |name: &str, medium: Option<&str>, size: &str| Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: medium.map(Into::into),
            size_limit: Some(Quantity(size.into())),
        }),
        ..Volume::default()
    };
    vec![
        volume(RUNNER_VOLUME, None, BIN_SIZE),
        volume(RELAY_VOLUME, Some("Memory"), RELAY_SIZE),
    ]
}

fn volume_mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        ..VolumeMount::default()
    }
}

fn read_only(mount: VolumeMount) -> VolumeMount {
    VolumeMount {
        read_only: Some(true),
        ..mount
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
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use kubeci_api::WorkspaceKind;
    use rstest::rstest;
    use serde_json::json;

    use super::super::build;
    use super::*;
    use crate::testing::pod::FIRST;
    use crate::testing::{relay, workplan_of};

    fn spec(workplan: &Workplan, left: impl Fn(&Step) -> bool) -> PodSpec {
        build(workplan, 0, left, FIRST).spec.unwrap()
    }

    fn words(list: Option<&Vec<String>>) -> String {
        list.map(|words| words.join(" ")).unwrap_or_default()
    }

    #[test]
    fn step_runner_wraps_each_command() {
        let mut plan = workplan_of(relay(&["| a b:a c:a,b"]));
        plan.spec.tasks[0].parallel_steps[2].args = vec!["--".into(), "$(X)".into()];
        let spec = spec(&plan, |_| true);
        let names: Vec<_> = spec.containers.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["kubeci-runner", "a", "b", "c"]);
        let run = "/.kubeci/bin/step-runner run --relay /.kubeci/relay --step";
        let outputs = "--output-bytes 2960";
        let command = |at: usize| words(spec.containers[at + 1].command.as_ref());
        let args = |at: usize| words(spec.containers[at + 1].args.as_ref());
        assert_eq!(
            (command(0), args(0)),
            (format!("{run} a {outputs} --"), "run".into())
        );
        assert_eq!(command(1), format!("{run} b --needs a {outputs} --"));
        assert_eq!(
            (command(2), args(2)),
            (
                format!("{run} c --needs a,b {outputs} --"),
                "run -- $(X)".into()
            )
        );
    }

    #[rstest]
    #[case::shared_folder("/kubeci/src", Some("/kubeci/src"))]
    #[case::shared_folder_itself("/kubeci", Some("/kubeci"))]
    #[case::volume("/cache/$(X)", Some("/cache/$$(X)"))]
    #[case::image("/app", None)]
    #[case::another_name("/kubeci-src", None)]
    #[case::relative("src", None)]
    fn working_directory_in_workspace_is_entered_late(
        #[case] dir: &str,
        #[case] late: Option<&str>,
    ) {
        let mut plan = workplan_of(relay(&["| a b:a"]));
        let step = &mut plan.spec.tasks[0].parallel_steps[1];
        step.working_dir = Some(dir.into());
        step.volume_mounts = vec![volume_mount("cache", "/cache")];
        let container = spec(&plan, |_| true).containers[2].clone();
        let expected = late.map_or(String::new(), |dir| format!("--dir {dir} "));
        let command = words(container.command.as_ref());
        assert!(
            command.ends_with(&format!("--needs a {expected}--output-bytes 3984 --")),
            "{command}"
        );
        assert_eq!(container.working_dir.is_none(), late.is_some());
    }

    #[rstest]
    #[case::out_of_memory(json!({"limit": 1, "on": ["OOMKilled"]}), "--needs a --repeated a ")]
    #[case::lost(json!({"limit": 1, "on": ["Infrastructure"]}), "--needs a --repeated a ")]
    #[case::in_place(json!({"limit": 1, "on": ["Failure"]}), "--needs a ")]
    #[case::never(json!({"limit": 0}), "--needs a ")]
    fn step_runner_gets_steps_that_are_repeated_elsewhere(
        #[case] retry: serde_json::Value,
        #[case] expected: &str,
    ) {
        let mut plan = workplan_of(relay(&["| a b:a"]));
        plan.spec.tasks[0].parallel_steps[0].retry = serde_json::from_value(retry).unwrap();
        let spec = spec(&plan, |_| true);
        let command = words(spec.containers[2].command.as_ref());
        let expected = format!("--step b {expected}--output-bytes 3984 --");
        assert!(command.ends_with(&expected), "{command}");
    }

    #[test]
    fn step_runner_gets_time_limit_and_retries() {
        let mut plan = workplan_of(relay(&["| a b:a c"]));
        let steps = &mut plan.spec.tasks[0].parallel_steps;
        steps[1].timeout = Some(Duration::from_secs(90).into());
        let retry = json!({"limit": 2, "backoff": {"initial": "500ms"}, "exitCodes": [75]});
        steps[1].retry = serde_json::from_value(retry).unwrap();
        let others = json!({"limit": 2, "on": ["OOMKilled", "Infrastructure"]});
        steps[2].retry = serde_json::from_value(others).unwrap();
        let spec = spec(&plan, |_| true);
        let command = |at: usize| words(spec.containers[at].command.as_ref());
        let expected = "--needs a --timeout 90s --grace 30s \
            --retry limit=2,initial=500ms,factor=2,max=300s,on=Failure+Timeout,codes=75 --output-bytes 2960 --";
        assert!(command(2).ends_with(expected), "{}", command(2));
        assert!(
            command(3).ends_with("--step c --output-bytes 2960 --"),
            "{}",
            command(3)
        );
    }

    #[rstest]
    #[case::first_pod(json!([]), Some("limit=2,"))]
    #[case::second_pod(json!([{"number": 1}, {"number": 2}]), Some("limit=1,"))]
    #[case::last_pod(json!([{"number": 1}, {"number": 2}, {"number": 3}]), None)]
    #[case::after_a_lost_pod(
        json!([{"number": 1, "failure": "Infrastructure"}, {"number": 2}]),
        Some("limit=2,")
    )]
    fn retries_in_later_pods_are_those_left(
        #[case] attempts: serde_json::Value,
        #[case] expected: Option<&str>,
    ) {
        let mut plan = workplan_of(relay(&["| a b"]));
        let retry = serde_json::from_value(json!({"limit": 2})).unwrap();
        plan.spec.tasks[0].parallel_steps[0].retry = Some(retry);
        let step = json!({"name": "a", "phase": "pending", "attempts": attempts});
        let placement = Placement {
            steps: &[serde_json::from_value(step).unwrap()],
            ..FIRST
        };
        let spec = build(&plan, 0, |_| true, placement).spec.unwrap();
        let command = words(spec.containers[1].command.as_ref());
        let policy = command.split_once("--retry ").map(|(_, policy)| policy);
        assert_eq!(policy.is_some(), expected.is_some(), "{command}");
        assert!(
            policy
                .unwrap_or_default()
                .starts_with(expected.unwrap_or_default())
        );
    }

    #[test]
    fn steps_of_other_pods_are_not_waited_for() {
        let plan = workplan_of(relay(&["| a b:x,a c:b", "| x"]));
        let spec = spec(&plan, |step| step.name != "c");
        let command = words(spec.containers[2].command.as_ref());
        assert!(
            command.contains("--step b --needs a --output-bytes"),
            "{command}"
        );
        let install = words(spec.containers[0].args.as_ref());
        assert!(install.ends_with("--relay /.kubeci/relay a b"), "{install}");
    }

    #[test]
    fn edges_are_passed_with_their_kinds() {
        let plan = workplan_of(relay(&[
            "| a! b:x c:x.failed d:b,c.ended,a e:x.ended,d",
            "| x",
        ]));
        let spec = spec(&plan, |step| step.name != "c" && step.name != "x");
        let needs = |at: usize| {
            let command = words(spec.containers[at + 1].command.as_ref());
            let needs = command.split_once(" --needs ").map_or("", |(_, rest)| rest);
            needs.split(" --output-bytes").next().unwrap().to_owned()
        };
        assert_eq!([0, 1, 2, 3].map(needs), ["", "", "a.ran,b --at-once", "d"]);
    }

    #[test]
    fn step_mounts_only_its_own_folder_writable() {
        let plan = workplan_of(relay(&["| a b:a"]));
        let spec = spec(&plan, |_| true);
        let mounts = spec.containers[2].volume_mounts.clone().unwrap();
        let mounts: Vec<_> = mounts
            .iter()
            .map(|it| (it.mount_path.as_str(), it.sub_path.as_deref(), it.read_only))
            .collect();
        let expected = [
            ("/kubeci", None, None),
            ("/.kubeci/bin", None, Some(true)),
            ("/.kubeci/relay", None, Some(true)),
            ("/.kubeci/relay/b", Some("b"), None),
        ];
        assert_eq!(mounts, expected);
    }

    #[rstest]
    #[case::root(json!({}), false, false)]
    #[case::other_user(json!({"runAsUser": 1000}), false, true)]
    #[case::other_user_in_the_pods_own_folder(json!({"runAsUser": 1000}), true, false)]
    fn first_container_holds_back_the_others(
        #[case] user: serde_json::Value,
        #[case] empty_dir: bool,
        #[case] opens: bool,
    ) {
        let mut plan = workplan_of(relay(&["| a b"]));
        plan.spec.pod.security_context = serde_json::from_value(user).unwrap();
        if empty_dir {
            plan.spec.workspace = WorkspaceKind::EmptyDir;
        }
        let spec = spec(&plan, |_| true);
        assert_eq!(spec.init_containers, None);
        let first = spec.containers[0].clone();
        let said = words(first.command.as_ref()) + " " + &words(first.args.as_ref());
        let open = "open-workspace /kubeci /step-runner install";
        assert_eq!(said.trim_start().starts_with(open), opens, "{said}");
        let context = first.security_context.unwrap();
        assert_eq!(context.run_as_non_root, Some(!opens));
        let hook = first.lifecycle.unwrap().post_start.unwrap().exec.unwrap();
        let hook = words(hook.command.as_ref());
        assert_eq!(hook, "/step-runner installed --relay /.kubeci/relay");
    }

    /// The rules of the level `restricted` that a pod of ours could break.
    #[test]
    fn restricted_namespace_allows_relay_in_empty_dir() {
        let mut plan = workplan_of(relay(&["| a b"]));
        plan.spec.workspace = WorkspaceKind::EmptyDir;
        let spec = spec(&plan, |_| true);
        for volume in spec.volumes.unwrap() {
            assert!(volume.empty_dir.is_some(), "{}", volume.name);
        }
        let context = spec.containers[0].security_context.clone();
        let context = serde_json::to_value(context).unwrap();
        let expected = json!({
            "runAsUser": 65532, "runAsGroup": 65532, "runAsNonRoot": true,
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        });
        assert_eq!(context, expected);
    }

    #[test]
    fn relay_pod_requests_its_peak() {
        let mut plan = workplan_of(relay(&["| a b:a"]));
        for step in &mut plan.spec.tasks[0].parallel_steps {
            step.resources =
                serde_json::from_value(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}))
                    .unwrap();
        }
        let spec = spec(&plan, |_| true);
        assert_eq!(spec.resources, None, "its containers add up to that");
        for container in spec.containers.into_iter().skip(1) {
            let resources = container.resources.unwrap();
            assert_eq!(resources.requests.unwrap()["cpu"], Quantity("500m".into()));
            assert_eq!(resources.limits.unwrap()["cpu"], Quantity("2".into()));
        }
    }
}
