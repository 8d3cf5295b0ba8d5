//! What is said to users about triggers: where it is wrong, what would be right.

use crate::{
    filter::Filter,
    trigger_state::Question,
    watch_key::{Scope, WatchKey},
};

pub fn kind_not_found(filter: &Filter, meant: Option<&str>) -> String {
    let (index, kind, api_version) = (filter.index, &filter.kind.name, filter.kind.api_version());
    let fix = match meant {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => {
            "install its CustomResourceDefinition, which is noticed within seconds, or correct \
                 apiVersion and kind"
                .to_owned()
        }
    };
    format!("spec.triggers[{index}]: this cluster has no kind {kind:?} in {api_version:?}; {fix}")
}

pub fn discovery_failing(filter: &Filter, error: &str) -> String {
    let (index, kind, api_version) = (filter.index, &filter.kind.name, filter.kind.api_version());
    format!(
        "spec.triggers[{index}]: looking for {kind} in {api_version:?} fails and is tried again: {error}"
    )
}

pub fn wrong_resource(filter: &Filter, right: &str) -> String {
    let (index, kind) = (filter.index, &filter.kind.name);
    let given = filter.plural.as_deref().unwrap_or_default();
    format!(
        "spec.triggers[{index}].resource: the resource of {kind} is {right:?}, not {given:?}; correct or remove it"
    )
}

pub fn not_watchable(filter: &Filter) -> String {
    let (index, kind) = (filter.index, &filter.kind.name);
    format!(
        "spec.triggers[{index}].kind: {kind} cannot be listed and watched, so it cannot trigger; name another kind"
    )
}

pub fn no_namespaces(filter: &Filter, plural: &str) -> String {
    format!(
        "spec.triggers[{}].namespace: {plural} are in no namespace; remove it",
        filter.index
    )
}

pub fn other_version(filter: &Filter, first: &Filter) -> String {
    let (index, first_index) = (filter.index, first.index);
    let (kind, version) = (&filter.kind.name, first.kind.api_version());
    format!(
        "spec.triggers[{index}].apiVersion: spec.triggers[{first_index}] names {kind} as {version:?}; \
         use the same version in both"
    )
}

/// The Workflow's account may not watch; the rule that it lacks, ready to be pasted.
pub fn forbidden(index: usize, question: &Question) -> String {
    let Question {
        account,
        key,
        namespaced,
        name,
    } = question;
    let (of, account) = (&account.namespace, &account.name);
    let resource = key.resource.rbac_name();
    let only = name.as_ref().map(|name| format!(" --resource-name={name}"));
    let rule = format!(
        "--verb=get,list,watch --resource={resource}{}",
        only.unwrap_or_default()
    );
    // Named by what is granted to whom, so that no two of these commands stand in each other's way.
    let id = format!("{of}-{account}-watch-{}", resource.replace('.', "-"));
    let (cluster, within) = match &key.scope {
        Scope::All => ("cluster", String::new()),
        Scope::Namespace(namespace) => ("", format!(" -n {namespace}")),
    };
    let what = if *namespaced {
        key.to_string()
    } else {
        resource
    };
    format!(
        "spec.triggers[{index}]: service account {of}:{account} may not watch {what}; allow it with: \
         kubectl create {cluster}role {id}{within} {rule} && \
         kubectl create {cluster}rolebinding {id}{within} --{cluster}role={id} --serviceaccount={of}:{account}"
    )
}

/// The operator itself may not watch; what an admin does about it.
pub fn operator_forbidden(index: usize, key: &WatchKey) -> String {
    let resource = key.resource.rbac_name();
    let role = format!("kubeci-watch-{}", resource.replace('.', "-"));
    format!(
        "spec.triggers[{index}]: the workflow operator itself may not watch {resource}; an admin allows it \
         with: kubectl create clusterrole {role} --verb=get,list,watch --resource={resource} && \
         kubectl label clusterrole {role} kube.ci/aggregate-to-watch=true"
    )
}

pub fn watch_failing(index: usize, key: &WatchKey, error: &str) -> String {
    format!("spec.triggers[{index}]: watching {key} fails and is tried again: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        resource::{Kind, Resource},
        trigger_state::Account,
    };
    use std::sync::Arc;

    fn question(scope: Scope, name: Option<&str>) -> Question {
        let kind = Kind::new("apps/v1", "Deployment");
        let resource = Arc::new(Resource {
            kind,
            plural: "deployments".to_owned(),
        });
        Question {
            account: Account {
                namespace: "ci".to_owned(),
                name: "builder".to_owned(),
            },
            key: WatchKey { resource, scope },
            namespaced: true,
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn a_refusal_prints_the_rule_that_is_missing() {
        assert_eq!(
            forbidden(0, &question(Scope::All, None)),
            "spec.triggers[0]: service account ci:builder may not watch deployments.apps in all namespaces; \
             allow it with: \
             kubectl create clusterrole ci-builder-watch-deployments-apps \
             --verb=get,list,watch --resource=deployments.apps && \
             kubectl create clusterrolebinding ci-builder-watch-deployments-apps \
             --clusterrole=ci-builder-watch-deployments-apps --serviceaccount=ci:builder"
        );
        assert_eq!(
            forbidden(
                1,
                &question(Scope::Namespace("prod".to_owned()), Some("web"))
            ),
            "spec.triggers[1]: service account ci:builder may not watch deployments.apps in namespace prod; \
             allow it with: \
             kubectl create role ci-builder-watch-deployments-apps -n prod \
             --verb=get,list,watch --resource=deployments.apps --resource-name=web && \
             kubectl create rolebinding ci-builder-watch-deployments-apps -n prod \
             --role=ci-builder-watch-deployments-apps --serviceaccount=ci:builder"
        );
    }
}
