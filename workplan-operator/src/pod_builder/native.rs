//! The pod of a task whose steps Kubernetes starts in order.

use k8s_openapi::api::core::v1::Container;
use kubeci_api::names::{OPENER_CONTAINER, WORKSPACE_MOUNT_PATH};
use kubeci_api::{Step, Task, Workplan};
use step_runner::outputs::VARIABLE;

use super::container::{as_root, container, mount, preparing, variable};
use super::{Parts, Placement};

/// The default file of a container's termination message.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Init containers and containers. A pod needs a container: where no parallel step is left, the last
/// serial step is it.
pub fn parts(workplan: &Workplan, task: &Task, placement: &Placement, opens: bool) -> Parts {
    let containers = |steps: &[Step]| {
        let containers = steps.iter().map(|step| with_outputs(workplan, step));
        containers.collect::<Vec<_>>()
    };
    let mut init = containers(&task.serial_steps);
    let mut main = containers(&task.parallel_steps);
    if main.is_empty() {
        main.extend(init.pop());
    }
    let opener = opens.then(|| Container {
        resources: preparing(task, placement.limits, false),
        ..opener(placement.image)
    });
    Parts {
        init: opener.into_iter().chain(init).collect(),
        main,
        ..Parts::default()
    }
}

/// The container of a step, whose termination message is its outputs.
fn with_outputs(workplan: &Workplan, step: &Step) -> Container {
    let mut container = container(workplan, step);
    let env = container.env.get_or_insert_default();
    env.insert(0, variable(VARIABLE, TERMINATION_LOG));
    container
}

/// The kubelet creates the folder for root alone to write.
fn opener(image: &str) -> Container {
    Container {
        name: OPENER_CONTAINER.into(),
        image: Some(image.into()),
        args: Some(vec!["open-workspace".into(), WORKSPACE_MOUNT_PATH.into()]),
        image_pull_policy: Some("IfNotPresent".into()),
        security_context: Some(as_root(&[])),
        volume_mounts: Some(vec![mount()]),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PodSecurityContext, SecurityContext};
    use kube::ResourceExt;
    use kubeci_api::names::WORKPLAN_LABEL;
    use kubeci_api::{EnvVar, Order};
    use rstest::rstest;

    use super::super::build;
    use super::*;
    use crate::testing::pod::{FIRST, later, names, spec};
    use crate::testing::workplan;

    #[test]
    fn task_becomes_containers_that_mount_the_folder() {
        let workplan = workplan(Order::Linear, &["a b | c d", "e"]);
        let pod = build(&workplan, 0, |_| true, FIRST);
        assert_eq!(pod.name_any(), "plan-0");
        assert_eq!(pod.labels()[WORKPLAN_LABEL], "plan");
        assert_eq!(pod.owner_references()[0].controller, Some(true));
        let spec = pod.spec.unwrap();
        assert_eq!(names(spec.init_containers.as_ref()), ["a", "b"]);
        assert_eq!(names(Some(&spec.containers)), ["c", "d"]);
        assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
        let all = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers);
        for container in all {
            let mounts = container.volume_mounts.as_ref().unwrap();
            assert_eq!(mounts[0].mount_path, "/kubeci");
        }
        let volume = spec.volumes.unwrap()[0].host_path.clone().unwrap();
        assert_eq!(volume.path, "/kubeci/ns/_/plan");
        assert_eq!(volume.type_.as_deref(), Some("DirectoryOrCreate"));
    }

    #[test]
    fn steps_have_the_variables_of_kubeci() {
        let mut workplan = workplan(Order::Linear, &["a | b"]);
        let own = EnvVar {
            name: "OWN".into(),
            value: Some("$(KUBECI_STEP)".into()),
            ..EnvVar::default()
        };
        workplan.spec.tasks[0].parallel_steps[0].env = vec![own];
        let spec = spec(&workplan, 0, FIRST);
        let env = spec.containers[0].env.iter().flatten();
        let env: Vec<(&str, &str)> = env
            .map(|it| (it.name.as_str(), it.value.as_deref().unwrap()))
            .collect();
        let expected = [
            ("KUBECI_OUTPUT", "/dev/termination-log"),
            ("KUBECI_WORKFLOW", ""),
            ("KUBECI_WORKPLAN", "plan"),
            ("KUBECI_NAMESPACE", "ns"),
            ("KUBECI_STEP", "b"),
            ("OWN", "$(KUBECI_STEP)"),
        ];
        assert_eq!(env, expected);
    }

    #[rstest]
    #[case::last_serial_step(&["a", "b", "c", "d"], &["a", "b"], &["c", "d"])]
    #[case::some_skipped(&["b", "d"], &["b"], &["d"])]
    #[case::no_parallel_left(&["a", "b"], &["a"], &["b"])]
    #[case::one_left(&["a"], &[], &["a"])]
    fn only_what_is_left_runs(#[case] left: &[&str], #[case] init: &[&str], #[case] main: &[&str]) {
        let workplan = workplan(Order::Linear, &["a b | c d"]);
        let pod = build(
            &workplan,
            0,
            |step| left.contains(&step.name.as_str()),
            FIRST,
        );
        let spec = pod.spec.unwrap();
        assert_eq!(names(spec.init_containers.as_ref()), init);
        assert_eq!(names(Some(&spec.containers)), main);
    }

    #[test]
    fn folder_is_opened_once_for_other_users() {
        let mut plan = workplan(Order::Linear, &["a", "b"]);
        assert_eq!(spec(&plan, 0, FIRST).init_containers, None);
        plan.spec.tasks[1].serial_steps[0].security_context = Some(SecurityContext {
            run_as_user: Some(1000),
            ..SecurityContext::default()
        });
        assert_eq!(
            names(spec(&plan, 0, FIRST).init_containers.as_ref()),
            [OPENER_CONTAINER]
        );
        assert_eq!(spec(&plan, 1, later("n1")).init_containers, None);

        let mut plan = workplan(Order::Linear, &["a | b"]);
        plan.spec.pod.security_context = Some(PodSecurityContext {
            run_as_non_root: Some(true),
            ..PodSecurityContext::default()
        });
        let spec = spec(&plan, 0, FIRST);
        assert_eq!(
            names(spec.init_containers.as_ref()),
            [OPENER_CONTAINER, "a"]
        );
        let opener = spec.init_containers.unwrap()[0]
            .security_context
            .clone()
            .unwrap();
        assert_eq!(
            (opener.run_as_user, opener.run_as_non_root),
            (Some(0), Some(false))
        );
    }
}
