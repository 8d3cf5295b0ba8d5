//! Which objects a trigger means, and which of their events it wants.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_core::{Selector, SelectorExt};
use kubeci_api::Trigger;

use crate::object::{Kind, ObjectRef, Origin, Seen};

/// A trigger, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Its place in `spec.triggers`.
    pub index: usize,
    pub kind: Kind,
    /// The plural name as the user gave it.
    pub plural: Option<String>,
    pub place: Place,
    pub name: Option<String>,
    selector: Selector,
    on_add_or_update: bool,
    on_delete: bool,
}

/// Where a trigger looks for objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Said nothing: the Workflow's own namespace, or everywhere for a kind without namespaces.
    Own(String),
    Namespace(String),
    Everywhere,
}

/// Which events of a matching object fire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    pub add_or_update: bool,
    pub delete: bool,
}

/// What of a trigger cannot be read, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error(
        "spec.triggers[{0}].apiVersion: {1:?} is not a group and version; write it as in the object's manifest, such as v1 or apps/v1"
    )]
    ApiVersion(usize, String),
    #[error(
        "spec.triggers[{0}].kind: an Event cannot trigger: it is a message that expires, and each run brings about more of them; \
         name the kind of the object that the Event is about"
    )]
    Event(usize),
    #[error("spec.triggers[{0}].selector.matchExpressions[{1}]: {2}")]
    Selector(usize, usize, &'static str),
}

impl Filter {
    /// Reads the trigger at this place of a Workflow in this namespace.
    pub fn new(index: usize, trigger: &Trigger, own: &str) -> Result<Self, Unreadable> {
        let kind = Kind::new(&trigger.api_version, &trigger.kind);
        if kind.version.is_empty() || kind.group.contains('/') {
            return Err(Unreadable::ApiVersion(index, trigger.api_version.clone()));
        }
        if is_event(&kind) {
            return Err(Unreadable::Event(index));
        }
        let place = match trigger.namespace.as_deref() {
            None => Place::Own(own.to_owned()),
            Some("*") => Place::Everywhere,
            Some(namespace) => Place::Namespace(namespace.to_owned()),
        };
        Ok(Self {
            index,
            kind,
            plural: trigger.resource.clone(),
            place,
            name: trigger.name.clone(),
            selector: selector(index, trigger.selector.as_ref())?,
            on_add_or_update: trigger.on_add_or_update,
            on_delete: trigger.on_delete,
        })
    }

    /// Whether the object is one that the trigger means, whatever its labels.
    #[must_use]
    pub fn covers(&self, object: &ObjectRef) -> bool {
        let place = match (&self.place, object.namespace.as_deref()) {
            (Place::Everywhere, _) | (Place::Own(_), None) => true,
            (Place::Own(own) | Place::Namespace(own), Some(namespace)) => own == namespace,
            (Place::Namespace(_), None) => false,
        };
        place
            && self.kind.same_objects(&object.resource.kind)
            && self.name.as_ref().is_none_or(|name| *name == object.name)
    }

    fn wants(&self) -> Wants {
        Wants {
            add_or_update: self.on_add_or_update,
            delete: self.on_delete,
        }
    }
}

/// Whether objects of this kind are the cluster's log, to which every pod of a Workplan adds.
fn is_event(kind: &Kind) -> bool {
    kind.name == "Event" && matches!(kind.group.as_str(), "" | "events.k8s.io")
}

/// What any of the filters that match the object wants of it; nothing if none matches. Of an object whose
/// deletion has begun nobody wants more than its end.
#[must_use]
pub fn wants(filters: &[Filter], workflow: &str, seen: &Seen) -> Option<Wants> {
    let own = match &seen.origin {
        Origin::Other => false,
        Origin::Workflow(uid) => **uid == *workflow,
        Origin::Workplan => true,
    };
    let matching =
        |filter: &&Filter| filter.covers(&seen.object) && filter.selector.matches(&seen.labels);
    let matching = filters.iter().filter(matching).map(Filter::wants);
    let wanted = if own { None } else { matching.reduce(either) };
    wanted.map(|wants| Wants {
        add_or_update: wants.add_or_update && !seen.ending,
        ..wants
    })
}

/// Whether some filter that covers the object still wants its deletion.
#[must_use]
pub fn wants_delete(filters: &[Filter], object: &ObjectRef) -> bool {
    filters
        .iter()
        .any(|filter| filter.on_delete && filter.covers(object))
}

fn either(one: Wants, other: Wants) -> Wants {
    Wants {
        add_or_update: one.add_or_update || other.add_or_update,
        delete: one.delete || other.delete,
    }
}

/// kube reads a selector more leniently than the API server, which a custom resource's never meets.
fn selector(index: usize, selector: Option<&LabelSelector>) -> Result<Selector, Unreadable> {
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
        return Err(Unreadable::Selector(index, at, problem));
    }
    let unreadable = |_| Unreadable::Selector(index, 0, "cannot be read");
    selector.clone().try_into().map_err(unreadable)
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // rstest passes values
mod tests {
    use super::*;
    use crate::{fingerprint::Fingerprint, object::Resource};
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn filter(trigger: Value) -> Result<Filter, Unreadable> {
        let mut whole = json!({"apiVersion": "v1", "kind": "ConfigMap", "onAddOrUpdate": true});
        whole
            .as_object_mut()
            .unwrap()
            .extend(trigger.as_object().unwrap().clone());
        Filter::new(2, &serde_json::from_value(whole).unwrap(), "own")
    }

    fn seen(kind: &str, namespace: Option<&str>, labels: &[(&str, &str)]) -> Seen {
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
        Seen {
            uid: "u".into(),
            object,
            labels,
            fingerprint: Fingerprint::named("1"),
            ending: false,
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
    fn all_filters_must_match(
        #[case] trigger: Value,
        #[case] namespace: Option<&str>,
        #[case] matches: bool,
    ) {
        let wanted = wants(
            &[filter(trigger).unwrap()],
            "w",
            &seen("ConfigMap", namespace, &[]),
        );
        assert_eq!(wanted.is_some(), matches);
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
    fn selectors_mean_what_they_mean_everywhere(#[case] selector: Value, #[case] matches: bool) {
        let filter = filter(json!({"selector": selector})).unwrap();
        let object = seen("ConfigMap", Some("own"), &[("app", "x"), ("tier", "y")]);
        assert_eq!(wants(&[filter], "w", &object).is_some(), matches);
    }

    #[rstest]
    #[case(json!({"key": "a", "operator": "In"}), "add values")]
    #[case(json!({"key": "a", "operator": "In", "values": []}), "add values")]
    #[case(json!({"key": "a", "operator": "Exists", "values": ["b"]}), "remove values")]
    #[case(json!({"key": "a", "operator": "Is", "values": ["b"]}), "operator must be In")]
    fn a_wrong_selector_says_where_and_what_would_be_right(
        #[case] expression: Value,
        #[case] says: &str,
    ) {
        let trigger = json!({"selector": {"matchExpressions": [expression]}});
        let message = filter(trigger).unwrap_err().to_string();
        assert!(
            message.starts_with("spec.triggers[2].selector.matchExpressions[0]: "),
            "{message}"
        );
        assert!(message.contains(says), "{message}");
    }

    #[test]
    fn an_api_version_has_a_group_and_a_version() {
        for wrong in ["a/b/c", "apps/", ""] {
            let message = filter(json!({"apiVersion": wrong}))
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
    fn events_do_not_trigger_since_each_run_makes_more_of_them(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] refused: bool,
    ) {
        let read = filter(json!({"apiVersion": api_version, "kind": kind}));
        let message = read.err().map(|wrong| wrong.to_string());
        assert_eq!(message.is_some(), refused, "{message:?}");
        assert!(message.is_none_or(|message| message.starts_with("spec.triggers[2].kind: ")));
    }

    #[test]
    fn of_several_triggers_any_may_want_the_event() {
        let delete = filter(json!({"onAddOrUpdate": false, "onDelete": true})).unwrap();
        let update = filter(json!({})).unwrap();
        let object = seen("ConfigMap", Some("own"), &[]);
        let both = Wants {
            add_or_update: true,
            delete: true,
        };
        assert_eq!(wants(&[delete, update], "w", &object), Some(both));
    }

    #[test]
    fn of_an_ending_object_only_its_end_is_wanted() {
        let both = filter(json!({"onDelete": true})).unwrap();
        let update = filter(json!({})).unwrap();
        let mut object = seen("ConfigMap", Some("own"), &[]);
        object.ending = true;
        for (filter, delete) in [(both, true), (update, false)] {
            let end = Wants {
                add_or_update: false,
                delete,
            };
            assert_eq!(wants(&[filter], "w", &object), Some(end));
        }
    }

    #[test]
    fn law_no_loops_what_a_workflow_brings_about_does_not_trigger_it() {
        let filters = [filter(json!({})).unwrap()];
        let mut object = seen("ConfigMap", Some("own"), &[]);
        for (origin, triggers) in [
            (Origin::Other, true),
            (Origin::Workflow("w".into()), false),
            (Origin::Workflow("another".into()), true),
            (Origin::Workplan, false),
        ] {
            object.origin = origin;
            assert_eq!(
                wants(&filters, "w", &object).is_some(),
                triggers,
                "{:?}",
                object.origin
            );
        }
    }
}
