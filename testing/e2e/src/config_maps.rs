use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::Test;

impl Test {
    /// Creates the ConfigMap with the label `watched: "yes"`, or gives it this content.
    pub async fn config_map(&self, name: &str, data: &str) -> ConfigMap {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"watched": "yes"}},
            "data": {"data": data},
        });
        let params = PatchParams::apply("kubeci-e2e").force();
        let config_maps = self.api::<ConfigMap>();
        let applied = config_maps
            .patch(name, &params, &Patch::Apply(object))
            .await;
        applied.expect("a ConfigMap")
    }

    /// Changes a part of a ConfigMap.
    pub async fn patch_config_map(&self, name: &str, patch: Value) {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let patched = self.api::<ConfigMap>().patch(name, &params, &patch).await;
        patched.expect("a ConfigMap");
    }

    /// Changes a ConfigMap's label, or takes it away.
    pub async fn label_config_map(&self, name: &str, label: &str, value: Option<&str>) {
        self.patch_config_map(name, json!({"metadata": {"labels": {label: value}}}))
            .await;
    }
}
