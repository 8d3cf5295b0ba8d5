//! The manifests in `crds/` are what the types generate. `UPDATE_CRDS=1` writes them.

use std::path::PathBuf;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// `kubectl apply` stores the whole manifest in an annotation, which has a limit.
const SIZE_MAX: usize = 200_000;

#[test]
fn manifests_are_what_the_types_generate() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds"));
    for crd in kubeci_api::definitions() {
        let name = crd.metadata.name.as_deref().unwrap();
        let path = folder.join(format!("{name}.yaml"));
        let generated = serde_saphyr::to_string(&crd).unwrap();
        assert!(
            generated.len() < SIZE_MAX,
            "{name} has {} bytes; a definition may have {SIZE_MAX}",
            generated.len()
        );
        if std::env::var_os("UPDATE_CRDS").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == generated,
            "{} has drifted from shared/api; run `make crds`",
            path.display()
        );
    }
}

/// Fields of Kubernetes' own types. `kubectl explain pod.spec` describes what is inside them.
const OF_KUBERNETES: [&str; 9] = [
    "affinity",
    "envFrom",
    "imagePullSecrets",
    "resources",
    "securityContext",
    "tolerations",
    "valueFrom",
    "volumeMounts",
    "volumes",
];

#[test]
fn every_field_has_a_description() {
    let mut missing = Vec::new();
    let mut enums = Vec::new();
    for crd in kubeci_api::definitions() {
        let kind = crd.spec.names.kind.to_lowercase();
        for schema in crd.spec.versions.iter().filter_map(|it| it.schema.as_ref()) {
            let schema = schema.open_api_v3_schema.as_ref().unwrap();
            describe(&kind, schema, &mut missing, &mut enums);
        }
    }
    assert_eq!(missing, [""; 0], "`kubectl explain` shows no description");
    assert_eq!(
        enums, [""; 0],
        "the description does not explain this value"
    );
}

/// Collects the fields without a description, and the values of enums that a description does not name.
fn describe(
    path: &str,
    schema: &JSONSchemaProps,
    missing: &mut Vec<String>,
    enums: &mut Vec<String>,
) {
    for (field, schema) in schema.properties.iter().flatten() {
        let path = format!("{path}.{field}");
        // `metadata` is described by the API server.
        if path.ends_with("workflow.metadata") || path.ends_with("workplan.metadata") {
            continue;
        }
        let description = schema.description.as_deref().unwrap_or_default();
        if description.is_empty() {
            missing.push(path.clone());
        }
        let values = schema.enum_.iter().flatten().filter_map(|it| it.0.as_str());
        let unexplained = values.filter(|value| !description.contains(&format!("`{value}`")));
        enums.extend(unexplained.map(|value| format!("{path}: {value}")));
        if OF_KUBERNETES.contains(&field.as_str()) {
            continue;
        }
        describe(&path, schema, missing, enums);
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            describe(&path, items, missing, enums);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            describe(&path, values, missing, enums);
        }
    }
}
