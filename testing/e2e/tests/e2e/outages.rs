//! Parts of the cluster that go away. The steps of a relay go on inside their pod, and the status catches up; the
//! operators wait.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kubeci_api::Execution::Relay;
use kubeci_api::Phase;
use kubeci_e2e::{
    Component, DISRUPTIVE, Inspector, Operator, PodHistory, Test, assert_in_order,
    duration_between, workspace_path,
};

use crate::flows::flows;
use crate::workflow::{fire, shell};

/// Less than any part of the cluster takes to bring a step on; milliseconds, but for how busy the machine is.
const HAND_OVER: Duration = Duration::from_secs(1);

/// A chain of steps of 2 s each. The first waits for the gate to be opened.
struct Chain<'a> {
    test: &'a Test,
    name: String,
    node: String,
}

impl<'a> Chain<'a> {
    /// Starts a chain of so many steps, and waits until the first one runs.
    async fn start(test: &'a Test, steps: usize) -> Self {
        let gate = shell("gate", "until [ -e /kubeci/open ]; do sleep 0.1; done", "");
        let steps = (1..=steps).map(|it| {
            let before = match it {
                1 => "gate".to_owned(),
                _ => format!("step-{}", it - 1),
            };
            shell(&format!("step-{it}"), "sleep 2", &before)
        });
        let steps: Vec<_> = [gate].into_iter().chain(steps).collect();
        let name = fire(test, "chain", &format!("[{}]", steps.join(", "))).await;
        let plan = test.runs(&name, "gate").await;
        let node = plan.status.and_then(|it| it.node).expect("a node");
        Self { test, name, node }
    }

    async fn open_gate(&self) {
        open_gate(self.test, "chain", &self.name, &self.node).await;
    }

    /// Asserts that it completes, and tells the true times of its steps, which ran between `left` and `back`.
    async fn has_gone_on(&self, left: Timestamp, back: Timestamp) {
        let plan = self.test.ends(&self.name, Phase::Completed).await;
        assert_in_order(&plan);
        let steps = plan.status.map(|it| it.steps).unwrap_or_default();
        for pair in steps.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            let (started, ended) = (after.started_at.as_ref(), after.finished_at.as_ref());
            assert!(started.is_some_and(|it| it.0 > left), "{after:?}");
            assert!(ended.is_some_and(|it| it.0 < back), "{after:?}");
            let hand_over = duration_between(before.finished_at.as_ref(), started);
            assert!(hand_over < HAND_OVER, "{hand_over:?} to {after:?}");
        }
        self.test.cleaned(&self.name).await;
        self.test.assert_folder_gone("chain", &self.name).await;
    }
}

async fn open_gate(test: &Test, workflow: &str, plan: &str, node: &str) {
    let folder = workspace_path(&test.namespace, workflow, plan);
    let inspector = Inspector::get(&test.client).await;
    let open = format!("touch {folder}/open");
    inspector.node(node).sh(&open).await;
}

#[tokio::test]
async fn steps_run_without_the_api_server() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run_as(Relay, "api-away", async |test| {
        let history = PodHistory::begin(test);
        let chain = Chain::start(test, 9).await;
        let left = Timestamp::now();
        chain.open_gate().await;
        Component::ApiServer.away_for(Duration::from_secs(30)).await;
        chain.has_gone_on(left, Timestamp::now()).await;
        assert_eq!(history.assert_each_ran_once(), 1);
    })
    .await;
}

/// Attempts, time limits and failure edges are decided in the pod.
#[tokio::test]
async fn flows_run_without_the_api_server() {
    let _alone = DISRUPTIVE.lock().await;
    for flow in flows() {
        kubeci_e2e::run("api-away-flow", async |test| {
            let history = PodHistory::begin(test);
            test.apply(&flow.workflow("gated", Relay)).await;
            test.workflow_ready("gated").await;
            test.config_map("object", "A").await;
            let name = test.workplan("gated").await.name_any();
            let plan = test.runs(&name, "gate").await;
            let node = plan.status.and_then(|it| it.node).expect("a node");
            let left = Timestamp::now();
            open_gate(test, "gated", &name, &node).await;
            Component::ApiServer.away_for(Duration::from_secs(30)).await;
            let back = Timestamp::now();
            let plan = test.ends(&name, flow.phase).await;
            flow.assert_ended(&plan);
            for step in plan.status.iter().flat_map(|it| &it.steps) {
                let ended = step.finished_at.as_ref();
                assert!(
                    ended.is_none_or(|it| left < it.0 && it.0 < back),
                    "{step:?}"
                );
            }
            test.cleaned(&name).await;
            test.assert_folder_gone("gated", &name).await;
            assert_eq!(history.assert_each_ran_once(), 1);
        })
        .await;
    }
}

#[tokio::test]
async fn steps_run_without_the_kubelet() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run_as(Relay, "kubelet-away", async |test| {
        let history = PodHistory::begin(test);
        let chain = Chain::start(test, 5).await;
        let left = Timestamp::now();
        chain.open_gate().await;
        let said = [
            "NodeNotReady",
            &chain.node,
            "continues when the node is ready again",
        ];
        let is_reported = Box::pin(test.workplan_says(&chain.name, &said));
        let away = Component::Kubelet(&chain.node).away_for(Duration::from_secs(20));
        tokio::join!(away, is_reported);
        chain.has_gone_on(left, Timestamp::now()).await;
        assert_eq!(history.assert_each_ran_once(), 1);
    })
    .await;
}

/// Who leads, and how often each replica was restarted.
async fn replicas(test: &Test) -> Vec<(String, BTreeMap<String, i32>)> {
    let mut replicas = Vec::new();
    for operator in [Operator::Workflow, Operator::Workplan] {
        operator.works(&test.client).await;
        let leader = operator.leader(&test.client).await;
        replicas.push((leader, operator.restarts(&test.client).await));
    }
    replicas
}

#[tokio::test]
async fn operators_wait_for_the_api_server() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run_as(Relay, "api-slow", async |test| {
        let before = replicas(test).await;
        // Shorter than a lease holds and longer, by the phase of the renewals.
        for seconds in [8, 8, 8, 20, 8] {
            Component::ApiServer
                .away_for(Duration::from_secs(seconds))
                .await;
            assert_eq!(replicas(test).await, before);
        }
        let steps = format!("[{}]", shell("a", "true", ""));
        let name = fire(test, "after", &steps).await;
        test.ends(&name, Phase::Completed).await;
        test.cleaned(&name).await;
        assert_eq!(replicas(test).await, before);
    })
    .await;
}
