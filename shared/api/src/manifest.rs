use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{Workflow, Workplan, nulls};

/// The definitions of all resources, as they are installed.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 2] {
    let workflow = nulls::refused_in_workflow(Workflow::crd());
    let workplan = nulls::refused_in_workplan(with_default_phase(Workplan::crd()));
    [workflow, workplan].map(|mut crd| {
        for version in &mut crd.spec.versions {
            if let Some(schema) = version
                .schema
                .as_mut()
                .and_then(|it| it.open_api_v3_schema.as_mut())
            {
                unwrap_descriptions(schema);
            }
        }
        crd
    })
}

/// Removes the line breaks of the source from the descriptions: `kubectl explain` wraps them.
fn unwrap_descriptions(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        *description = description.replace('\n', " ");
    }
    for property in schema.properties.iter_mut().flat_map(|it| it.values_mut()) {
        unwrap_descriptions(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        unwrap_descriptions(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        unwrap_descriptions(values);
    }
}

/// Sets `pending` as the default phase of a Workplan, so that no request is needed for it.
fn with_default_phase(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let status = crd.spec.versions.iter_mut().filter_map(|version| {
        let schema = version.schema.as_mut()?.open_api_v3_schema.as_mut()?;
        schema.properties.as_mut()?.get_mut("status")
    });
    for status in status {
        status.default = Some(JSON(json!({"phase": "pending"})));
    }
    crd
}
