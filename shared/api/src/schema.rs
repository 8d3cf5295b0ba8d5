//! Schemas of Kubernetes' own types, cut to what a custom resource definition has room for.

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

/// The schema of `T` without descriptions. With those of Kubernetes' own types a definition is too large for
/// `kubectl apply`; `kubectl explain pod.spec` shows them.
pub(crate) fn undescribed<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    RecursiveTransform(|schema: &mut Schema| {
        schema.remove("description");
    })
    .transform(&mut schema);
    schema
}

/// The schema of a list whose items are identified by `key`.
fn list_by_key(mut schema: Schema, key: &str) -> Schema {
    schema.insert("x-kubernetes-list-type".into(), json!("map"));
    schema.insert("x-kubernetes-list-map-keys".into(), json!([key]));
    schema
}

pub(crate) fn list_by_name<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    list_by_key(undescribed::<T>(generator), "name")
}

pub(crate) fn list_by_type<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    list_by_key(T::json_schema(generator), "type")
}

/// Removes the validation rules of a list's items: for 500 tasks of 500 steps they exceed the cost limit of
/// the API server. The workplan operator checks them instead.
pub(crate) fn without_item_rules(list: &mut Schema) {
    let items = list.get_mut("items").and_then(Value::as_object_mut);
    if let Some(items) = items {
        items.remove("x-kubernetes-validations");
    }
}
