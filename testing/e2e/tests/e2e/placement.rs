//! The law "Together": later pods go to the first one's node, and the scheduler sees to it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, Pod};
use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::Phase;
use rstest::rstest;

use crate::workflow::{on_config_maps, shell};

#[tokio::test]
async fn later_pods_require_the_first_ones_node() {
    // As a relay, these steps are one pod.
    kubeci_e2e::run_as(Pods, "together", async |test| {
        let steps = [
            shell("a1", "echo a > /kubeci/a", ""),
            shell("b1", "echo b > /kubeci/b", ""),
            shell("a2", "true", "a1"),
            shell("b2", "true", "b1"),
            shell("c", "cat /kubeci/a /kubeci/b", "a2, b2"),
            shell("d1", "true", "c"),
            shell("d2", "true", "c"),
            shell("e", "true", "d1, d2"),
        ];
        test.apply(&on_config_maps(
            "together",
            &format!("[{}]", steps.join(", ")),
        ))
        .await;
        test.workflow_ready("together").await;
        test.config_map("object", "A").await;
        let name = test.workplan("together").await.name_any();
        let plan = test.ends(&name, Phase::Completed).await;
        let node = plan.status.and_then(|it| it.node).expect("a node");
        let pods = test.pods_of(&name).await;
        assert!(pods.len() > 2, "several pods");
        let nodes: BTreeSet<_> = pods
            .iter()
            .filter_map(|it| it.spec.clone()?.node_name)
            .collect();
        assert_eq!(nodes, BTreeSet::from([node.clone()]));
        let requiring = pods.iter().filter(|pod| requires(pod, &node)).count();
        assert_eq!(requiring, pods.len() - 1, "all but the first");
        for pod in &pods {
            assert!(
                was_scheduled(pod),
                "{} went by the scheduler",
                pod.name_any()
            );
        }
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn first_pod_holds_room_for_the_widest_moment(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "room", async |test| {
        // A request of which a pod cannot state the whole, and of which the nodes of a test have nothing.
        let steps = r#"[
            {name: small, image: busybox, commands: ["true"], resources: {requests: {memory: 8Mi, ephemeral-storage: 0}}},
            {name: wide-1, image: busybox, commands: ["true"], dependency: [small], isolate: true, resources: {requests: {memory: 32Mi, cpu: 20m}}},
            {name: wide-2, image: busybox, commands: ["true"], dependency: [small], isolate: true, resources: {requests: {memory: 16Mi}}},
        ]"#;
        test.apply(&on_config_maps("room", steps)).await;
        test.workflow_ready("room").await;
        test.config_map("object", "A").await;
        let name = test.workplan("room").await.name_any();
        test.ends(&name, Phase::Completed).await;
        let requests = |pod: &Pod| pod.spec.as_ref()?.resources.as_ref()?.requests.clone();
        let pods = test.pods_of(&name).await;
        let stated: Vec<_> = pods.iter().filter_map(requests).collect();
        assert_eq!(stated.len(), 1, "the first pod alone: {stated:?}");
        assert_eq!(stated[0]["memory"].0, "50331648", "32Mi and 16Mi at once");
        assert_eq!(stated[0]["cpu"].0, "20m");
        test.cleaned(&name).await;
    })
    .await;
}

/// Whether a pod's affinity requires the node, and nothing beside it would do.
fn requires(pod: &Pod, node: &str) -> bool {
    let affinity = pod
        .spec
        .as_ref()
        .and_then(|it| it.affinity.as_ref()?.node_affinity.as_ref());
    let required = affinity.and_then(|it| {
        it.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    required.is_some_and(|it| {
        it.node_selector_terms.iter().all(|term| {
            let mut requirements = term
                .match_expressions
                .iter()
                .chain(&term.match_fields)
                .flatten();
            requirements.any(|it| is_node(it, node))
        })
    })
}

fn is_node(requirement: &NodeSelectorRequirement, node: &str) -> bool {
    let names = ["metadata.name", "kubernetes.io/hostname"];
    names.contains(&requirement.key.as_str())
        && requirement.operator == "In"
        && requirement.values.iter().flatten().eq([node])
}

/// Pods that name their node themselves have no such condition from the scheduler's binding.
fn was_scheduled(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    let mut scheduled = conditions.filter(|it| it.type_ == "PodScheduled" && it.status == "True");
    scheduled.next().is_some()
}
