use k8s_openapi::api::core::v1::{ResourceRequirements, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::{Execution, Order, PodSettings, Step, Task, WorkflowSpec};
use kubeci_compiler::{
    Limits, Settings, compile_workflow, first_pod_requests, relay_apart, relay_shares,
    widest_moment,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn step() -> impl Strategy<Value = Step> {
    let name = || prop_oneof![4 => "[a-d]", 1 => ".{0,70}"];
    let text = || prop_oneof!["[0-9]{1,3}(m|Gi)?", ".{0,9}", "/kubeci/?.{0,3}"];
    (
        name(),
        text(),
        vec(name(), 0..4),
        text(),
        (name(), text()),
        any::<bool>(),
    )
        .prop_map(
            |(name, image, dependency, quantity, (volume, mount_path), isolate)| Step {
                name,
                image,
                dependency,
                isolate,
                resources: Some(ResourceRequirements {
                    requests: Some([("cpu".to_owned(), Quantity(quantity))].into()),
                    ..ResourceRequirements::default()
                }),
                volume_mounts: vec![VolumeMount {
                    name: volume,
                    mount_path,
                    ..VolumeMount::default()
                }],
                ..Step::default()
            },
        )
}

fn task() -> impl Strategy<Value = Task> {
    (vec(step(), 0..3), vec(step(), 0..3)).prop_map(|(serial_steps, parallel_steps)| Task {
        serial_steps,
        parallel_steps,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_workflow_gets_an_answer(steps in vec(step(), 0..8), volumes in vec(".{0,3}|[a-d]", 0..3)) {
        let volume = |name| Volume { name, ..Volume::default() };
        let pod = PodSettings {
            volumes: volumes.into_iter().map(volume).collect(),
            ..PodSettings::default()
        };
        let workflow = WorkflowSpec { steps, pod, ..WorkflowSpec::default() };
        for execution in [Execution::Pods, Execution::Relay] {
            let execution = Some(execution);
            match compile_workflow(&WorkflowSpec { execution, ..workflow.clone() }, &Settings::default()) {
                Ok(plan) => prop_assert!(!plan.tasks.is_empty()),
                Err(errors) => {
                    prop_assert!(!errors.is_empty());
                    for error in errors {
                        prop_assert!(error.to_string().starts_with("spec."));
                    }
                }
            }
        }
    }

    #[test]
    fn any_tasks_have_a_widest_moment(tasks in vec(task(), 0..6)) {
        for order in [Order::Linear, Order::Graph, Order::Relay] {
            let widest = widest_moment(order, &tasks, &[], None);
            let first = first_pod_requests(order, &tasks, &[], 0, None);
            prop_assert_eq!(first.is_none(), widest.is_empty());
            prop_assert!(first.unwrap_or_default().milli("cpu") <= widest.milli("cpu"));
        }
        let steps: usize = tasks.iter().map(|task| task.steps().count()).sum();
        prop_assert!(relay_apart(&tasks, &[]).len() <= steps);
        for task in &tasks {
            prop_assert_eq!(relay_shares(task, &[], None, &Limits::NONE, None).len(), task.steps().count());
        }
    }
}
