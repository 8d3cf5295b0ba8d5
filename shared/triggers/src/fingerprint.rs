//! Whether an object is still in the state in which it was last seen.
//!
//! An object's state is its content outside `metadata` and `status`. Its hash, the *token*, names the state in
//! Workplans. A ledger remembers the token and, behind a dot, the generation of an object that has no other
//! content than a spec: as long as that stays, nobody has written another spec, and a content that reads
//! differently all the same is what a new version of the API server makes of it. Older ledgers remember
//! the generation alone.

use data_encoding::BASE32_NOPAD;
use kube_core::DynamicObject;
use serde::Serialize;
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// 80 bits are 16 characters of base32.
const HASH_BYTES: usize = 10;

/// The state of an object as a watch showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    token: String,
    generation: Option<i64>,
    /// Whether no content changes without the generation, which counts changes of a spec. It also moves with
    /// much that is no content: a deletion that begins, annotations of a Deployment, the status of some kinds.
    counted: bool,
}

impl Fingerprint {
    /// The state of an object.
    #[must_use]
    pub fn of(object: &DynamicObject) -> Self {
        let generation = object.metadata.generation.filter(|at| *at > 0);
        let only_spec = content(&object.data).all(|(field, _)| field == "spec");
        Self {
            token: token(&object.data),
            generation,
            counted: generation.is_some() && only_spec,
        }
    }

    /// What names the state.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What a ledger keeps of the state.
    #[must_use]
    pub fn remembered(&self) -> String {
        match self.generation.filter(|_| self.counted) {
            Some(generation) => format!("{}.{generation}", self.token),
            None => self.token.clone(),
        }
    }

    /// Whether this is the state of which a ledger kept `remembered`.
    #[must_use]
    pub fn is(&self, remembered: &str) -> bool {
        let here = |at: &str| self.generation.is_some_and(|it| at == it.to_string());
        match remembered.split_once('.') {
            Some((token, at)) => token == self.token || (self.counted && here(at)),
            None => remembered == self.token || here(remembered),
        }
    }

    /// Whether a Workflow sees no difference.
    #[must_use]
    pub fn same_state(&self, other: &Self) -> bool {
        self.token == other.token
    }
}

/// The name of the state in what a ledger kept of it.
#[must_use]
pub fn token_of(remembered: &str) -> &str {
    remembered
        .split_once('.')
        .map_or(remembered, |(token, _)| token)
}

fn token(data: &Value) -> String {
    let mut hasher = Sha256::new();
    feed_fields(&mut hasher, content(data));
    let hash = BASE32_NOPAD.encode(&hasher.finalize()[..HASH_BYTES]);
    format!("h{}", hash.to_ascii_lowercase())
}

fn content(data: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = data.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
}

/// Canonical JSON: no white space, fields sorted by name, whole numbers without a fraction.
fn feed(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Object(fields) => feed_fields(hasher, fields.iter()),
        Value::Array(items) => {
            hasher.update("[");
            for (at, item) in items.iter().enumerate() {
                hasher.update(if at == 0 { "" } else { "," });
                feed(hasher, item);
            }
            hasher.update("]");
        }
        Value::Number(number) => feed_number(hasher, number),
        scalar => feed_json(hasher, scalar),
    }
}

/// The API server writes `1` for `1.0`; not everything that aggregates an API does.
fn feed_number(hasher: &mut Sha256, number: &Number) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|_| number.is_f64());
    match float.filter(|it| it.fract() == 0.0 && it.abs() < EXACT) {
        // Adding nothing makes zero of minus zero.
        Some(whole) => hasher.update(format!("{:.0}", whole + 0.0)),
        None => hasher.update(number.to_string()),
    }
}

fn feed_fields<'a>(hasher: &mut Sha256, fields: impl Iterator<Item = (&'a String, &'a Value)>) {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    hasher.update("{");
    for (at, (name, value)) in fields.into_iter().enumerate() {
        hasher.update(if at == 0 { "" } else { "," });
        feed_json(hasher, name);
        hasher.update(":");
        feed(hasher, value);
    }
    hasher.update("}");
}

/// Streams, so that a megabyte of text is not copied for its hash.
fn feed_json(hasher: &mut Sha256, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(hasher, value).unwrap_or_default(); // A hash takes every byte.
}

#[cfg(test)]
impl Fingerprint {
    /// A state of an object whose generation counts nothing.
    pub fn named(token: &str) -> Self {
        Self {
            token: format!("h{token}"),
            generation: None,
            counted: false,
        }
    }

    /// The same state at a generation that counts its changes.
    pub fn at(self, generation: i64) -> Self {
        Self {
            generation: Some(generation),
            counted: true,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn of(object: Value) -> Fingerprint {
        Fingerprint::of(&serde_json::from_value(object).unwrap())
    }

    fn spec(generation: i64, replicas: u8) -> Fingerprint {
        of(json!({"metadata": {"generation": generation}, "spec": {"replicas": replicas}}))
    }

    #[test]
    fn a_token_is_the_hash_of_canonical_content() {
        let config_map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a"}, "data": {"b": "2", "a": "1\"\u{e9}"},
        });
        let canonical = Sha256::digest("{\"data\":{\"a\":\"1\\\"\u{e9}\",\"b\":\"2\"}}");
        let expected = BASE32_NOPAD.encode(&canonical[..10]).to_ascii_lowercase();
        assert_eq!(of(config_map).token(), format!("h{expected}"));
    }

    #[test]
    fn metadata_status_and_order_do_not_count() {
        let one = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1, "y": [1, {"p": 1, "q": 2}]}});
        let other = json!({"status": {"z": 1}, "spec": {"y": [1, {"q": 2, "p": 1}], "x": 1}, "metadata": {}});
        assert_eq!(of(one).token(), of(other).token());
    }

    #[test]
    fn content_counts() {
        let of = |data: &Value| of(json!({"metadata": {}, "data": data}));
        let contents = [
            json!({}),
            json!({"a": "b"}),
            json!({"a": "c"}),
            json!({"a": ["b"]}),
            json!({"a": {"b": ""}}),
            json!([]),
            json!([1]),
            json!(["1"]),
            json!([1.5]),
            json!(null),
        ];
        for (at, one) in contents.iter().enumerate() {
            for other in &contents[at + 1..] {
                assert_ne!(of(one).token(), of(other).token(), "{one} {other}");
            }
        }
    }

    #[rstest]
    #[case("1", "1.0")]
    #[case("0", "-0.0")]
    #[case("-3", "-3.0")]
    #[case("100000", "1e5")]
    #[case("1.5", "1.50")]
    #[case("1000000000000", "1e12")]
    fn numbers_count_not_how_they_are_written(#[case] one: &str, #[case] other: &str) {
        let [one, other] = [one, other].map(|number| {
            let object = format!("{{\"metadata\": {{}}, \"spec\": {{\"x\": {number}}}}}");
            of(serde_json::from_str(&object).unwrap())
        });
        assert_eq!(one.token(), other.token());
    }

    #[test]
    fn what_is_no_content_moves_only_the_generation() {
        let before = spec(7, 1).remembered();
        assert!(spec(8, 1).is(&before), "a deletion begins, or a label");
        assert!(!spec(8, 2).is(&before));
        assert_eq!(token_of(&before), spec(8, 1).token());
    }

    #[test]
    fn a_spec_that_only_reads_differently_is_the_same() {
        let before = spec(7, 1).remembered();
        let defaulted =
            json!({"metadata": {"generation": 7}, "spec": {"replicas": 1, "new": "default"}});
        assert!(of(defaulted).is(&before));
    }

    #[rstest]
    #[case::other_content(json!({"metadata": {"generation": 1}, "value": 2}), json!({"metadata": {"generation": 1}, "value": 3}))]
    #[case::beside_a_spec(json!({"metadata": {"generation": 1}, "spec": {}, "a": 2}), json!({"metadata": {"generation": 1}, "spec": {}, "a": 3}))]
    #[case::no_generation(json!({"metadata": {}, "spec": {"a": 2}}), json!({"metadata": {}, "spec": {"a": 3}}))]
    #[case::generation_zero(json!({"metadata": {"generation": 0}, "spec": {"a": 2}}), json!({"metadata": {"generation": 0}, "spec": {"a": 3}}))]
    fn a_generation_that_stays_vouches_for_a_spec_alone(#[case] before: Value, #[case] now: Value) {
        let remembered = of(before).remembered();
        assert!(!remembered.contains('.'), "{remembered}");
        assert!(!of(now).is(&remembered));
    }

    #[test]
    fn what_older_ledgers_remember_is_known_again() {
        assert!(spec(7, 1).is("7"));
        assert!(!spec(8, 1).is("7"));
        let class = json!({"metadata": {"generation": 1}, "value": 2});
        assert!(of(class).is("1"));
        assert_eq!(token_of("7"), "7");
        let config_map = json!({"metadata": {}, "data": {"a": "b"}});
        let hash = Sha256::digest(r#"{"data":{"a":"b"}}"#);
        let older = format!("h{}", BASE32_NOPAD.encode(&hash[..10]).to_ascii_lowercase());
        assert!(of(config_map).is(&older));
    }
}
