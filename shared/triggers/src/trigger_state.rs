//! How far a trigger has come: read, resolved, permitted, watched.

use std::sync::Arc;

use crate::{
    filter::{Filter, NamespaceSelector},
    messages,
    resource::Resource,
    watch_key::{Scope, WatchKey},
};

/// What discovery says of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindState {
    Served(Vec<Served>),
    /// The API does not serve it; the kind that was perhaps meant.
    Missing {
        meant: Option<String>,
    },
    /// Discovery fails.
    Unanswered(String),
}

/// One resource of a kind. Nearly always there is just one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub plural: String,
    pub namespaced: bool,
    pub watchable: bool,
}

/// A `ServiceAccount`, for whom a Workflow's triggers watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    pub namespace: String,
    pub name: String,
}

/// Whether somebody may watch something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    pub account: Account,
    pub key: WatchKey,
    pub namespaced: bool,
    pub name: Option<String>,
}

impl Standing {
    /// What the API server must keep answering.
    #[must_use]
    pub fn question(&self) -> Option<&Question> {
        match self {
            Self::Asking(question) | Self::Forbidden(question) => Some(question),
            Self::Permitted(_, question) => question.as_ref(),
            Self::Wrong(_)
            | Self::Resolving
            | Self::KindNotFound(_)
            | Self::DiscoveryFailing(_) => None,
        }
    }
}

/// How far a trigger has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Only a change of the Workflow helps.
    Wrong(String),
    /// Discovery has not answered yet.
    Resolving,
    KindNotFound(String),
    DiscoveryFailing(String),
    /// The API server has not yet said whether it is allowed.
    Asking(Question),
    Forbidden(Question),
    /// Allowed by being the Workflow's own namespace, or by the answer to a question.
    Permitted(WatchKey, Option<Question>),
}

/// Where a trigger of a Workflow stands, whose pods run as this account.
pub fn stand(
    filter: &Filter,
    account: &Account,
    kind: Option<&KindState>,
    allowed: impl FnOnce(&Question) -> Option<bool>,
) -> Standing {
    let served = match kind {
        None => return Standing::Resolving,
        Some(KindState::Missing { meant }) => {
            return Standing::KindNotFound(messages::kind_not_found(filter, meant.as_deref()));
        }
        Some(KindState::Unanswered(error)) => {
            return Standing::DiscoveryFailing(messages::discovery_failing(filter, error));
        }
        Some(KindState::Served(served)) => served,
    };
    let (key, namespaced) = match locate(filter, served) {
        Ok(located) => located,
        Err(wrong) => return Standing::Wrong(wrong),
    };
    if key.scope == Scope::Namespace(account.namespace.clone()) {
        return Standing::Permitted(key, None);
    }
    let (account, name) = (account.clone(), filter.name.clone());
    let question = Question {
        account,
        key,
        namespaced,
        name,
    };
    match allowed(&question) {
        None => Standing::Asking(question),
        Some(false) => Standing::Forbidden(question),
        Some(true) => Standing::Permitted(question.key.clone(), Some(question)),
    }
}

/// The one resource that the trigger means, and what of it to watch.
fn locate(filter: &Filter, served: &[Served]) -> Result<(WatchKey, bool), String> {
    let meant = |served: &&Served| {
        filter
            .plural
            .as_ref()
            .is_none_or(|plural| *plural == served.plural)
    };
    let served = match (served.iter().find(meant), served.first()) {
        (Some(served), _) => served,
        (None, Some(other)) => return Err(messages::wrong_resource(filter, &other.plural)),
        (None, None) => return Err(messages::not_watchable(filter)),
    };
    if !served.watchable {
        return Err(messages::not_watchable(filter));
    }
    let scope = match &filter.namespaces {
        NamespaceSelector::Own(namespace) | NamespaceSelector::Named(namespace)
            if served.namespaced =>
        {
            Scope::Namespace(namespace.clone())
        }
        NamespaceSelector::Named(_) => return Err(messages::no_namespaces(filter, &served.plural)),
        NamespaceSelector::Own(_) | NamespaceSelector::All => Scope::All,
    };
    let resource = Resource {
        kind: filter.kind.clone(),
        plural: served.plural.clone(),
    };
    Ok((
        WatchKey {
            resource: Arc::new(resource),
            scope,
        },
        served.namespaced,
    ))
}

/// An earlier trigger of the same Workflow that names the same objects at another version, under which
/// they would be told apart from themselves.
pub fn other_version<'a>(filters: &'a [Filter], filter: &Filter) -> Option<&'a Filter> {
    let other = |other: &&Filter| {
        let (kind, version) = (&other.kind, &filter.kind.version);
        other.index < filter.index && kind.same_objects(&filter.kind) && kind.version != *version
    };
    filters.iter().find(other)
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // rstest passes values
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn filter(trigger: Value) -> Filter {
        let mut whole = json!({"apiVersion": "v1", "kind": "Thing", "onDelete": true});
        whole
            .as_object_mut()
            .unwrap()
            .extend(trigger.as_object().unwrap().clone());
        Filter::new(0, &serde_json::from_value(whole).unwrap(), "own").unwrap()
    }

    fn served(namespaced: bool, watchable: bool) -> KindState {
        KindState::Served(vec![Served {
            plural: "things".to_owned(),
            namespaced,
            watchable,
        }])
    }

    fn standing(trigger: Value, kind: &KindState, allowed: Option<bool>) -> Standing {
        let account = Account {
            namespace: "own".to_owned(),
            name: "default".to_owned(),
        };
        stand(&filter(trigger), &account, Some(kind), |_| allowed)
    }

    #[rstest]
    #[case(json!({}), true, Scope::Namespace("own".to_owned()))]
    #[case(json!({"namespace": "own"}), true, Scope::Namespace("own".to_owned()))]
    fn ones_own_namespace_is_free(
        #[case] trigger: Value,
        #[case] namespaced: bool,
        #[case] scope: Scope,
    ) {
        let Standing::Permitted(key, None) =
            standing(trigger, &served(namespaced, true), Some(false))
        else {
            panic!("is not free");
        };
        assert_eq!(key.scope, scope);
    }

    #[rstest]
    #[case(json!({"namespace": "other"}), true, Scope::Namespace("other".to_owned()))]
    #[case(json!({"namespace": "*"}), true, Scope::All)]
    #[case(json!({}), false, Scope::All)]
    #[case(json!({"namespace": "*"}), false, Scope::All)]
    fn everything_else_is_asked_for(
        #[case] trigger: Value,
        #[case] namespaced: bool,
        #[case] scope: Scope,
    ) {
        let kind = served(namespaced, true);
        let asking = standing(trigger.clone(), &kind, None);
        assert!(matches!(asking, Standing::Asking(question) if question.key.scope == scope));
        let denied = standing(trigger.clone(), &kind, Some(false));
        assert!(matches!(denied, Standing::Forbidden(question) if question.key.scope == scope));
        let allowed = standing(trigger, &kind, Some(true));
        assert!(matches!(allowed, Standing::Permitted(key, Some(_)) if key.scope == scope));
    }

    #[rstest]
    #[case(json!({"resource": "thing"}), served(true, true), "spec.triggers[0].resource: ")]
    #[case(json!({"namespace": "own"}), served(false, true), "spec.triggers[0].namespace: ")]
    #[case(json!({}), served(true, false), "spec.triggers[0].kind: ")]
    fn what_is_wrong_says_where(#[case] trigger: Value, #[case] kind: KindState, #[case] at: &str) {
        let Standing::Wrong(message) = standing(trigger, &kind, None) else {
            panic!("is not wrong");
        };
        assert!(message.starts_with(at), "{message}");
    }

    #[test]
    fn a_kind_that_is_not_there_is_waited_for() {
        let missing = KindState::Missing { meant: None };
        assert!(matches!(
            standing(json!({}), &missing, None),
            Standing::KindNotFound(_)
        ));
    }
}
