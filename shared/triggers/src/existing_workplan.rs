//! Whether an existing Workplan belongs to the same event.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube_core::ResourceExt;
use kubeci_api::{Workplan, names};

/// Whether an earlier attempt at the same event created the existing Workplan: the same Workflow controls it, and it
/// has the same head.
#[must_use]
pub fn is_same_event(ours: &Workplan, existing: &ObjectMeta) -> bool {
    let identity = |metadata: &ObjectMeta| {
        let head = metadata.labels.as_ref()?.get(names::HEAD_LABEL)?.clone();
        let mut owners = metadata.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.controller == Some(true))?;
        let OwnerReference { kind, uid, .. } = owner.clone();
        Some((kind, uid, head))
    };
    let existing = identity(existing);
    existing.is_some() && existing == identity(&ours.metadata)
}

/// The message for a Workplan whose name is in use.
#[must_use]
pub fn name_taken(ours: &Workplan) -> String {
    let (name, namespace) = (ours.name_any(), ours.namespace().unwrap_or_default());
    format!(
        "the Workplan {name} exists and belongs to another event; delete it: \
         kubectl delete workplan {name} -n {namespace}"
    )
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // rstest passes values
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn workplan(change: &Value) -> Workplan {
        let owner = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow", "name": "w", "uid": "1", "controller": true,
        });
        let mut workplan = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan",
            "metadata": {"name": "w-h", "namespace": "own", "ownerReferences": [owner], "labels": {
                "kube.ci/head": "h", "kube.ci/sequence": "1",
            }},
            "spec": {"tasks": []},
        });
        for (path, value) in change.as_object().unwrap() {
            *workplan["metadata"].pointer_mut(path).unwrap() = value.clone();
        }
        serde_json::from_value(workplan).unwrap()
    }

    #[rstest]
    #[case::again(json!({}), true)]
    #[case::with_another_number(json!({"/labels/kube.ci~1sequence": "2"}), true)]
    #[case::of_another_workflow(json!({"/ownerReferences/0/uid": "2"}), false)]
    #[case::of_another_kind(json!({"/ownerReferences/0/kind": "Thing"}), false)]
    #[case::not_controlled(json!({"/ownerReferences/0/controller": false}), false)]
    #[case::of_another_event(json!({"/labels/kube.ci~1head": "i"}), false)]
    #[case::by_hand(json!({"/ownerReferences": null, "/labels": null}), false)]
    fn existing_workplan_must_have_same_owner_and_head(#[case] change: Value, #[case] same: bool) {
        let existing = workplan(&change).metadata;
        assert_eq!(is_same_event(&workplan(&json!({})), &existing), same);
    }

    #[test]
    fn name_taken_message_has_delete_command() {
        let message = name_taken(&workplan(&json!({})));
        assert!(
            message.ends_with("kubectl delete workplan w-h -n own"),
            "{message}"
        );
    }
}
