use std::path::PathBuf;

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::{GroupVersionKind, Request};
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client, Resource};
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
        let target = Target::of(client, namespace, manifest).await?;
        let name = target.object.metadata.name.clone().expect("a name");
        let params = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::apply("kubeci-e2e").force()
        };
        let api = target.api(client);
        applied.push(
            api.patch(&name, &params, &Patch::Apply(&target.object))
                .await?,
        );
    }
    Ok(applied)
}

/// Creates every object of `yaml` as `kubectl create` does, into `namespace` where an object names none of
/// its own. Fields that the API does not know are refused.
///
/// # Errors
/// What the API server says to the first object that it refuses.
pub async fn create(
    client: &Client,
    namespace: &str,
    yaml: &str,
) -> Result<Vec<DynamicObject>, kube::Error> {
    let mut created = Vec::new();
    for manifest in manifests(yaml) {
        let body = serde_json::to_vec(&manifest).expect("JSON");
        let target = Target::of(client, namespace, manifest).await?;
        created.push(client.request(target.strict_creation(body)).await?);
    }
    Ok(created)
}

/// An object, and where the API has it.
struct Target {
    object: DynamicObject,
    resource: ApiResource,
    namespace: Option<String>,
}

impl Target {
    async fn of(client: &Client, namespace: &str, manifest: Value) -> Result<Self, kube::Error> {
        let object: DynamicObject = serde_json::from_value(manifest).expect("an object");
        let types = object.types.clone().expect("apiVersion and kind");
        let kind = GroupVersionKind::try_from(&types).expect("an apiVersion");
        let (resource, capabilities) = pinned_kind(client, &kind).await?;
        let own = object.metadata.namespace.clone();
        Ok(Self {
            object,
            resource,
            namespace: (capabilities.scope == Scope::Namespaced)
                .then(|| own.unwrap_or_else(|| namespace.to_owned())),
        })
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => Api::all_with(client.clone(), &self.resource),
        }
    }

    fn strict_creation(&self, body: Vec<u8>) -> http::Request<Vec<u8>> {
        let url = DynamicObject::url_path(&self.resource, self.namespace.as_deref());
        let mut request = Request::new(url)
            .create(&PostParams::default(), body)
            .expect("a request");
        let strict = format!("{}&fieldValidation=Strict", request.uri());
        *request.uri_mut() = strict.parse().expect("a URI");
        request
    }
}
