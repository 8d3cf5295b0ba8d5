//! What a test has outside its namespace: labelled, so that it goes with the test.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, TypeMeta,
};
use kube::core::{ClusterResourceScope, GroupVersionKind};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Test, eventually};

const POLICY: &str = "MutatingAdmissionPolicy";
const BINDING: &str = "MutatingAdmissionPolicyBinding";
const LABEL: &str = "kubeci-e2e-of";

impl Test {
    /// Applies an object that no namespace holds, and that is deleted with the test.
    pub async fn apply_outside<K>(&self, mut object: Value)
    where
        K: Resource<Scope = ClusterResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        object["metadata"]["labels"][LABEL] = json!(self.namespace);
        let name = object["metadata"]["name"].as_str().expect("a name");
        let params = PatchParams::apply("kubeci-e2e").force();
        let api = Api::<K>::all(self.client.clone());
        let applied = api.patch(name, &params, &Patch::Apply(&object)).await;
        applied.unwrap_or_else(|error| panic!("{error}\n{object}"));
    }

    /// Another namespace for the same test.
    pub async fn another_namespace(&self, suffix: &str) -> Self {
        let name = format!("{}-{suffix}", self.namespace);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.apply_outside::<Namespace>(object).await;
        let other = Self {
            client: self.client.clone(),
            namespace: name,
            execution: self.execution,
        };
        other.account_exists().await;
        other
    }

    /// Lets the namespace's `default` ServiceAccount do `verbs` on `resources` everywhere.
    pub async fn grant(&self, group: &str, resources: &[&str], verbs: &[&str]) {
        let name = &self.namespace;
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [{"apiGroups": [group], "resources": resources, "verbs": verbs}],
        });
        self.apply_outside::<ClusterRole>(role).await;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": name}],
        });
        self.apply_outside::<ClusterRoleBinding>(binding).await;
    }

    /// Lets the workflow operator watch `resources`, the way that an administrator does.
    pub async fn let_operator_watch(&self, group: &str, resources: &[&str]) {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {
                "name": format!("{}-watch", self.namespace),
                "labels": {"kube.ci/aggregate-to-watch": "true"},
            },
            "rules": [{"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]}],
        });
        self.apply_outside::<ClusterRole>(role).await;
    }

    /// Installs a custom resource, `kind` with the plural `kind` in lower case and `s`, in the API group
    /// that is the test's alone.
    pub async fn install_kind(&self, kind: &str) {
        self.install(kind, json!({"status": {}})).await;
    }

    /// As [`Test::install_kind`], with a status that is written like any other field.
    pub async fn install_kind_without_status(&self, kind: &str) {
        self.install(kind, json!({})).await;
    }

    async fn install(&self, kind: &str, subresources: Value) {
        let (group, singular) = (self.api_group(), kind.to_lowercase());
        let name = format!("{singular}s.{group}");
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"kind": kind, "plural": format!("{singular}s"), "singular": singular},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "subresources": subresources,
                    "schema": {"openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    }},
                }],
            },
        });
        self.apply_outside::<CustomResourceDefinition>(definition)
            .await;
        // Established is said a moment before the API server serves it.
        eventually(&format!("{name} is served"), async || {
            let version = format!("{group}/v1");
            self.client.list_api_group_resources(&version).await
        })
        .await;
    }

    /// Removes a custom resource that [`Test::install_kind`] installed.
    pub async fn remove_kind(&self, kind: &str) {
        let name = format!("{}s.{}", kind.to_lowercase(), self.api_group());
        self.remove_outside::<CustomResourceDefinition>(&name).await;
    }

    /// Removes an object that no namespace holds, and waits until it is gone.
    pub async fn remove_outside<K>(&self, name: &str)
    where
        K: Resource<Scope = ClusterResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let api = Api::<K>::all(self.client.clone());
        let deleted = api.delete(name, &DeleteParams::default()).await;
        deleted.unwrap_or_else(|error| panic!("{name} is not deleted: {error}"));
        eventually(&format!("{name} is gone"), async || {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(object)) => Err(format!("{object:?}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// An API group that no other test has.
    pub fn api_group(&self) -> String {
        format!("{}.example.com", self.namespace)
    }

    /// Changes the labels of the test's namespace.
    pub async fn label_namespace(&self, labels: BTreeMap<&str, &str>) {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        let patched = namespaces
            .patch(&self.namespace, &PatchParams::default(), &patch)
            .await;
        patched.expect("a labelled namespace");
    }
}

/// A policy of the API server that changes what is created; this version of the client has no type for it.
fn mutating(kind: &str) -> ApiResource {
    let version = "admissionregistration.k8s.io/v1beta1";
    ApiResource::from_gvk(
        &GroupVersionKind::try_from(&TypeMeta {
            api_version: version.to_owned(),
            kind: kind.to_owned(),
        })
        .expect("a kind"),
    )
}

/// An expression that gives a pod in part. It may hold no lists that cannot be merged, such as commands.
fn merged(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn appended(list: &str, fields: &str) -> Value {
    let container = format!("Object.spec.{list}{{{fields}}}");
    let expression =
        format!("[JSONPatch{{op: 'add', path: '/spec/{list}/-', value: {container}}}]");
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

impl Test {
    /// Adds a container to every pod that is created in the test's namespace, as a mesh does; its fields are
    /// those of a CEL object.
    pub async fn inject(&self, fields: &str) {
        self.change_pods(&[appended("containers", fields)]).await;
    }

    /// The same with an init container. Another one comes before it, so that there is a list to append to.
    pub async fn inject_init(&self, fields: &str) {
        let list = "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 'mesh-prepare', image: 'alpine'}]}}";
        self.change_pods(&[merged(list), appended("initContainers", fields)])
            .await;
    }

    /// Holds every pod that is created in the test's namespace back by a scheduling gate.
    pub async fn gate(&self, gate: &str) {
        let gated = format!(
            "Object{{spec: Object.spec{{schedulingGates: [Object.spec.schedulingGates{{name: '{gate}'}}], \
             containers: [Object.spec.containers{{name: 'beside', image: 'pause:1'}}]}}}}"
        );
        self.change_pods(&[merged(&gated)]).await;
    }

    async fn change_pods(&self, mutations: &[Value]) {
        let name = &self.namespace;
        let labels = json!({LABEL: name});
        let version = "admissionregistration.k8s.io/v1beta1";
        let policy = json!({
            "apiVersion": version, "kind": POLICY, "metadata": {"name": name, "labels": labels},
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
                ]},
                "mutations": mutations,
            },
        });
        let binding = json!({
            "apiVersion": version, "kind": BINDING, "metadata": {"name": name, "labels": labels},
            "spec": {"policyName": name, "matchResources": {"namespaceSelector": {"matchLabels": {
                "kubernetes.io/metadata.name": name,
            }}}},
        });
        for (kind, object) in [(POLICY, policy), (BINDING, binding)] {
            let api = Api::<DynamicObject>::all_with(self.client.clone(), &mutating(kind));
            let params = PatchParams::apply("kubeci-e2e").force();
            let applied = api.patch(name, &params, &Patch::Apply(&object)).await;
            applied.unwrap_or_else(|error| panic!("{error}\n{object}"));
        }
        let pods = self.api::<Pod>();
        let pod = json!({"metadata": {"name": "injected"}, "spec": {"containers": [{"name": "only", "image": "alpine"}]}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        eventually("the policy changes pods", async || {
            let made = pods
                .create(&dry, &pod)
                .await
                .map_err(|error| error.to_string())?;
            let spec = made.spec.unwrap_or_default();
            let more = spec.containers.len() + spec.init_containers.iter().flatten().count();
            if more > 1 {
                Ok(())
            } else {
                Err("nothing was added")
            }
            .map_err(ToOwned::to_owned)
        })
        .await;
    }
}

/// Deletes everything that the test has outside its namespace.
pub(crate) async fn delete(test: &Test) {
    let of_test = ListParams::default().labels(&format!("{LABEL}={}", test.namespace));
    delete_all::<CustomResourceDefinition>(&test.client, &of_test).await;
    delete_all::<ClusterRoleBinding>(&test.client, &of_test).await;
    delete_all::<ClusterRole>(&test.client, &of_test).await;
    delete_all::<PriorityClass>(&test.client, &of_test).await;
    delete_all::<Namespace>(&test.client, &of_test).await;
    delete_all::<ValidatingAdmissionPolicyBinding>(&test.client, &of_test).await;
    delete_all::<ValidatingAdmissionPolicy>(&test.client, &of_test).await;
    for kind in [BINDING, POLICY] {
        let api = Api::<DynamicObject>::all_with(test.client.clone(), &mutating(kind));
        let deleted = api.delete(&test.namespace, &DeleteParams::default()).await;
        drop(deleted); // as a rule there is none
    }
}

/// One by one: namespaces cannot be deleted as a collection.
async fn delete_all<K>(client: &Client, which: &ListParams)
where
    K: Resource<Scope = ClusterResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let api = Api::<K>::all(client.clone());
    let Ok(list) = api.list(which).await else {
        return;
    };
    for object in list {
        let name = object.name_any();
        if let Err(error) = api.delete(&name, &DeleteParams::default()).await {
            eprintln!("{name} is left behind: {error}");
        }
    }
}
