//! What an object's state is: its content outside `metadata` and `status`, whatever its kind and whatever its
//! generation does. That nothing fires is shown by a marker of the same watch that does fire later.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use kubeci_api::{Workflow, Workplan};
use kubeci_e2e::{DISRUPTIVE, Operator, Test, chains, eventually, fired, kubectl};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::workflow::unplaced;

const FINALIZER: &str = "kubeci.example.com/wait";

fn on(api_version: &str, kind: &str) -> String {
    format!("{{apiVersion: {api_version}, kind: {kind}, onAddOrUpdate: true, onDelete: true}}")
}

async fn watch(test: &Test, trigger: &str) {
    test.apply(&unplaced("states", trigger)).await;
    test.workflow_ready("states").await;
}

async fn change<K>(api: &Api<K>, name: &str, patch: Value) -> K
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let patched = api
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    patched.unwrap_or_else(|error| panic!("{name} is not changed: {error}"))
}

/// A Deployment without pods.
async fn deployment(test: &Test, name: &str) -> Deployment {
    let manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "only", "image": "alpine"}]},
            },
        },
    });
    test.create(&manifest.to_string()).await;
    test.api::<Deployment>()
        .get(name)
        .await
        .expect("a Deployment")
}

/// Begins a deletion, which waits for the finalizer that the object is given first.
async fn end<K>(test: &Test, name: &str, how: &DeleteParams)
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let api = test.api::<K>();
    change(&api, name, json!({"metadata": {"finalizers": [FINALIZER]}})).await;
    api.delete(name, how).await.expect("its deletion begins");
    let object = api.get(name).await.expect("it waits");
    assert!(object.meta().deletion_timestamp.is_some());
}

/// Lets a deletion that [`end`] began be done.
async fn let_go<K>(test: &Test, name: &str)
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let api = test.api::<K>();
    let finalizers = api.get(name).await.expect("it waits").finalizers().to_vec();
    let others: Vec<_> = finalizers.iter().filter(|it| *it != FINALIZER).collect();
    change(&api, name, json!({"metadata": {"finalizers": others}})).await;
    test.gone::<K>(name).await;
}

#[tokio::test]
async fn deployment_fires_by_its_spec_alone() {
    kubeci_e2e::run("deployment", async |test| {
        watch(test, &on("apps/v1", "Deployment")).await;
        let created = deployment(test, "web").await;
        test.workplans_reach("states", 1).await;

        kubectl(
            &[
                "annotate",
                "-n",
                &test.namespace,
                "deployment/web",
                "note=touched",
            ],
            "",
        )
        .await
        .expect("annotated");
        let deployments = test.api::<Deployment>();
        let touched = change(
            &deployments,
            "web",
            json!({"metadata": {"labels": {"a": "label"}}}),
        )
        .await;
        assert_ne!(
            touched.metadata.generation, created.metadata.generation,
            "the case"
        );
        deployment(test, "marker").await;
        let plans = test.workplans_reach("states", 2).await;
        assert_eq!(fired(&plans), ["marker add", "web add"]);

        change(&deployments, "web", json!({"spec": {"minReadySeconds": 1}})).await;
        let plans = test.workplans_reach("states", 3).await;
        assert_eq!(fired(&plans), ["marker add", "web add", "web update"]);
        chains(&plans);
    })
    .await;
}

#[tokio::test]
async fn deletion_fires_when_complete() {
    kubeci_e2e::run("foreground", async |test| {
        watch(test, &on("apps/v1", "Deployment")).await;
        deployment(test, "web").await;
        test.workplans_reach("states", 1).await;
        end::<Deployment>(test, "web", &DeleteParams::foreground()).await;
        let deployments = test.api::<Deployment>();
        change(&deployments, "web", json!({"spec": {"minReadySeconds": 1}})).await;
        deployment(test, "marker").await;
        let plans = test.workplans_reach("states", 2).await;
        assert_eq!(fired(&plans), ["marker add", "web add"], "while it waits");

        let_go::<Deployment>(test, "web").await;
        let plans = test.workplans_reach("states", 3).await;
        assert_eq!(fired(&plans), ["marker add", "web add", "web delete"]);
        chains(&plans);
    })
    .await;
}

#[tokio::test]
async fn pod_with_grace_period_fires_add_and_delete() {
    kubeci_e2e::run("grace", async |test| {
        watch(test, &on("v1", "Pod")).await;
        let pod = |name: &str| {
            let stays = "trap 'sleep 2; exit' TERM; touch /tmp/here; while true; do sleep 0.1; done";
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                "spec": {
                    "terminationGracePeriodSeconds": 20,
                    "containers": [{
                        "name": "only", "image": "alpine", "command": ["sh", "-c", stays],
                        "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/here"]}, "periodSeconds": 1},
                    }],
                },
            })
            .to_string()
        };
        test.create(&pod("graceful")).await;
        let pods = test.api::<Pod>();
        eventually("the pod is ready", async || {
            let status = pods.get("graceful").await.map_err(|error| error.to_string())?.status;
            let conditions = status.clone().and_then(|it| it.conditions).unwrap_or_default();
            let ready = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
            if ready { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
        test.delete_one::<Pod>("graceful").await;
        let ending = pods.get("graceful").await.expect("it takes its grace period");
        assert!(ending.metadata.deletion_timestamp.is_some());
        test.gone::<Pod>("graceful").await;
        test.create(&pod("marker")).await;
        let plans = test.workplans_reach("states", 3).await;
        assert_eq!(fired(&plans), ["graceful add", "graceful delete", "marker add"]);
    })
    .await;
}

#[tokio::test]
async fn status_without_subresource_fires_nothing() {
    kubeci_e2e::run("no-status", async |test| {
        let group = test.api_group();
        test.let_operator_watch(&group, &["gizmos"]).await;
        test.install_kind_without_status("Gizmo").await;
        watch(test, &on(&format!("{group}/v1"), "Gizmo")).await;
        let gizmo = |name: &str| {
            format!("{{apiVersion: {group}/v1, kind: Gizmo, metadata: {{name: {name}}}, spec: {{size: 1}}}}")
        };
        test.create(&gizmo("first")).await;
        test.workplans_reach("states", 1).await;

        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, "v1", "Gizmo"));
        let gizmos = Api::<DynamicObject>::namespaced_with(test.client.clone(), &test.namespace, &kind);
        for step in 1..4 {
            let written = change(&gizmos, "first", json!({"status": {"step": step}})).await;
            assert_eq!(written.metadata.generation, Some(step + 1), "the case");
        }
        test.create(&gizmo("marker")).await;
        let plans = test.workplans_reach("states", 2).await;
        assert_eq!(fired(&plans), ["first add", "marker add"]);

        change(&gizmos, "first", json!({"spec": {"size": 2}})).await;
        let plans = test.workplans_reach("states", 3).await;
        assert_eq!(fired(&plans), ["first add", "first update", "marker add"]);
    })
    .await;
}

#[tokio::test]
async fn content_beside_a_spec_fires_with_equal_generation() {
    kubeci_e2e::run("priority", async |test| {
        let (group, name) = ("scheduling.k8s.io", test.namespace.as_str());
        test.let_operator_watch(group, &["priorityclasses"]).await;
        test.grant(group, &["priorityclasses"], &["get", "list", "watch"])
            .await;
        let selector = format!("selector: {{matchLabels: {{kubeci-e2e-of: {name}}}}}");
        let trigger = on(&format!("{group}/v1"), "PriorityClass");
        watch(
            test,
            &trigger.replace("onAdd", &format!("{selector}, onAdd")),
        )
        .await;
        let class = |description: &str| {
            json!({
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
                "metadata": {"name": name}, "value": 7, "description": description,
            })
        };
        let generation = async || {
            let classes = Api::<PriorityClass>::all(test.client.clone());
            classes
                .get(name)
                .await
                .expect("a class")
                .metadata
                .generation
        };
        test.apply_outside::<PriorityClass>(class("A")).await;
        test.workplans_reach("states", 1).await;
        let first = generation().await;
        test.apply_outside::<PriorityClass>(class("B")).await;
        test.workplans_reach("states", 2).await;
        assert_eq!(generation().await, first, "the case");
        test.remove_outside::<PriorityClass>(name).await;
        let plans = test.workplans_reach("states", 3).await;
        let chains = chains(&plans);
        let events = chains.values().next().expect("a chain").iter();
        let events: Vec<_> = events.map(|plan| event(plan)).collect();
        assert_eq!(events, ["add", "update", "delete"]);
    })
    .await;
}

fn event(plan: &Workplan) -> &'static str {
    plan.spec
        .trigger
        .as_ref()
        .expect("a trigger")
        .event
        .as_str()
}

#[tokio::test]
async fn deletion_fires_once_despite_operator_outages() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("away", async |test| {
        watch(test, crate::workflow::WATCHED).await;
        let names = ["waits", "done-away", "began-away"];
        for name in names {
            test.config_map(name, "A").await;
        }
        test.workplans_reach("states", 3).await;
        let config_maps = DeleteParams::default();
        end::<ConfigMap>(test, "waits", &config_maps).await;
        end::<ConfigMap>(test, "done-away", &config_maps).await;

        Operator::Workflow.go_away(&test.client).await;
        let_go::<ConfigMap>(test, "done-away").await;
        end::<ConfigMap>(test, "began-away", &config_maps).await;
        let unseen = test.config_map("unseen", "A").await.uid().expect("a uid");
        end::<ConfigMap>(test, "unseen", &config_maps).await;
        Operator::Workflow.come_back(&test.client).await;

        let adds = [
            "began-away add",
            "done-away add",
            "done-away delete",
            "waits add",
        ];
        let plans = test.workplans_reach("states", 4).await;
        assert_eq!(fired(&plans), adds);
        test.workflow_sees("states", &unseen, true).await;
        for name in ["waits", "began-away", "unseen"] {
            let_go::<ConfigMap>(test, name).await;
        }
        test.config_map("marker", "A").await;
        let plans = test.workplans_reach("states", 8).await;
        let ends = [
            "began-away delete",
            "marker add",
            "unseen delete",
            "waits delete",
        ];
        let mut all = [adds, ends].concat();
        all.sort_unstable();
        assert_eq!(fired(&plans), all);
    })
    .await;
}

#[tokio::test]
async fn ledger_of_generations_fires_nothing_again() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("older-ledger", async |test| {
        let triggers = format!(
            "{}, {}",
            on("apps/v1", "Deployment"),
            crate::workflow::WATCHED
        );
        watch(test, &triggers).await;
        let web = deployment(test, "web").await.uid().expect("a uid");
        test.config_map("object", "A").await;
        test.workplans_reach("states", 2).await;
        test.workflow_sees("states", &web, true).await;

        Operator::Workflow.go_away(&test.client).await;
        let workflows = test.api::<Workflow>();
        let generation = test
            .api::<Deployment>()
            .get("web")
            .await
            .expect("it")
            .metadata
            .generation;
        let older = generation.expect("a generation").to_string();
        let mut tokens = ledger(&workflows).await;
        tokens[&web] = json!(older);
        let status = json!({"status": {"lastObservedResourceGeneration": tokens}});
        let patched = workflows
            .patch_status("states", &PatchParams::default(), &Patch::Merge(status))
            .await;
        patched.expect("an older status");
        Operator::Workflow.come_back(&test.client).await;

        test.config_map("marker", "A").await;
        let plans = test.workplans_reach("states", 3).await;
        assert_eq!(fired(&plans), ["marker add", "object add", "web add"]);
        eventually("the ledger is written anew", async || {
            let token = ledger(&workflows).await[&web].clone();
            if token == json!(older) {
                Err(token)
            } else {
                Ok(())
            }
        })
        .await;
        change(
            &test.api::<Deployment>(),
            "web",
            json!({"spec": {"minReadySeconds": 1}}),
        )
        .await;
        let plans = test.workplans_reach("states", 4).await;
        assert_eq!(
            fired(&plans),
            ["marker add", "object add", "web add", "web update"]
        );
        chains(&plans);
    })
    .await;
}

async fn ledger(workflows: &Api<Workflow>) -> Value {
    let workflow = workflows.get("states").await.expect("the Workflow");
    let status = workflow.status.unwrap_or_default();
    json!(status.last_observed_resource_generation)
}
