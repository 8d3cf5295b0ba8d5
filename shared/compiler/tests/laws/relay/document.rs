use kubeci_api::{Execution, Workflow};
use kubeci_compiler::{Settings, compile_workflow};

fn workflow() -> Workflow {
    serde_saphyr::from_str(include_str!("../../fixtures/document-workflow.yaml")).unwrap()
}

#[test]
fn document_workflow_is_one_pod_of_five_steps() {
    let mut workflow = workflow();
    workflow.spec.execution = Some(Execution::Relay);
    let plan = compile_workflow(&workflow.spec, &Settings::default()).unwrap();
    assert_eq!(plan.tasks.len(), 1);
    insta::assert_yaml_snapshot!(plan.tasks);
}

#[test]
fn workflow_without_execution_has_the_operators_default() {
    let settings = Settings {
        execution: Execution::Relay,
        ..Settings::default()
    };
    let mut workflow = workflow();
    let by_default = compile_workflow(&workflow.spec, &settings).unwrap();
    workflow.spec.execution = Some(Execution::Relay);
    let said = compile_workflow(&workflow.spec, &Settings::default()).unwrap();
    assert_eq!(by_default, said);
    workflow.spec.execution = Some(Execution::Pods);
    let pods = compile_workflow(&workflow.spec, &settings).unwrap();
    assert_eq!(pods.tasks.len(), 2);
}
