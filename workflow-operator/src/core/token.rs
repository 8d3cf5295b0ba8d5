//! The state of an object in a few characters: same token, nothing happened.

use data_encoding::BASE32_NOPAD;
use kube::core::DynamicObject;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// 80 bits are 16 characters of base32.
const HASH_BYTES: usize = 10;

/// The object's `metadata.generation`; where it has none, a hash of what a generation would count: its
/// content outside `metadata` and `status`.
#[must_use]
pub fn token(object: &DynamicObject) -> String {
    match object.metadata.generation {
        Some(generation) if generation > 0 => generation.to_string(),
        _ => content_hash(&object.data),
    }
}

fn content_hash(content: &Value) -> String {
    let mut hasher = Sha256::new();
    feed_fields(&mut hasher, content, |field| {
        !matches!(field, "apiVersion" | "kind" | "metadata" | "status")
    });
    let hash = BASE32_NOPAD.encode(&hasher.finalize()[..HASH_BYTES]);
    format!("h{}", hash.to_ascii_lowercase())
}

/// Canonical JSON: no white space, fields sorted by name.
fn feed(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Object(_) => feed_fields(hasher, value, |_| true),
        Value::Array(items) => {
            hasher.update("[");
            for (at, item) in items.iter().enumerate() {
                hasher.update(if at == 0 { "" } else { "," });
                feed(hasher, item);
            }
            hasher.update("]");
        }
        scalar => hasher.update(scalar.to_string()),
    }
}

fn feed_fields(hasher: &mut Sha256, object: &Value, counts: impl Fn(&str) -> bool) {
    let fields = object.as_object().into_iter().flatten();
    let mut fields: Vec<_> = fields.filter(|(name, _)| counts(name)).collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    hasher.update("{");
    for (at, (name, value)) in fields.into_iter().enumerate() {
        hasher.update(if at == 0 { "" } else { "," });
        hasher.update(Value::from(name.as_str()).to_string());
        hasher.update(":");
        feed(hasher, value);
    }
    hasher.update("}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token_of(object: Value) -> String {
        token(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_generation_is_the_token() {
        let deployment = json!({"metadata": {"generation": 7}, "spec": {"replicas": 1}});
        assert_eq!(token_of(deployment), "7");
    }

    #[test]
    fn without_a_generation_the_content_is_hashed_in_its_canonical_form() {
        let config_map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a"}, "data": {"b": "2", "a": "1"},
        });
        let canonical = Sha256::digest(r#"{"data":{"a":"1","b":"2"}}"#);
        let expected = BASE32_NOPAD.encode(&canonical[..10]).to_ascii_lowercase();
        assert_eq!(token_of(config_map), format!("h{expected}"));
    }

    #[test]
    fn metadata_status_and_the_order_of_fields_do_not_count() {
        let one = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1, "y": [1, {"p": 1, "q": 2}]}});
        let other = json!({"status": {"z": 1}, "spec": {"y": [1, {"q": 2, "p": 1}], "x": 1}, "metadata": {}});
        assert_eq!(token_of(one), token_of(other));
    }

    #[test]
    fn content_counts() {
        let of = |data: Value| token_of(json!({"metadata": {}, "data": data}));
        let tokens = [
            json!({}),
            json!({"a": "b"}),
            json!({"a": "c"}),
            json!({"a": ["b"]}),
            json!(null),
        ];
        for (at, one) in tokens.iter().enumerate() {
            for other in &tokens[at + 1..] {
                assert_ne!(of(one.clone()), of(other.clone()), "{one} {other}");
            }
        }
    }
}
