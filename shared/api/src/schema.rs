//! Schemas of Kubernetes' own types, cut to what a custom resource definition has room for.

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
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

const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// A duration as the Gateway API writes it, which Go and Kubernetes read too.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('{DURATION}')"),
            "message": "a duration is up to four numbers with units h, m, s or ms, as in 168h, 1h30m or 90s; a day is 24h",
        }],
    })
}

/// How long a folder is kept: a duration of at most 7 days.
pub(crate) fn kept_duration(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = duration(generator);
    let rules = schema.get_mut("x-kubernetes-validations");
    if let Some(rules) = rules.and_then(Value::as_array_mut) {
        rules.push(json!({
            "rule": format!("!self.matches('{DURATION}') || duration(self) <= duration('168h')"),
            "message": "a folder is kept for at most 168h, which are 7 days",
        }));
    }
    schema
}

/// A duration in a step. A pattern costs the API server less than a rule: there may be 500 tasks of 500 steps.
pub(crate) fn step_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "pattern": DURATION,
    })
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

pub(crate) fn list_by_step<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    list_by_key(T::json_schema(generator), "step")
}

pub(crate) fn list_by_type<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    list_by_key(T::json_schema(generator), "type")
}

/// Removes the validation rules of a list's items: for 500 tasks of 500 steps they exceed the cost limit of
/// the API server. The workplan operator checks them instead. That a step has an image or an approval costs
/// little as a schema.
pub(crate) fn without_item_rules(list: &mut Schema) {
    let items = list.get_mut("items").and_then(Value::as_object_mut);
    if let Some(items) = items {
        items.remove("x-kubernetes-validations");
        items.insert(
            "oneOf".into(),
            json!([{"required": ["image"]}, {"required": ["approval"]}]),
        );
    }
}
