//! Messages of the conditions `TriggersWatched` and `Ready`. They name the trigger and the fix.

use std::num::NonZeroUsize;

use crate::{
    access_review::{AccessDecision, AccessReview},
    discovery::SimilarKind,
    filter::Filter,
    watch_key::{Scope, WatchKey},
};

pub fn kind_not_found(filter: &Filter, suggestion: Option<&SimilarKind>) -> String {
    let (index, kind, api_version) = (filter.index, &filter.kind.name, filter.kind.api_version());
    let fix = match suggestion {
        Some(SimilarKind { api_version, kind }) => {
            format!("did you mean {kind:?} in {api_version:?}?")
        }
        None => "install its CustomResourceDefinition, or correct apiVersion and kind".to_owned(),
    };
    format!("spec.triggers[{index}]: the cluster has no kind {kind:?} in {api_version:?}; {fix}")
}

pub fn discovery_failing(filter: &Filter, error: &str) -> String {
    let (index, kind, api_version) = (filter.index, &filter.kind.name, filter.kind.api_version());
    format!(
        "spec.triggers[{index}]: the discovery of {kind} in {api_version:?} fails; retrying: {error}"
    )
}

/// The Workflow's `ServiceAccount` may not watch. The message names the object that does not exist, or has the
/// commands that grant the permission.
pub fn forbidden(index: usize, review: &AccessReview, decision: AccessDecision) -> String {
    let (account, scope) = (&review.service_account, &review.key.scope);
    match (decision, scope) {
        (AccessDecision::ServiceAccountNotFound, _) => format!(
            "spec.triggers[{index}]: the ServiceAccount {}:{} does not exist; create it, or correct \
             spec.serviceAccountName",
            account.namespace, account.name
        ),
        (AccessDecision::NamespaceNotFound, Scope::Namespace(namespace)) => format!(
            "spec.triggers[{index}].namespace: the namespace {namespace:?} does not exist; create it, or correct the name"
        ),
        _ => missing_rule(index, review),
    }
}

fn missing_rule(index: usize, review: &AccessReview) -> String {
    let AccessReview {
        service_account,
        key,
        namespaced,
        name,
    } = review;
    let (of, account) = (&service_account.namespace, &service_account.name);
    let resource = key.resource.rbac_name();
    let only = name.as_ref().map(|name| format!(" --resource-name={name}"));
    let rule = format!(
        "--verb=get,list,watch --resource={resource}{}",
        only.unwrap_or_default()
    );
    // The name has the account and the resource, so that the commands for two triggers do not conflict.
    let id = format!("{of}-{account}-watch-{}", resource.replace('.', "-"));
    let (cluster, within) = match &key.scope {
        Scope::All => ("cluster", String::new()),
        Scope::Namespace(namespace) => ("", format!(" -n {namespace}")),
    };
    let objects = if *namespaced {
        key.to_string()
    } else {
        resource
    };
    format!(
        "spec.triggers[{index}]: the ServiceAccount {of}:{account} may not watch {objects}; allow it with: \
         kubectl create {cluster}role {id}{within} {rule} && \
         kubectl create {cluster}rolebinding {id}{within} --{cluster}role={id} --serviceaccount={of}:{account}"
    )
}

/// The operator may not watch. The message has the commands that grant the permission.
pub fn operator_forbidden(index: usize, key: &WatchKey) -> String {
    let resource = key.resource.rbac_name();
    let role = format!("kubeci-watch-{}", resource.replace('.', "-"));
    format!(
        "spec.triggers[{index}]: the workflow operator may not watch {resource}; an administrator can allow it \
         with: kubectl create clusterrole {role} --verb=get,list,watch --resource={resource} && \
         kubectl label clusterrole {role} kube.ci/aggregate-to-watch=true"
    )
}

pub fn watch_failing(index: usize, key: &WatchKey, error: &str) -> String {
    format!("spec.triggers[{index}]: the watch of {key} fails; retrying: {error}")
}

/// Events wait because of the cap on Workplans. The message has the number of states that were ever dropped.
pub fn events_queued(waiting: usize, max: NonZeroUsize, dropped: i64) -> String {
    let waiting = match waiting {
        1 => "1 event waits for its Workplan".to_owned(),
        waiting => format!("{waiting} events wait for their Workplans"),
    };
    let dropped = match dropped {
        0 => String::new(),
        dropped => format!(
            ". {dropped} states were dropped and do not fire, because too many states of one object waited; the latest \
             state is kept"
        ),
    };
    format!(
        "{waiting}, because at most {max} Workplans are pending or running (--max-active-workplans); each is created \
         when another Workplan ends{dropped}"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        access_review::ServiceAccount,
        resource::{Kind, Resource},
    };

    fn review(scope: Scope, name: Option<&str>) -> AccessReview {
        let kind = Kind::new("apps/v1", "Deployment");
        let resource = Arc::new(Resource {
            kind,
            plural: "deployments".to_owned(),
        });
        AccessReview {
            service_account: ServiceAccount {
                namespace: "ci".to_owned(),
                name: "builder".to_owned(),
            },
            key: WatchKey { resource, scope },
            namespaced: true,
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn forbidden_message_prints_missing_rule() {
        assert_eq!(
            forbidden(0, &review(Scope::All, None), AccessDecision::Denied),
            "spec.triggers[0]: the ServiceAccount ci:builder may not watch deployments.apps in all namespaces; \
             allow it with: \
             kubectl create clusterrole ci-builder-watch-deployments-apps \
             --verb=get,list,watch --resource=deployments.apps && \
             kubectl create clusterrolebinding ci-builder-watch-deployments-apps \
             --clusterrole=ci-builder-watch-deployments-apps --serviceaccount=ci:builder"
        );
        assert_eq!(
            missing_rule(1, &review(Scope::Namespace("prod".to_owned()), Some("web"))),
            "spec.triggers[1]: the ServiceAccount ci:builder may not watch deployments.apps in namespace prod; \
             allow it with: \
             kubectl create role ci-builder-watch-deployments-apps -n prod \
             --verb=get,list,watch --resource=deployments.apps --resource-name=web && \
             kubectl create rolebinding ci-builder-watch-deployments-apps -n prod \
             --role=ci-builder-watch-deployments-apps --serviceaccount=ci:builder"
        );
    }

    #[test]
    fn forbidden_message_names_what_does_not_exist() {
        let prod = review(Scope::Namespace("prod".to_owned()), None);
        assert_eq!(
            forbidden(0, &prod, AccessDecision::NamespaceNotFound),
            "spec.triggers[0].namespace: the namespace \"prod\" does not exist; create it, or correct the name"
        );
        assert_eq!(
            forbidden(0, &prod, AccessDecision::ServiceAccountNotFound),
            "spec.triggers[0]: the ServiceAccount ci:builder does not exist; create it, or correct \
             spec.serviceAccountName"
        );
    }
}
