use kubeci_api::{Workflow, Workplan};
use kubeci_compiler::{Plan, Settings, compile_workflow};

fn workflow() -> Workflow {
    serde_saphyr::from_str(include_str!("../fixtures/document-workflow.yaml")).unwrap()
}

#[test]
fn document_workflow_compiles_to_document_workplan() {
    let document: Workplan =
        serde_saphyr::from_str(include_str!("../fixtures/document-workplan.yaml")).unwrap();
    let document = Plan {
        order: document.spec.order,
        tasks: document.spec.tasks,
        finally: document.spec.finally,
    };
    assert_eq!(
        compile_workflow(&workflow().spec, &Settings::default()).unwrap(),
        document
    );
}

#[test]
fn document_workplan_reads_as_written() {
    insta::assert_yaml_snapshot!(
        compile_workflow(&workflow().spec, &Settings::default())
            .unwrap()
            .tasks
    );
}
