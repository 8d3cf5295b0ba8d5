//! JSON merge patches.

use serde_json::{Map, Value};

/// The merge patch from `old` to `new`; `None` if they are equal.
#[must_use]
pub fn diff(old: &Value, new: &Value) -> Option<Value> {
    let empty = Map::new();
    let (old, new) = match (old, new) {
        (old, new) if old == new => return None,
        (Value::Object(old), Value::Object(new)) => (old, new),
        (_, Value::Object(new)) => (&empty, new),
        (_, new) => return Some(new.clone()),
    };
    let nothing = Value::Null;
    let changed = new.iter().filter_map(|(field, value)| {
        let before = old.get(field).unwrap_or(&nothing);
        Some((field.clone(), diff(before, value)?))
    });
    let removed = old
        .iter()
        .filter(|(field, value)| !value.is_null() && !new.contains_key(*field));
    let removed = removed.map(|(field, _)| (field.clone(), Value::Null));
    Some(changed.chain(removed).collect())
}

/// Applies a merge patch, as the API server does.
#[cfg(test)]
pub fn apply(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let fields = value.as_object_mut().unwrap();
    for (field, new) in patch {
        if new.is_null() {
            fields.remove(field);
        } else {
            apply(fields.entry(field.clone()).or_insert(Value::Null), new);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({"a": 1}), json!({"a": 1}), None)]
    #[case(json!({"a": 1}), json!({"a": 2}), Some(json!({"a": 2})))]
    #[case(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 2}}), Some(json!({"a": {"b": null}})))]
    #[case(json!(null), json!({"a": {"b": 1}}), Some(json!({"a": {"b": 1}})))]
    #[case(json!({"a": [1, 2]}), json!({"a": [1]}), Some(json!({"a": [1]})))]
    #[case(json!({"a": {"b": 1}}), json!({}), Some(json!({"a": null})))]
    #[case(json!({"a": null}), json!({}), Some(json!({})))]
    fn patch_has_only_changed_fields(
        #[case] old: Value,
        #[case] new: Value,
        #[case] patch: Option<Value>,
    ) {
        assert_eq!(diff(&old, &new), patch);
        let mut patched = old;
        apply(&mut patched, &patch.unwrap_or_else(|| json!({})));
        assert_eq!(diff(&patched, &new).unwrap_or_else(|| json!({})), json!({}));
    }
}
