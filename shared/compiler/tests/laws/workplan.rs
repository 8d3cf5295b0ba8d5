use std::collections::HashSet;

use kubeci_api::names::WORKPLAN_NAME_MAX;
use kubeci_api::{TriggerEvent, TriggeredBy, Workflow, Workspace};
use kubeci_compiler::{Settings, compile_workflow, head, workplan};
use proptest::prelude::*;
use rstest::rstest;

fn workflow(name: &str) -> Workflow {
    let mut workflow: Workflow =
        serde_saphyr::from_str(include_str!("../fixtures/document-workflow.yaml")).unwrap();
    workflow.metadata.name = Some(name.to_owned());
    workflow.metadata.uid = Some("7c0e2f61-5b0a-4a51-9f0e-1d0e6f4d1a11".to_owned());
    workflow.spec.pod.service_account_name = Some("builder".to_owned());
    workflow
}

fn trigger() -> TriggeredBy {
    TriggeredBy {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some("default".to_owned()),
        name: "my-config".to_owned(),
        uid: "11c35b5c-1fb6-4b7c-8f4f-4b0f7b8a0d7e".to_owned(),
        event: TriggerEvent::Add,
        token: "h2x4ykq7mnb3ac5d6".to_owned(),
        generation: Some(3),
        summary: None,
    }
}

#[test]
fn workplan_names_owner_trigger_and_previous_head() {
    let workflow = workflow("my-workflow");
    let plan = compile_workflow(&workflow.spec, &Settings::default()).unwrap();
    let mut workplan = workplan(&workflow, &plan, trigger(), Some("k5dgy2ab7c"));
    assert_eq!(workplan.spec.tasks, plan.tasks);
    workplan.spec.tasks.clear();
    insta::assert_yaml_snapshot!(workplan);
}

#[test]
fn finalizer_is_only_for_a_host_path() {
    let mut workflow = workflow("my-workflow");
    let plan = compile_workflow(&workflow.spec, &Settings::default()).unwrap();
    let held = workplan(&workflow, &plan, trigger(), None);
    assert_eq!(held.metadata.finalizers.unwrap(), ["kube.ci/workspace"]);
    workflow.spec.workspace = Workspace::EmptyDir;
    let free = workplan(&workflow, &plan, trigger(), None);
    assert_eq!(free.metadata.finalizers, None);
}

#[rstest]
#[case::short("ci", "ci-")]
#[case::as_long_as_fits(
    "a23456789-b23456789-c23456789-d23456789-e2345678",
    "a23456789-b23456789-c23456789-d23456789-e2345678-"
)]
#[case::cut(
    "a23456789-b23456789-c23456789-d23456789-e23456789-f",
    "a23456789-b23456789-c23456789-d23456789-e2345678-"
)]
#[case::cut_behind_dots(
    "a23456789-b23456789-c23456789-d23456789-e23456..x",
    "a23456789-b23456789-c23456789-d23456789-e23456-"
)]
fn workplan_name_is_cut_workflow_name_and_head(#[case] name: &str, #[case] prefix: &str) {
    let workflow = workflow(name);
    let plan = compile_workflow(&workflow.spec, &Settings::default()).unwrap();
    let workplan = workplan(&workflow, &plan, trigger(), None);
    let name = workplan.metadata.name.unwrap();
    let labels = workplan.metadata.labels.unwrap();
    assert_eq!(name, format!("{prefix}{}", labels["kube.ci/head"]));
    assert!(name.len() <= WORKPLAN_NAME_MAX);
    assert_eq!(labels["kube.ci/previous-head"], "");
}

#[test]
fn head_tells_a_return_from_a_retry() {
    let first = head("w", "o", None, "1", TriggerEvent::Add);
    let second = head("w", "o", Some(&first), "2", TriggerEvent::Update);
    let back = head("w", "o", Some(&second), "1", TriggerEvent::Update);
    assert_eq!(HashSet::from([&first, &second, &back]).len(), 3);
    assert_eq!(
        back,
        head("w", "o", Some(&second), "1", TriggerEvent::Update)
    );
}

#[test]
fn head_is_stable_across_versions() {
    assert_eq!(
        head(
            "workflow",
            "object",
            Some("previous"),
            "token",
            TriggerEvent::Delete
        ),
        "qmzkiamt2p"
    );
}

proptest! {
    #[test]
    fn different_events_have_different_heads(
        one in ("[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}"),
        other in ("[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}"),
    ) {
        let head = |fields: &(String, String, String, String)| {
            head(&fields.0, &fields.1, Some(&fields.2), &fields.3, TriggerEvent::Add)
        };
        prop_assert_eq!(head(&one) == head(&other), one == other);
        prop_assert!(head(&one).len() == 10);
        prop_assert!(head(&one).bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')));
    }
}
