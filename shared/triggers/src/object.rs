//! Watched objects, cut to what decisions need.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use kube_core::{ApiResource, DynamicObject, GroupVersionKind};
use kubeci_api::{GROUP, names};

use crate::fingerprint::Fingerprint;

/// The uid of an object.
pub type Uid = Arc<str>;
/// The uids of all objects of a list.
pub type Uids = HashSet<Uid>;

/// A kind of a group at a version, as a trigger names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    pub group: String,
    pub version: String,
    pub name: String,
}

impl Kind {
    /// Reads `v1` or `apps/v1`.
    #[must_use]
    pub fn new(api_version: &str, name: &str) -> Self {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let [group, version, name] = [group, version, name].map(str::to_owned);
        Self {
            group,
            version,
            name,
        }
    }

    /// The group and version, as in a manifest.
    #[must_use]
    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Whether the two are the same objects, if perhaps at different versions.
    #[must_use]
    pub fn same_objects(&self, other: &Self) -> bool {
        self.group == other.group && self.name == other.name
    }
}

/// A kind and where the API serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    pub kind: Kind,
    pub plural: String,
}

impl Resource {
    /// A kind under the plural name that it has nearly always.
    #[must_use]
    pub fn usual(kind: Kind) -> Self {
        let gvk = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.name);
        // kube counts the letters before a final y, of which "Y" has none.
        let plural = match gvk.kind.len() {
            0 | 1 => gvk.kind.to_lowercase(),
            _ => ApiResource::from_gvk(&gvk).plural,
        };
        Self { kind, plural }
    }

    /// As RBAC rules and `kubectl create role` name it: `deployments.apps`.
    #[must_use]
    pub fn rule_name(&self) -> String {
        match self.kind.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Reads what `Display` writes; the ledger has it beside the kind.
    #[must_use]
    pub fn parse(text: &str, kind: &str) -> Self {
        let mut parts = text.splitn(3, '.').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        let (plural, version, group) = (part(), part(), part());
        let kind = Kind {
            group,
            version,
            name: kind.to_owned(),
        };
        Self { kind, plural }
    }
}

impl fmt::Display for Resource {
    /// `configmaps.v1`, `deployments.v1.apps`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.plural, self.kind.version)?;
        match self.kind.group.as_str() {
            "" => Ok(()),
            group => write!(f, ".{group}"),
        }
    }
}

/// Which objects of a resource are watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    All,
    Namespace(String),
}

impl Scope {
    #[must_use]
    pub fn contains(&self, namespace: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(own) => namespace == Some(own),
        }
    }
}

/// What one watch watches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchKey {
    pub resource: Arc<Resource>,
    pub scope: Scope,
}

impl WatchKey {
    /// The same resource in all namespaces.
    #[must_use]
    pub fn everywhere(&self) -> Self {
        Self {
            resource: self.resource.clone(),
            scope: Scope::All,
        }
    }

    #[must_use]
    pub fn covers(&self, object: &ObjectRef) -> bool {
        self.resource.kind.same_objects(&object.resource.kind)
            && self.scope.contains(object.namespace.as_deref())
    }
}

impl fmt::Display for WatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = self.resource.rule_name();
        match &self.scope {
            Scope::All => write!(f, "{resource} in all namespaces"),
            Scope::Namespace(namespace) => write!(f, "{resource} in namespace {namespace}"),
        }
    }
}

/// Which object it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    pub resource: Arc<Resource>,
    pub namespace: Option<String>,
    pub name: String,
}

/// An object as a watch showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub uid: Uid,
    pub object: ObjectRef,
    pub labels: BTreeMap<String, String>,
    pub fingerprint: Fingerprint,
    /// Whether its deletion has begun: it waits for its finalizers, or its containers to end.
    pub ending: bool,
    pub origin: Origin,
}

/// Whether kubeci itself made the object, since what a Workflow's run brings about must not run it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Not kubeci.
    Other,
    /// A Workplan that this Workflow fired, because of another object than a Workplan.
    Workflow(Uid),
    /// A Workplan or its sweep, or it is a Workplan that a Workplan fired: it triggers nothing.
    Workplan,
}

impl Seen {
    /// What decisions need of the object; nothing if it lacks a name or uid, which no stored object does.
    #[must_use]
    pub fn new(resource: &Arc<Resource>, object: &DynamicObject) -> Option<Self> {
        let metadata = &object.metadata;
        let object_ref = ObjectRef {
            resource: resource.clone(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone()?,
        };
        Some(Self {
            uid: metadata.uid.as_deref()?.into(),
            object: object_ref,
            labels: metadata.labels.clone().unwrap_or_default(),
            fingerprint: Fingerprint::of(object),
            ending: metadata.deletion_timestamp.is_some(),
            origin: Origin::of(resource, object),
        })
    }
}

impl Origin {
    fn of(resource: &Resource, object: &DynamicObject) -> Self {
        let owner = |kind: &str| {
            let owners = object.metadata.owner_references.iter().flatten();
            owners.clone().find(|owner| {
                owner.kind == kind && Kind::new(&owner.api_version, kind).group == GROUP
            })
        };
        let labels = object.metadata.labels.as_ref();
        let labelled = |name: &&str| labels.is_some_and(|labels| labels.contains_key(*name));
        let marked = [names::WORKPLAN_LABEL, names::SWEEP_LABEL]
            .iter()
            .any(labelled);
        if owner("Workplan").is_some() || marked {
            return Self::Workplan;
        }
        if resource.kind.group != GROUP || resource.kind.name != "Workplan" {
            return Self::Other;
        }
        let trigger = &object.data["spec"]["trigger"];
        let trigger = |field: &str| trigger[field].as_str().unwrap_or_default();
        let cause = Kind::new(trigger("apiVersion"), trigger("kind"));
        if cause.same_objects(&resource.kind) {
            return Self::Workplan;
        }
        owner("Workflow").map_or(Self::Other, |workflow| {
            Self::Workflow(workflow.uid.as_str().into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn resource(api_version: &str, kind: &str, plural: &str) -> Arc<Resource> {
        let kind = Kind::new(api_version, kind);
        Arc::new(Resource {
            kind,
            plural: plural.to_owned(),
        })
    }

    fn origin(resource: &Arc<Resource>, mut object: Value) -> Origin {
        object["metadata"]["name"] = json!("a");
        object["metadata"]["uid"] = json!("u");
        Seen::new(resource, &serde_json::from_value(object).unwrap())
            .unwrap()
            .origin
    }

    #[rstest]
    #[case("v1", "ConfigMap", "configmaps", "configmaps.v1")]
    #[case("apps/v1", "Deployment", "deployments", "deployments.v1.apps")]
    #[case("a.b.example/v1beta1", "Thing", "things", "things.v1beta1.a.b.example")]
    fn a_resource_is_read_as_it_is_written(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] plural: &str,
        #[case] text: &str,
    ) {
        let resource = resource(api_version, kind, plural);
        assert_eq!(resource.to_string(), text);
        assert_eq!(Resource::parse(text, kind), *resource);
        assert_eq!(resource.kind.api_version(), api_version);
    }

    #[rstest]
    #[case("ConfigMap", "configmaps")]
    #[case("Ingress", "ingresses")]
    #[case("NetworkPolicy", "networkpolicies")]
    #[case("Y", "y")]
    #[case("", "")]
    #[case("Äy", "Äies")]
    fn a_kind_has_its_usual_plural(#[case] kind: &str, #[case] plural: &str) {
        assert_eq!(Resource::usual(Kind::new("v1", kind)).plural, plural);
    }

    #[test]
    fn what_a_workplan_owns_or_its_label_marks_is_of_a_workplan() {
        let owner =
            json!({"apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "name": "w", "uid": "1"});
        let pods = resource("v1", "Pod", "pods");
        let of_workplan = json!({"metadata": {"ownerReferences": [owner]}});
        assert_eq!(origin(&pods, of_workplan), Origin::Workplan);
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
    fn a_workplan_knows_its_workflow_and_whether_a_workplan_fired_it() {
        let workplans = resource("kube.ci/v1alpha1", "Workplan", "workplans");
        let owner =
            json!({"apiVersion": "kube.ci/v1alpha1", "kind": "Workflow", "name": "w", "uid": "1"});
        let fired = |api_version: &str, kind: &str| {
            let trigger = json!({"apiVersion": api_version, "kind": kind});
            json!({"metadata": {"ownerReferences": [owner]}, "spec": {"trigger": trigger}})
        };
        assert_eq!(
            origin(&workplans, fired("v1", "ConfigMap")),
            Origin::Workflow("1".into())
        );
        assert_eq!(
            origin(&workplans, fired("kube.ci/v1alpha1", "Workplan")),
            Origin::Workplan
        );
        assert_eq!(origin(&workplans, json!({"metadata": {}})), Origin::Other);
    }
}
