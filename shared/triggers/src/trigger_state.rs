//! The state of a trigger: validated, discovered, reviewed, permitted.

use std::sync::Arc;

use crate::{
    access_review::{AccessDecision, AccessReview, ServiceAccount},
    discovery::{DiscoveryResult, ServedResource},
    filter::{Filter, NamespaceSelector},
    messages,
    resource::Resource,
    trigger_error::TriggerError,
    watch_key::{Scope, WatchKey},
};

/// The state of a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TriggerState {
    /// The trigger is invalid until the Workflow changes.
    Invalid(TriggerError),
    /// Discovery has no result yet.
    Discovering,
    /// The API does not serve the kind; with the message for the user.
    KindNotFound(String),
    /// Discovery fails; with the message for the user.
    DiscoveryFailing(String),
    /// The access review has no result yet.
    AwaitingReview(AccessReview),
    /// The access review denies the watch, for this reason.
    Forbidden(AccessReview, AccessDecision),
    /// The objects may be watched: they are in the Workflow's own namespace, or the access review allows it.
    Permitted(WatchKey, Option<AccessReview>),
}

impl TriggerState {
    /// The state of a trigger, given the `ServiceAccount` of its Workflow, the discovery of its kind and the result
    /// of an access review.
    pub fn new(
        filter: &Filter,
        service_account: &ServiceAccount,
        kind: Option<&DiscoveryResult>,
        decision: impl FnOnce(&AccessReview) -> Option<AccessDecision>,
    ) -> Self {
        let resources = match kind {
            None => return Self::Discovering,
            Some(DiscoveryResult::NotServed { suggestion }) => {
                let message = messages::kind_not_found(filter, suggestion.as_ref());
                return Self::KindNotFound(message);
            }
            Some(DiscoveryResult::Failed(error)) => {
                return Self::DiscoveryFailing(messages::discovery_failing(filter, error));
            }
            Some(DiscoveryResult::Served(resources)) => resources,
        };
        let (key, namespaced) = match watch_key(filter, resources) {
            Ok(found) => found,
            Err(error) => return Self::Invalid(error),
        };
        if key.scope == Scope::Namespace(service_account.namespace.clone()) {
            return Self::Permitted(key, None);
        }
        let review = AccessReview {
            service_account: service_account.clone(),
            key,
            namespaced,
            name: filter.name.clone(),
        };
        match decision(&review) {
            None => Self::AwaitingReview(review),
            Some(AccessDecision::Allowed) => Self::Permitted(review.key.clone(), Some(review)),
            Some(denied) => Self::Forbidden(review, denied),
        }
    }

    /// The access review that the state depends on. It must be repeated, because roles change.
    #[must_use]
    pub fn access_review(&self) -> Option<&AccessReview> {
        match self {
            Self::AwaitingReview(review) | Self::Forbidden(review, _) => Some(review),
            Self::Permitted(_, review) => review.as_ref(),
            Self::Invalid(_)
            | Self::Discovering
            | Self::KindNotFound(_)
            | Self::DiscoveryFailing(_) => None,
        }
    }
}

/// The watch of the trigger's objects, and whether their resource has namespaces.
fn watch_key(
    filter: &Filter,
    resources: &[ServedResource],
) -> Result<(WatchKey, bool), TriggerError> {
    let resource = served_resource(filter, resources)?;
    let scope = match &filter.namespaces {
        NamespaceSelector::Own(namespace) | NamespaceSelector::Named(namespace)
            if resource.namespaced =>
        {
            Scope::Namespace(namespace.clone())
        }
        NamespaceSelector::Named(_) => {
            return Err(TriggerError::ClusterScoped {
                index: filter.index,
                plural: resource.plural.clone(),
            });
        }
        NamespaceSelector::Own(_) | NamespaceSelector::All => Scope::All,
    };
    let key = WatchKey {
        resource: Arc::new(Resource {
            kind: filter.kind.clone(),
            plural: resource.plural.clone(),
        }),
        scope,
    };
    Ok((key, resource.namespaced))
}

fn served_resource<'a>(
    filter: &Filter,
    resources: &'a [ServedResource],
) -> Result<&'a ServedResource, TriggerError> {
    let not_watchable = || TriggerError::NotWatchable {
        index: filter.index,
        kind: filter.kind.name.clone(),
    };
    let Some(plural) = &filter.plural else {
        let first = resources.first().filter(|resource| resource.watchable);
        return first.ok_or_else(not_watchable);
    };
    let named = resources.iter().find(|resource| resource.plural == *plural);
    match (named, resources.first()) {
        (Some(resource), _) if resource.watchable => Ok(resource),
        (Some(_), _) | (None, None) => Err(not_watchable()),
        (None, Some(other)) => Err(TriggerError::WrongResource {
            index: filter.index,
            kind: filter.kind.name.clone(),
            given: plural.clone(),
            served: other.plural.clone(),
        }),
    }
}

/// Rejects a kind that an earlier trigger of the same Workflow names at another version. The same object would have
/// two fingerprints.
pub fn check_version(filters: &[Filter], filter: &Filter) -> Result<(), TriggerError> {
    let conflicts = |other: &&Filter| {
        other.index < filter.index
            && other.kind.same_objects(&filter.kind)
            && other.kind.version != filter.kind.version
    };
    let Some(first) = filters.iter().find(conflicts) else {
        return Ok(());
    };
    Err(TriggerError::ConflictingVersion {
        index: filter.index,
        first: first.index,
        kind: filter.kind.name.clone(),
        api_version: first.kind.api_version(),
    })
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // rstest passes values
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn filter(trigger: Value) -> Filter {
        let mut whole = json!({"apiVersion": "v1", "kind": "Thing", "onDelete": true});
        whole
            .as_object_mut()
            .unwrap()
            .extend(trigger.as_object().unwrap().clone());
        Filter::new(0, &serde_json::from_value(whole).unwrap(), "own").unwrap()
    }

    fn served(namespaced: bool, watchable: bool) -> DiscoveryResult {
        DiscoveryResult::Served(vec![ServedResource {
            plural: "things".to_owned(),
            namespaced,
            watchable,
        }])
    }

    fn state(trigger: Value, kind: &DiscoveryResult, allowed: Option<bool>) -> TriggerState {
        let service_account = ServiceAccount {
            namespace: "own".to_owned(),
            name: "default".to_owned(),
        };
        let decision = allowed.map(|allowed| {
            if allowed {
                AccessDecision::Allowed
            } else {
                AccessDecision::Denied
            }
        });
        TriggerState::new(&filter(trigger), &service_account, Some(kind), |_| decision)
    }

    #[rstest]
    #[case(json!({}), true, Scope::Namespace("own".to_owned()))]
    #[case(json!({"namespace": "own"}), true, Scope::Namespace("own".to_owned()))]
    fn own_namespace_needs_no_access_review(
        #[case] trigger: Value,
        #[case] namespaced: bool,
        #[case] scope: Scope,
    ) {
        let TriggerState::Permitted(key, None) =
            state(trigger, &served(namespaced, true), Some(false))
        else {
            panic!("needs a review");
        };
        assert_eq!(key.scope, scope);
    }

    #[rstest]
    #[case(json!({"namespace": "other"}), true, Scope::Namespace("other".to_owned()))]
    #[case(json!({"namespace": "*"}), true, Scope::All)]
    #[case(json!({}), false, Scope::All)]
    #[case(json!({"namespace": "*"}), false, Scope::All)]
    fn other_scope_needs_an_access_review(
        #[case] trigger: Value,
        #[case] namespaced: bool,
        #[case] scope: Scope,
    ) {
        let kind = served(namespaced, true);
        let awaiting = state(trigger.clone(), &kind, None);
        assert!(
            matches!(awaiting, TriggerState::AwaitingReview(review) if review.key.scope == scope)
        );
        let denied = state(trigger.clone(), &kind, Some(false));
        assert!(matches!(denied, TriggerState::Forbidden(review, _) if review.key.scope == scope));
        let allowed = state(trigger, &kind, Some(true));
        assert!(matches!(allowed, TriggerState::Permitted(key, Some(_)) if key.scope == scope));
    }

    #[rstest]
    #[case(json!({"resource": "thing"}), served(true, true), "spec.triggers[0].resource: ")]
    #[case(json!({"namespace": "own"}), served(false, true), "spec.triggers[0].namespace: ")]
    #[case(json!({}), served(true, false), "spec.triggers[0].kind: ")]
    fn invalid_trigger_error_names_field(
        #[case] trigger: Value,
        #[case] kind: DiscoveryResult,
        #[case] at: &str,
    ) {
        let TriggerState::Invalid(error) = state(trigger, &kind, None) else {
            panic!("is valid");
        };
        assert!(error.to_string().starts_with(at), "{error}");
    }

    #[test]
    fn kind_that_is_not_served_is_not_found() {
        let not_served = DiscoveryResult::NotServed { suggestion: None };
        assert!(matches!(
            state(json!({}), &not_served, None),
            TriggerState::KindNotFound(_)
        ));
    }
}
