use std::path::PathBuf;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::Value;

/// The objects of a manifest of one or more YAML documents.
pub fn manifests(yaml: &str) -> Vec<Value> {
    yaml.split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).expect("a YAML document"))
        .collect()
}

/// The text of a file below `examples/`.
pub fn example(path: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Applies every object of `yaml` as `kubectl apply --server-side` does, into `namespace` where an object
/// names none of its own. Fields that the API does not know are refused.
///
/// # Errors
/// What the API server says to the first object that it refuses.
pub async fn apply(
    client: &Client,
    namespace: &str,
    yaml: &str,
) -> Result<Vec<DynamicObject>, kube::Error> {
    let mut applied = Vec::new();
    for manifest in manifests(yaml) {
        let object: DynamicObject = serde_json::from_value(manifest).expect("an object");
        let types = object.types.clone().expect("apiVersion and kind");
        let kind = GroupVersionKind::try_from(&types).expect("an apiVersion");
        let (resource, capabilities) = pinned_kind(client, &kind).await?;
        let api: Api<DynamicObject> = match (&capabilities.scope, &object.metadata.namespace) {
            (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
            (Scope::Namespaced, Some(own)) => Api::namespaced_with(client.clone(), own, &resource),
            (Scope::Namespaced, None) => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        let name = object.metadata.name.clone().expect("a name");
        let params = PatchParams {
            field_validation: Some(kube::api::ValidationDirective::Strict),
            ..PatchParams::apply("kubeci-e2e").force()
        };
        applied.push(api.patch(&name, &params, &Patch::Apply(&object)).await?);
    }
    Ok(applied)
}
