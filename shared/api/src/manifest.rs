use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{Workflow, Workplan};

/// The definitions of all resources, as they are installed.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [Workflow::crd(), pending_until_told(Workplan::crd())]
}

/// A Workplan reads `pending` from the moment it exists, without a request that says so.
fn pending_until_told(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let status = crd.spec.versions.iter_mut().filter_map(|version| {
        let schema = version.schema.as_mut()?.open_api_v3_schema.as_mut()?;
        schema.properties.as_mut()?.get_mut("status")
    });
    for status in status {
        status.default = Some(JSON(json!({"phase": "pending"})));
    }
    crd
}
