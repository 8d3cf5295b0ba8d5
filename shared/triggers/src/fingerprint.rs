//! Fingerprints: whether an object is still in the state that was last observed.
//!
//! The state of an object is its content outside `metadata` and `status`. The hash of the content is the `token`
//! in the trigger of a Workplan. For an object whose only content is a spec, the ledger stores the hash and the
//! generation, joined by a dot. If the generation is unchanged, no other spec was written, and a spec that
//! reads differently was only converted or defaulted by a new version of the API server. Ledgers of older releases
//! store the generation alone.

use data_encoding::BASE32_NOPAD;
use kube_core::DynamicObject;
use serde::Serialize;
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// 80 bits are 16 characters of base32.
const HASH_BYTES: usize = 10;

/// The fingerprint of the observed state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    hash: String,
    generation: Option<i64>,
    /// Whether the content cannot change without the generation, which is sound for a spec. The generation may
    /// also change without the content: when a deletion begins, for annotations of a Deployment, for the status of
    /// some kinds.
    generation_is_sound: bool,
}

impl Fingerprint {
    /// The fingerprint of an object.
    #[must_use]
    pub fn of(object: &DynamicObject) -> Self {
        let generation = object
            .metadata
            .generation
            .filter(|generation| *generation > 0);
        let only_spec = content(&object.data).all(|(field, _)| field == "spec");
        Self {
            hash: hash(&object.data),
            generation,
            generation_is_sound: generation.is_some() && only_spec,
        }
    }

    /// The hash of the content, which is the `token` of a Workplan's trigger.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The form that the ledger stores.
    #[must_use]
    pub fn to_stored(&self) -> StoredFingerprint {
        let generation = self.generation.filter(|_| self.generation_is_sound);
        StoredFingerprint::new(&self.hash, generation)
    }

    /// Whether `stored` is the fingerprint of the same state.
    #[must_use]
    pub fn matches(&self, stored: &StoredFingerprint) -> bool {
        let same_generation =
            |stored: &str| self.generation.is_some_and(|own| stored == own.to_string());
        match stored.0.split_once('.') {
            Some((hash, generation)) => {
                hash == self.hash || (self.generation_is_sound && same_generation(generation))
            }
            None => stored.0 == self.hash || same_generation(&stored.0),
        }
    }

    /// Whether both have the same content, whatever their generations.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

/// A fingerprint as the ledger stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFingerprint(String);

impl StoredFingerprint {
    /// The fingerprint of a hash and of the generation, if no content changes without it.
    #[must_use]
    pub fn new(hash: &str, generation: Option<i64>) -> Self {
        Self(match generation {
            Some(generation) => format!("{hash}.{generation}"),
            None => hash.to_owned(),
        })
    }

    /// The hash of the content; in ledgers of older releases the generation.
    #[must_use]
    pub fn hash(&self) -> &str {
        self.0.split_once('.').map_or(&self.0, |(hash, _)| hash)
    }

    /// The generation, if no content changes without it.
    #[must_use]
    pub fn generation(&self) -> Option<i64> {
        self.0.split_once('.')?.1.parse().ok()
    }

    /// The text in the ledger.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for StoredFingerprint {
    fn from(text: String) -> Self {
        Self(text)
    }
}

fn hash(data: &Value) -> String {
    let mut hasher = Sha256::new();
    hash_fields(&mut hasher, content(data));
    let hash = BASE32_NOPAD.encode(&hasher.finalize()[..HASH_BYTES]);
    format!("h{}", hash.to_ascii_lowercase())
}

fn content(data: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = data.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
}

/// Hashes canonical JSON: no white space, fields sorted by name, whole numbers without a fraction.
fn hash_value(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Object(fields) => hash_fields(hasher, fields.iter()),
        Value::Array(items) => {
            hasher.update("[");
            for (at, item) in items.iter().enumerate() {
                hasher.update(if at == 0 { "" } else { "," });
                hash_value(hasher, item);
            }
            hasher.update("]");
        }
        Value::Number(number) => hash_number(hasher, number),
        scalar => hash_json(hasher, scalar),
    }
}

/// Hashes `1.0` as `1`. The API server writes `1`; an aggregated API server may not.
fn hash_number(hasher: &mut Sha256, number: &Number) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|_| number.is_f64());
    match float.filter(|it| it.fract() == 0.0 && it.abs() < EXACT) {
        // Adding zero turns minus zero into zero.
        Some(whole) => hasher.update(format!("{:.0}", whole + 0.0)),
        None => hasher.update(number.to_string()),
    }
}

fn hash_fields<'a>(hasher: &mut Sha256, fields: impl Iterator<Item = (&'a String, &'a Value)>) {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    hasher.update("{");
    for (at, (name, value)) in fields.into_iter().enumerate() {
        hasher.update(if at == 0 { "" } else { "," });
        hash_json(hasher, name);
        hasher.update(":");
        hash_value(hasher, value);
    }
    hasher.update("}");
}

/// Streams the JSON into the hash, so that large texts are not copied.
fn hash_json(hasher: &mut Sha256, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(hasher, value).unwrap_or_default(); // Writing into a hash never fails.
}

#[cfg(test)]
impl Fingerprint {
    /// A fingerprint with this hash and no generation.
    pub(crate) fn named(hash: &str) -> Self {
        Self {
            hash: format!("h{hash}"),
            generation: None,
            generation_is_sound: false,
        }
    }

    /// The same content at this sound generation.
    pub(crate) fn at(self, generation: i64) -> Self {
        Self {
            generation: Some(generation),
            generation_is_sound: true,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn of(object: Value) -> Fingerprint {
        Fingerprint::of(&serde_json::from_value(object).unwrap())
    }

    fn spec(generation: i64, replicas: u8) -> Fingerprint {
        of(json!({"metadata": {"generation": generation}, "spec": {"replicas": replicas}}))
    }

    #[test]
    fn hash_is_of_canonical_content() {
        let config_map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a"}, "data": {"b": "2", "a": "1\"\u{e9}"},
        });
        let canonical = Sha256::digest("{\"data\":{\"a\":\"1\\\"\u{e9}\",\"b\":\"2\"}}");
        let expected = BASE32_NOPAD.encode(&canonical[..10]).to_ascii_lowercase();
        assert_eq!(of(config_map).hash(), format!("h{expected}"));
    }

    #[test]
    fn hash_ignores_metadata_status_and_field_order() {
        let one = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1, "y": [1, {"p": 1, "q": 2}]}});
        let other = json!({"status": {"z": 1}, "spec": {"y": [1, {"q": 2, "p": 1}], "x": 1}, "metadata": {}});
        assert_eq!(of(one).hash(), of(other).hash());
    }

    #[test]
    fn hash_differs_for_different_content() {
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
                assert_ne!(of(one).hash(), of(other).hash(), "{one} {other}");
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
    fn hash_ignores_number_notation(#[case] one: &str, #[case] other: &str) {
        let [one, other] = [one, other].map(|number| {
            let object = format!("{{\"metadata\": {{}}, \"spec\": {{\"x\": {number}}}}}");
            of(serde_json::from_str(&object).unwrap())
        });
        assert_eq!(one.hash(), other.hash());
    }

    #[test]
    fn generation_alone_is_no_new_state() {
        let before = spec(7, 1).to_stored();
        assert!(spec(8, 1).matches(&before), "a deletion begins, or a label");
        assert!(!spec(8, 2).matches(&before));
        assert_eq!(before.hash(), spec(8, 1).hash());
    }

    #[test]
    fn defaulted_spec_at_same_generation_matches() {
        let before = spec(7, 1).to_stored();
        let defaulted =
            json!({"metadata": {"generation": 7}, "spec": {"replicas": 1, "new": "default"}});
        assert!(of(defaulted).matches(&before));
    }

    #[rstest]
    #[case::other_content(json!({"metadata": {"generation": 1}, "value": 2}), json!({"metadata": {"generation": 1}, "value": 3}))]
    #[case::beside_a_spec(json!({"metadata": {"generation": 1}, "spec": {}, "a": 2}), json!({"metadata": {"generation": 1}, "spec": {}, "a": 3}))]
    #[case::no_generation(json!({"metadata": {}, "spec": {"a": 2}}), json!({"metadata": {}, "spec": {"a": 3}}))]
    #[case::generation_zero(json!({"metadata": {"generation": 0}, "spec": {"a": 2}}), json!({"metadata": {"generation": 0}, "spec": {"a": 3}}))]
    fn generation_is_sound_only_for_specs(#[case] before: Value, #[case] now: Value) {
        let stored = of(before).to_stored();
        assert!(!stored.as_str().contains('.'), "{stored:?}");
        assert!(!of(now).matches(&stored));
    }

    #[test]
    fn fingerprints_of_older_ledgers_match() {
        let stored = |text: &str| StoredFingerprint::from(text.to_owned());
        assert!(spec(7, 1).matches(&stored("7")));
        assert!(!spec(8, 1).matches(&stored("7")));
        let class = json!({"metadata": {"generation": 1}, "value": 2});
        assert!(of(class).matches(&stored("1")));
        assert_eq!(stored("7").hash(), "7");
        let config_map = json!({"metadata": {}, "data": {"a": "b"}});
        let hash = Sha256::digest(r#"{"data":{"a":"b"}}"#);
        let older = format!("h{}", BASE32_NOPAD.encode(&hash[..10]).to_ascii_lowercase());
        assert!(of(config_map).matches(&stored(&older)));
    }
}
