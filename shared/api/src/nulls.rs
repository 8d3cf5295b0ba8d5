//! Fields that may be absent, but not null.
//!
//! A template that renders an empty value writes `name:`, which is null. The API server removes a null before it
//! validates, and CEL cannot tell it from an absent field: the trigger would match every name. Therefore these
//! fields are nullable, so that the null is kept, and their parent has a rule that only null violates. A null is
//! checked against types and enums only, so that `not: {}`, which no value fulfils, accepts it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};
use serde_json::json;

const TRIGGER: &[&str] = &["spec", "triggers"];
const SELECTOR: &[&str] = &["spec", "triggers", "selector"];
const STEP: &[&str] = &["spec", "steps"];
const WORKSPACE: &[&str] = &["spec", "workspace"];
const STEP_NAMES: &str = "names of steps; for none, leave the field out or write []";

/// The parent, the field, and the text that the API server prints as the supported value.
const NOT_NULL: [(&[&str], &str, &str); 10] = [
    (
        TRIGGER,
        "name",
        "a name; to match every name, leave the field out",
    ),
    (
        TRIGGER,
        "namespace",
        "a namespace; for the Workflow's own, leave the field out",
    ),
    (
        TRIGGER,
        "selector",
        "a label selector; to match whatever the labels are, leave the field out or write {}",
    ),
    (
        SELECTOR,
        "matchLabels",
        "labels; for none, leave the field out",
    ),
    (
        SELECTOR,
        "matchExpressions",
        "expressions; for none, leave the field out",
    ),
    (STEP, "dependency", STEP_NAMES),
    (STEP, "onFailure", STEP_NAMES),
    (STEP, "after", STEP_NAMES),
    EMPTY_DIR,
    (
        STEP,
        "when",
        "a condition; to run the step in any case, leave the field out",
    ),
];

const EMPTY_DIR: (&[&str], &str, &str) = (
    WORKSPACE,
    "emptyDir",
    "{}; for a folder on the node, leave the field out",
);

/// Maps of labels in which a null value would remove a label.
const LABELS: [&[&str]; 2] = [
    &["spec", "triggers", "selector", "matchLabels"],
    &["spec", "nodeSelector"],
];

/// Refuses null in a Workflow where it would widen a filter or stand for another volume.
pub(crate) fn refused_in_workflow(
    mut workflow: CustomResourceDefinition,
) -> CustomResourceDefinition {
    for schema in schemas(&mut workflow) {
        for (parent, field, instead) in NOT_NULL {
            if let Some(parent) = find(schema, parent) {
                refuse(parent, field, instead);
            }
        }
        for labels in LABELS {
            if let Some(labels) = find(schema, labels) {
                refuse_values(labels);
            }
        }
    }
    workflow
}

/// Refuses null in a Workplan where it would stand for another volume.
pub(crate) fn refused_in_workplan(
    mut workplan: CustomResourceDefinition,
) -> CustomResourceDefinition {
    let (parent, field, instead) = EMPTY_DIR;
    for parent in schemas(&mut workplan).filter_map(|it| find(it, parent)) {
        refuse(parent, field, instead);
    }
    workplan
}

fn schemas(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let versions = crd.spec.versions.iter_mut();
    versions.filter_map(|it| it.schema.as_mut()?.open_api_v3_schema.as_mut())
}

/// The schema at this path. For a list, the schema of its items.
fn find<'a>(schema: &'a mut JSONSchemaProps, path: &[&str]) -> Option<&'a mut JSONSchemaProps> {
    let mut found = schema;
    for field in path {
        found = found.properties.as_mut()?.get_mut(*field)?;
        if let Some(JSONSchemaPropsOrArray::Schema(_)) = found.items {
            let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut found.items else {
                return None;
            };
            found = items;
        }
    }
    Some(found)
}

fn refuse(parent: &mut JSONSchemaProps, field: &str, instead: &str) {
    if let Some(schema) = parent.properties.as_mut().and_then(|it| it.get_mut(field)) {
        schema.nullable = Some(true);
    }
    let only = |schema: JSONSchemaProps| JSONSchemaProps {
        properties: Some([(field.to_owned(), schema)].into()),
        ..JSONSchemaProps::default()
    };
    let not = |schema: JSONSchemaProps| JSONSchemaProps {
        not: Some(Box::new(schema)),
        ..JSONSchemaProps::default()
    };
    // True if the field is absent. If it is null, the message says how to correct it.
    let absent = only(JSONSchemaProps {
        enum_: Some(vec![JSON(json!(instead))]),
        ..JSONSchemaProps::default()
    });
    let neither_absent_nor_null = not(only(not(JSONSchemaProps::default())));
    parent.all_of.get_or_insert_default().push(JSONSchemaProps {
        any_of: Some(vec![absent, neither_absent_nor_null]),
        ..JSONSchemaProps::default()
    });
}

/// Unlike fields, null values of a map are visible in CEL.
fn refuse_values(map: &mut JSONSchemaProps) {
    const LABELS_MAX: i64 = 100;
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut map.additional_properties {
        value.nullable = Some(true);
    }
    map.max_properties = Some(LABELS_MAX);
    map.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
        rule: "self.all(label, dyn(self[label]) != null)".to_owned(),
        message: Some(
            "the value of a label is null; give it one, \"\" for a label without a value, or leave the label out"
                .to_owned(),
        ),
        ..ValidationRule::default()
    });
}
