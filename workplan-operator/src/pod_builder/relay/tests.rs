use k8s_openapi::api::core::v1::PodSpec;
use kubeci_api::Workspace;
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
    let run = "/.kubeci/.bin/step-runner run --relay /.kubeci --step";
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
#[case::fewer(2, " --slots 2")]
#[case::enough(3, "")]
fn steps_share_slots_unless_there_are_enough(#[case] max_parallel: u16, #[case] slots: &str) {
    let mut plan = workplan_of(relay(&["| a b:a c"]));
    plan.spec.max_parallel = max_parallel.try_into().ok();
    let spec = spec(&plan, |_| true);
    let command = words(spec.containers[2].command.as_ref());
    let expected = format!("--step b --needs a{slots} --output-bytes ");
    assert!(command.contains(&expected), "{command}");
    let install = words(spec.containers[0].args.as_ref());
    let expected = format!("--relay /.kubeci{slots} a b c");
    assert!(install.ends_with(&expected), "{install}");
}

#[rstest]
#[case::shared_folder("/kubeci/src", Some("/kubeci/src"))]
#[case::shared_folder_itself("/kubeci", Some("/kubeci"))]
#[case::volume("/cache/$(X)", Some("/cache/$$(X)"))]
#[case::image("/app", None)]
#[case::another_name("/kubeci-src", None)]
#[case::relative("src", None)]
fn working_directory_in_workspace_is_entered_late(#[case] dir: &str, #[case] late: Option<&str>) {
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
    assert!(install.ends_with("--relay /.kubeci a b"), "{install}");
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
        ("/.kubeci", None, Some(true)),
        ("/.kubeci/b", Some("b"), None),
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
        plan.spec.workspace = Workspace::EmptyDir;
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
    assert_eq!(hook, "/step-runner installed --relay /.kubeci");
}

/// The rules of the level `restricted` that a pod of ours could break.
#[test]
fn restricted_namespace_allows_relay_in_empty_dir() {
    let mut plan = workplan_of(relay(&["| a b"]));
    plan.spec.workspace = Workspace::EmptyDir;
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
