//! Two replicas of each operator: when the leader is lost, the other continues.

use std::time::{Duration, Instant};

use kube::ResourceExt;
use kubeci_api::Execution::{Pods, Relay};
use kubeci_api::Phase;
use kubeci_e2e::{DISRUPTIVE, Operator, PodHistory, Test, chains, fired};

use crate::workflow::{WATCHED, on_config_maps, shell, unplaced};

const TAKEOVER: Duration = Duration::from_secs(20);

/// Loses the leader, does `meanwhile`, and waits for another leader.
async fn lose_leader(test: &Test, operator: Operator, meanwhile: impl AsyncFnOnce()) {
    let previous = operator.lose_leader(&test.client).await;
    let lost = Instant::now();
    let ((), leader) = tokio::join!(meanwhile(), operator.leader_after(&test.client, &previous));
    let took = lost.elapsed();
    println!("{leader} took over from {previous} after {took:?}");
    assert!(took < TAKEOVER, "{leader} took over after {took:?}");
}

#[tokio::test]
async fn second_workflow_operator_fires_each_event_once() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("takeover", async |test| {
        test.apply(&unplaced("takeover", WATCHED)).await;
        test.workflow_ready("takeover").await;
        let mut expected = vec!["marker add".to_owned(), "new add".to_owned()];
        for object in 0..10 {
            test.config_map(&format!("object-{object}"), "A").await;
            expected.extend(["add", "update"].map(|it| format!("object-{object} {it}")));
        }
        test.workplans_reach("takeover", 10).await;
        lose_leader(test, Operator::Workflow, async || {
            for object in 0..10 {
                test.config_map(&format!("object-{object}"), "B").await;
            }
            test.config_map("new", "A").await;
        })
        .await;
        test.config_map("marker", "A").await;
        let plans = test.workplans_reach("takeover", expected.len()).await;
        expected.sort();
        assert_eq!(fired(&plans), expected);
        chains(&plans);
    })
    .await;
}

#[tokio::test]
async fn second_workplan_operator_completes_running_plans() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("takeover-runs", async |test| {
        let steps = [
            shell("a", "echo a >> /kubeci/log; sleep 2", ""),
            shell("b", "echo b >> /kubeci/log; sleep 2", ""),
            shell("c", "test $(sort /kubeci/log | tr -d '\\n') = ab", "a, b"),
        ];
        let steps = format!("[{}]", steps.join(", "));
        let history = PodHistory::begin(test);
        for (workflow, execution) in [("pods", Pods), ("relay", Relay)] {
            let settings = format!("  execution: {execution:?}\n");
            test.apply(&(on_config_maps(workflow, &steps) + &settings))
                .await;
            test.workflow_ready(workflow).await;
        }
        for name in ["one", "two", "three"] {
            test.config_map(name, "A").await;
        }
        let pods = test.workplans_reach("pods", 3).await;
        let relay = test.workplans_reach("relay", 3).await;
        test.workplan_when(&relay[0].name_any(), "runs", |plan| {
            plan.status.as_ref().and_then(|it| it.phase) == Some(Phase::Running)
        })
        .await;
        lose_leader(test, Operator::Workplan, async || ()).await;
        for (workflow, plans) in [("pods", pods), ("relay", relay)] {
            for plan in plans {
                test.ends(&plan.name_any(), Phase::Completed).await;
                test.cleaned(&plan.name_any()).await;
                test.assert_folder_gone(workflow, &plan.name_any()).await;
            }
        }
        // Two of each that runs as pods, one of each relay.
        assert_eq!(history.assert_each_ran_once(), 9);
    })
    .await;
}
