use k8s_openapi::api::core::v1;

/// Whether a node is ready to run pods.
#[must_use]
pub fn is_ready(node: &v1::Node) -> bool {
    let mut conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
