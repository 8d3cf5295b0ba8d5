//! Schemas of Kubernetes' own types, cut to what a custom resource definition has room for.

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

/// The schema of `T` without the descriptions inside it: `kubectl explain pod.spec` has them, and with
/// them a definition would be too large for `kubectl apply`.
pub(crate) fn undescribed<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    RecursiveTransform(|schema: &mut Schema| {
        schema.remove("description");
    })
    .transform(&mut schema);
    schema
}

/// The schema of `T`, a list whose items are told apart by `key`.
fn list_by_key<T: JsonSchema>(generator: &mut SchemaGenerator, key: &str) -> Schema {
    let mut schema = undescribed::<T>(generator);
    schema.insert("x-kubernetes-list-type".into(), json!("map"));
    schema.insert("x-kubernetes-list-map-keys".into(), json!([key]));
    schema
}

pub(crate) fn list_by_name<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    list_by_key::<T>(generator, "name")
}

pub(crate) fn list_by_type<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    list_by_key::<T>(generator, "type")
}

/// Takes the rules off the items of a list: 500 tasks of 500 steps are more than the API server is ready to
/// evaluate them for. The workplan operator checks what they say.
pub(crate) fn without_item_rules(list: &mut Schema) {
    let items = list.get_mut("items").and_then(Value::as_object_mut);
    if let Some(items) = items {
        items.remove("x-kubernetes-validations");
    }
}
