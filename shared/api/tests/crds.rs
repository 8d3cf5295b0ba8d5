//! The manifests in `crds/` are what the types generate. `UPDATE_CRDS=1` writes them.

use std::path::PathBuf;

/// Below this `kubectl apply` works, whose annotation holds the whole manifest.
const SIZE_MAX: usize = 200_000;

#[test]
fn manifests_are_what_the_types_generate() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds"));
    for crd in kubeci_api::definitions() {
        let name = crd.metadata.name.as_deref().unwrap();
        let path = folder.join(format!("{name}.yaml"));
        let generated = serde_saphyr::to_string(&crd).unwrap();
        assert!(
            generated.len() < SIZE_MAX,
            "{name} has {} bytes; a definition may have {SIZE_MAX}",
            generated.len()
        );
        if std::env::var_os("UPDATE_CRDS").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == generated,
            "{} has drifted from shared/api; run `make crds`",
            path.display()
        );
    }
}
