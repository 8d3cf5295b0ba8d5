//! Trigger filters: which objects a trigger matches, and which of their events it selects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_core::{Selector, SelectorExt};
use kubeci_api::Trigger;

use crate::{
    object::{ObjectRef, ObservedObject},
    origin::Origin,
    resource::Kind,
};

/// A validated trigger.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The index in `spec.triggers`.
    pub index: usize,
    pub kind: Kind,
    /// The plural name, if the trigger has one.
    pub plural: Option<String>,
    pub namespaces: NamespaceSelector,
    pub name: Option<String>,
    selector: Selector,
    on_add_or_update: bool,
    on_delete: bool,
}

/// The namespaces that a trigger selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceSelector {
    /// The trigger names no namespace: the Workflow's own, or the whole cluster for a cluster-scoped kind.
    Own(String),
    Named(String),
    All,
}

/// Which events of a matching object the triggers select.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventSelection {
    pub add_or_update: bool,
    pub delete: bool,
}

/// A trigger is invalid; the message names the field and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error(
        "spec.triggers[{0}].apiVersion: {1:?} is not a group and version; use the apiVersion of the object's manifest, such as v1 or apps/v1"
    )]
    ApiVersion(usize, String),
    #[error(
        "spec.triggers[{0}].kind: an Event cannot be a trigger, because each Workplan creates Events, which would fire the next Workplan; \
         use the kind of the object that the Event is about"
    )]
    Event(usize),
    #[error("spec.triggers[{0}].selector.matchExpressions[{1}]: {2}")]
    Selector(usize, usize, &'static str),
}

impl Filter {
    /// Validates the trigger at this index, of a Workflow in the namespace `own`.
    pub fn new(index: usize, trigger: &Trigger, own: &str) -> Result<Self, FilterError> {
        let kind = Kind::new(&trigger.api_version, &trigger.kind);
        if kind.version.is_empty() || kind.group.contains('/') {
            return Err(FilterError::ApiVersion(index, trigger.api_version.clone()));
        }
        if is_event(&kind) {
            return Err(FilterError::Event(index));
        }
        let namespaces = match trigger.namespace.as_deref() {
            None => NamespaceSelector::Own(own.to_owned()),
            Some("*") => NamespaceSelector::All,
            Some(namespace) => NamespaceSelector::Named(namespace.to_owned()),
        };
        Ok(Self {
            index,
            kind,
            plural: trigger.resource.clone(),
            namespaces,
            name: trigger.name.clone(),
            selector: selector(index, trigger.selector.as_ref())?,
            on_add_or_update: trigger.on_add_or_update,
            on_delete: trigger.on_delete,
        })
    }

    /// Whether kind, namespace and name match. Labels are not compared.
    #[must_use]
    pub fn covers(&self, object: &ObjectRef) -> bool {
        self.namespaces.contains(object.namespace.as_deref())
            && self.kind.same_objects(&object.resource.kind)
            && self.name.as_ref().is_none_or(|name| *name == object.name)
    }

    fn matches(&self, observed: &ObservedObject) -> bool {
        self.covers(&observed.object) && self.selector.matches(&observed.labels)
    }

    fn selection(&self) -> EventSelection {
        EventSelection {
            add_or_update: self.on_add_or_update,
            delete: self.on_delete,
        }
    }
}

impl NamespaceSelector {
    fn contains(&self, namespace: Option<&str>) -> bool {
        match (self, namespace) {
            (Self::All, _) | (Self::Own(_), None) => true,
            (Self::Own(own) | Self::Named(own), Some(namespace)) => own == namespace,
            (Self::Named(_), None) => false,
        }
    }
}

/// Whether the kind is Event, of which the pods of each Workplan create more.
fn is_event(kind: &Kind) -> bool {
    kind.name == "Event" && matches!(kind.group.as_str(), "" | "events.k8s.io")
}

/// The events that any matching filter selects, or `None` if no filter matches. Objects that the Workflow itself
/// created never match. Of an object that is being deleted only the deletion is selected.
#[must_use]
pub fn selected_events(
    filters: &[Filter],
    workflow: &str,
    observed: &ObservedObject,
) -> Option<EventSelection> {
    let own = match &observed.origin {
        Origin::Other => false,
        Origin::Workflow(uid) => **uid == *workflow,
        Origin::Workplan => true,
    };
    if own {
        return None;
    }
    let matching = filters.iter().filter(|filter| filter.matches(observed));
    let selection = matching.map(Filter::selection).reduce(union)?;
    Some(EventSelection {
        add_or_update: selection.add_or_update && !observed.deleting,
        ..selection
    })
}

/// Whether any filter that covers the object selects its deletion.
#[must_use]
pub fn selects_deletion(filters: &[Filter], object: &ObjectRef) -> bool {
    filters
        .iter()
        .any(|filter| filter.on_delete && filter.covers(object))
}

fn union(one: EventSelection, other: EventSelection) -> EventSelection {
    EventSelection {
        add_or_update: one.add_or_update || other.add_or_update,
        delete: one.delete || other.delete,
    }
}

/// Converts a label selector. kube accepts selectors that the API server would reject in a built-in resource; the
/// API server does not validate those of custom resources.
fn selector(index: usize, selector: Option<&LabelSelector>) -> Result<Selector, FilterError> {
    let Some(selector) = selector else {
        return Ok(Selector::default());
    };
    for (at, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let values = requirement.values.as_deref().unwrap_or_default();
        let problem = match requirement.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                "In and NotIn need at least one value; add values"
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                "Exists and DoesNotExist take no values; remove values"
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => continue,
            _ => "operator must be In, NotIn, Exists or DoesNotExist",
        };
        return Err(FilterError::Selector(index, at, problem));
    }
    let invalid = |_| FilterError::Selector(index, 0, "cannot be read");
    selector.clone().try_into().map_err(invalid)
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // rstest passes values
mod tests {
    use std::sync::Arc;

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::{fingerprint::Fingerprint, resource::Resource};

    fn filter(trigger: Value) -> Result<Filter, FilterError> {
        let mut whole = json!({"apiVersion": "v1", "kind": "ConfigMap", "onAddOrUpdate": true});
        whole
            .as_object_mut()
            .unwrap()
            .extend(trigger.as_object().unwrap().clone());
        Filter::new(2, &serde_json::from_value(whole).unwrap(), "own")
    }

    fn observed(kind: &str, namespace: Option<&str>, labels: &[(&str, &str)]) -> ObservedObject {
        let resource = Resource {
            kind: Kind::new("v1", kind),
            plural: String::new(),
        };
        let object = ObjectRef {
            resource: Arc::new(resource),
            namespace: namespace.map(str::to_owned),
            name: "a".to_owned(),
        };
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        ObservedObject {
            uid: "u".into(),
            object,
            labels,
            fingerprint: Fingerprint::named("1"),
            deleting: false,
            origin: Origin::Other,
        }
    }

    #[rstest]
    #[case(json!({}), Some("own"), true)]
    #[case(json!({}), Some("other"), false)]
    #[case(json!({}), None, true)]
    #[case(json!({"namespace": "other"}), Some("other"), true)]
    #[case(json!({"namespace": "other"}), Some("own"), false)]
    #[case(json!({"namespace": "*"}), Some("any"), true)]
    #[case(json!({"name": "a"}), Some("own"), true)]
    #[case(json!({"name": "b"}), Some("own"), false)]
    #[case(json!({"kind": "Secret"}), Some("own"), false)]
    #[case(json!({"apiVersion": "apps/v1"}), Some("own"), false)]
    fn object_matches_if_all_filters_match(
        #[case] trigger: Value,
        #[case] namespace: Option<&str>,
        #[case] matches: bool,
    ) {
        let selection = selected_events(
            &[filter(trigger).unwrap()],
            "w",
            &observed("ConfigMap", namespace, &[]),
        );
        assert_eq!(selection.is_some(), matches);
    }

    #[rstest]
    #[case(json!({}), true)]
    #[case(json!({"matchLabels": {"app": "x", "tier": "y"}}), true)]
    #[case(json!({"matchLabels": {"app": "z"}}), false)]
    #[case(json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["w", "x"]}]}), true)]
    #[case(json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}), false)]
    #[case(json!({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["x"]}]}), true)]
    #[case(json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}), true)]
    #[case(json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}), false)]
    #[case(json!({"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), false)]
    fn selector_matches_labels_as_in_kubernetes(#[case] selector: Value, #[case] matches: bool) {
        let filter = filter(json!({"selector": selector})).unwrap();
        let object = observed("ConfigMap", Some("own"), &[("app", "x"), ("tier", "y")]);
        assert_eq!(selected_events(&[filter], "w", &object).is_some(), matches);
    }

    #[rstest]
    #[case(json!({"key": "a", "operator": "In"}), "add values")]
    #[case(json!({"key": "a", "operator": "In", "values": []}), "add values")]
    #[case(json!({"key": "a", "operator": "Exists", "values": ["b"]}), "remove values")]
    #[case(json!({"key": "a", "operator": "Is", "values": ["b"]}), "operator must be In")]
    fn invalid_selector_error_names_field_and_fix(#[case] expression: Value, #[case] says: &str) {
        let trigger = json!({"selector": {"matchExpressions": [expression]}});
        let message = filter(trigger).unwrap_err().to_string();
        assert!(
            message.starts_with("spec.triggers[2].selector.matchExpressions[0]: "),
            "{message}"
        );
        assert!(message.contains(says), "{message}");
    }

    #[test]
    fn invalid_api_version_is_an_error() {
        for invalid in ["a/b/c", "apps/", ""] {
            let message = filter(json!({"apiVersion": invalid}))
                .unwrap_err()
                .to_string();
            assert!(
                message.starts_with("spec.triggers[2].apiVersion: "),
                "{message}"
            );
        }
    }

    #[rstest]
    #[case("v1", "Event", true)]
    #[case("events.k8s.io/v1", "Event", true)]
    #[case("eventing.example/v1", "Event", false)]
    #[case("v1", "Pod", false)]
    fn event_kind_is_an_error(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] invalid: bool,
    ) {
        let read = filter(json!({"apiVersion": api_version, "kind": kind}));
        let message = read.err().map(|error| error.to_string());
        assert_eq!(message.is_some(), invalid, "{message:?}");
        assert!(message.is_none_or(|message| message.starts_with("spec.triggers[2].kind: ")));
    }

    #[test]
    fn several_triggers_select_the_union_of_events() {
        let delete = filter(json!({"onAddOrUpdate": false, "onDelete": true})).unwrap();
        let update = filter(json!({})).unwrap();
        let object = observed("ConfigMap", Some("own"), &[]);
        let both = EventSelection {
            add_or_update: true,
            delete: true,
        };
        assert_eq!(selected_events(&[delete, update], "w", &object), Some(both));
    }

    #[test]
    fn deleting_object_selects_only_deletion() {
        let both = filter(json!({"onDelete": true})).unwrap();
        let update = filter(json!({})).unwrap();
        let mut object = observed("ConfigMap", Some("own"), &[]);
        object.deleting = true;
        for (filter, delete) in [(both, true), (update, false)] {
            let deletion = EventSelection {
                add_or_update: false,
                delete,
            };
            assert_eq!(selected_events(&[filter], "w", &object), Some(deletion));
        }
    }

    #[test]
    fn workflow_is_not_triggered_by_own_objects() {
        let filters = [filter(json!({})).unwrap()];
        let mut object = observed("ConfigMap", Some("own"), &[]);
        for (origin, matches) in [
            (Origin::Other, true),
            (Origin::Workflow("w".into()), false),
            (Origin::Workflow("another".into()), true),
            (Origin::Workplan, false),
        ] {
            object.origin = origin;
            assert_eq!(
                selected_events(&filters, "w", &object).is_some(),
                matches,
                "{:?}",
                object.origin
            );
        }
    }
}
