//! Parts of the cluster that go away under a relay: its steps go on inside their pod, and the status catches up.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kubeci_api::Execution::Relay;
use kubeci_api::{Phase, Workplan};
use kubeci_e2e::{Component, DISRUPTIVE, PodHistory, Test, assert_in_order, duration_between};

use crate::workflow::{fire, shell};

/// Far less than any part of the cluster would need to bring a step on, on however busy a machine.
const HAND_OVER: Duration = Duration::from_millis(500);

/// Starts a chain of steps of 2 s each, the first twice as long, and says the Workplan once that one runs.
async fn start(test: &Test, steps: usize) -> Workplan {
    let steps = (0..steps).map(|it| match it {
        0 => shell("step-0", "sleep 4", ""),
        _ => shell(
            &format!("step-{it}"),
            "sleep 2",
            &format!("step-{}", it - 1),
        ),
    });
    let steps = steps.collect::<Vec<_>>().join(", ");
    let name = fire(test, "chain", &format!("[{steps}]")).await;
    test.runs(&name, "step-0").await
}

/// Asserts that the Workplan completes, with the true times of the steps that ran between `left` and `back`.
async fn has_gone_on(test: &Test, name: &str, left: Timestamp, back: Timestamp) {
    let plan = test.ends(name, Phase::Completed).await;
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
    test.cleaned(name).await;
    test.assert_folder_gone("chain", name).await;
}

#[tokio::test]
async fn while_the_api_server_is_away_the_steps_go_on() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run_as(Relay, "api-away", async |test| {
        let history = PodHistory::begin(test);
        let name = start(test, 10).await.name_any();
        let left = Timestamp::now();
        Component::ApiServer.away_for(Duration::from_secs(30)).await;
        has_gone_on(test, &name, left, Timestamp::now()).await;
        assert_eq!(history.assert_each_ran_once(), 1);
    })
    .await;
}

#[tokio::test]
async fn while_the_kubelet_is_away_the_steps_go_on_and_that_it_is_away_is_told() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run_as(Relay, "kubelet-away", async |test| {
        let history = PodHistory::begin(test);
        let plan = start(test, 6).await;
        let name = plan.name_any();
        let node = plan.status.and_then(|it| it.node).expect("a node");
        let left = Timestamp::now();
        let said = ["NodeNotReady", &node, "goes on when it is back"];
        let is_told = Box::pin(test.workplan_says(&name, &said));
        let away = Component::Kubelet(&node).away_for(Duration::from_secs(20));
        tokio::join!(away, is_told);
        has_gone_on(test, &name, left, Timestamp::now()).await;
        assert_eq!(history.assert_each_ran_once(), 1);
    })
    .await;
}
