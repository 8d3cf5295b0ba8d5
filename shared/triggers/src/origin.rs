//! Loop prevention: objects that kubeci created.

use kube_core::DynamicObject;
use kubeci_api::{GROUP, names};

use crate::{
    resource::{Kind, Resource},
    uid::Uid,
};

/// Whether kubeci created an object. A Workflow must not trigger itself through its own Workplans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// kubeci did not create the object.
    Other,
    /// The object is a Workplan of the Workflow with this uid, created for an event of another kind than
    /// Workplan.
    Workflow(Uid),
    /// The object belongs to a Workplan or to its sweep, or is a Workplan created for an event of a Workplan.
    /// It triggers nothing.
    Workplan,
}

impl Origin {
    pub(crate) fn of(resource: &Resource, object: &DynamicObject) -> Self {
        let owner = |kind: &str| {
            let owners = object.metadata.owner_references.iter().flatten();
            owners.clone().find(|owner| {
                owner.kind == kind && Kind::new(&owner.api_version, kind).group == GROUP
            })
        };
        let labels = object.metadata.labels.as_ref();
        let has_label = |name: &&str| labels.is_some_and(|labels| labels.contains_key(*name));
        let labelled = [names::WORKPLAN_LABEL, names::SWEEP_LABEL]
            .iter()
            .any(has_label);
        if owner("Workplan").is_some() || labelled {
            return Self::Workplan;
        }
        if resource.kind.group != GROUP || resource.kind.name != "Workplan" {
            return Self::Other;
        }
        let trigger = &object.data["spec"]["trigger"];
        let trigger = |field: &str| trigger[field].as_str().unwrap_or_default();
        let triggering_kind = Kind::new(trigger("apiVersion"), trigger("kind"));
        if triggering_kind.same_objects(&resource.kind) {
            return Self::Workplan;
        }
        owner("Workflow").map_or(Self::Other, |workflow| {
            Self::Workflow(workflow.uid.as_str().into())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resource(api_version: &str, kind: &str, plural: &str) -> Resource {
        let kind = Kind::new(api_version, kind);
        Resource {
            kind,
            plural: plural.to_owned(),
        }
    }

    fn origin(resource: &Resource, object: Value) -> Origin {
        Origin::of(resource, &serde_json::from_value(object).unwrap())
    }

    #[test]
    fn objects_of_workplans_are_recognized() {
        let owner =
            json!({"apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "name": "w", "uid": "1"});
        let pods = resource("v1", "Pod", "pods");
        let with_owner = json!({"metadata": {"ownerReferences": [owner]}});
        assert_eq!(origin(&pods, with_owner), Origin::Workplan);
        for label in ["kube.ci/workplan", "kube.ci/sweep"] {
            let labelled = json!({"metadata": {"labels": {label: "w"}}});
            assert_eq!(origin(&pods, labelled), Origin::Workplan);
        }
        let other =
            json!({"apiVersion": "example.com/v1", "kind": "Workplan", "name": "w", "uid": "1"});
        let foreign = json!({"metadata": {"ownerReferences": [other]}});
        assert_eq!(origin(&pods, foreign), Origin::Other);
    }

    #[test]
    fn workplan_origin_depends_on_its_trigger() {
        let workplans = resource("kube.ci/v1alpha1", "Workplan", "workplans");
        let owner =
            json!({"apiVersion": "kube.ci/v1alpha1", "kind": "Workflow", "name": "w", "uid": "1"});
        let triggered_by = |api_version: &str, kind: &str| {
            let trigger = json!({"apiVersion": api_version, "kind": kind});
            json!({"metadata": {"ownerReferences": [owner]}, "spec": {"trigger": trigger}})
        };
        assert_eq!(
            origin(&workplans, triggered_by("v1", "ConfigMap")),
            Origin::Workflow("1".into())
        );
        assert_eq!(
            origin(&workplans, triggered_by("kube.ci/v1alpha1", "Workplan")),
            Origin::Workplan
        );
        assert_eq!(origin(&workplans, json!({"metadata": {}})), Origin::Other);
    }
}
