//! Resource quantities, as numbers (`cpu: 1`) or as strings (`cpu: "1"`).

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::schema::undescribed;

/// Deserializes resource requirements whose quantities may be numbers, as Kubernetes does.
pub(crate) fn requirements<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ResourceRequirements>, D::Error> {
    let Some(mut value) = Option::<Value>::deserialize(deserializer)? else {
        return Ok(None);
    };
    for kind in ["limits", "requests"] {
        let quantities = value.get_mut(kind).and_then(Value::as_object_mut);
        for quantity in quantities.into_iter().flat_map(|map| map.values_mut()) {
            if quantity.is_number() {
                *quantity = Value::String(quantity.to_string());
            }
        }
    }
    ResourceRequirements::deserialize(value)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

pub(crate) fn requirements_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = undescribed::<ResourceRequirements>(generator);
    RecursiveTransform(|schema: &mut Schema| {
        if schema.get("additionalProperties").is_some() {
            let quantity = json!({
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": true,
            });
            schema.insert("additionalProperties".into(), quantity);
        }
    })
    .transform(&mut schema);
    schema
}
