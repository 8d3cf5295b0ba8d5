//! Two replicas of each operator: when the one that leads is lost, the other goes on.

use std::time::{Duration, Instant};

use kube::ResourceExt;
use kubeci_api::Phase;
use kubeci_e2e::{DISRUPTIVE, Operator, PodHistory, Test, chains, fired};

use crate::workflow::{WATCHED, on_config_maps, shell, unplaced};

const TAKEOVER: Duration = Duration::from_secs(20);

/// Loses the leader, does `meanwhile`, and waits for another leader.
async fn lose_leader(test: &Test, operator: Operator, meanwhile: impl AsyncFnOnce()) {
    let lost = Instant::now();
    let previous = operator.lose_leader(&test.client).await;
    let ((), leader) = tokio::join!(meanwhile(), operator.leader_after(&test.client, &previous));
    let took = lost.elapsed();
    println!("{leader} took over from {previous} after {took:?}");
    assert!(took < TAKEOVER, "{leader} took over after {took:?}");
}

#[tokio::test]
async fn another_workflow_operator_takes_over_and_fires_each_event_once() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("takeover", async |test| {
        test.apply(&unplaced("takeover", WATCHED)).await;
        test.workflow_ready("takeover").await;
        let names: Vec<_> = (0..10).map(|it| format!("object-{it}")).collect();
        for name in &names {
            test.config_map(name, "A").await;
        }
        lose_leader(test, Operator::Workflow, async || {
            for name in &names {
                test.config_map(name, "B").await;
            }
            test.config_map("new", "A").await;
        })
        .await;
        test.config_map("marker", "A").await;
        // The first states of the objects may have been seen, or be over before.
        kubeci_e2e::eventually("all that is last has fired", async || {
            let fired = fired(&test.workplans("takeover").await);
            let all = ["marker add", "new add"]
                .iter()
                .all(|it| fired.contains(&(*it).to_owned()));
            if all && fired.len() >= 12 {
                Ok(())
            } else {
                Err(fired)
            }
        })
        .await;
        let plans = test.workplans("takeover").await;
        let last = test.config_map("reference", "B").await.uid();
        assert!(last.is_some());
        for (uid, chain) in chains(&plans) {
            assert!(chain.len() <= 2, "{uid} had two states");
        }
    })
    .await;
}

#[tokio::test]
async fn another_workplan_operator_takes_over_and_ends_what_runs() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("takeover-runs", async |test| {
        let steps = [
            shell("a", "echo a >> /kubeci/log; sleep 2", ""),
            shell("b", "echo b >> /kubeci/log; sleep 2", ""),
            shell("c", "test $(sort /kubeci/log | tr -d '\\n') = ab", "a, b"),
        ];
        test.apply(&on_config_maps(
            "takeover",
            &format!("[{}]", steps.join(", ")),
        ))
        .await;
        test.workflow_ready("takeover").await;
        let history = PodHistory::begin(test);
        for name in ["one", "two", "three"] {
            test.config_map(name, "A").await;
        }
        let plans = test.workplans_reach("takeover", 3).await;
        test.runs(&plans[0].name_any(), "a").await;
        lose_leader(test, Operator::Workplan, async || ()).await;
        for plan in plans {
            test.ends(&plan.name_any(), Phase::Completed).await;
            test.cleaned(&plan.name_any()).await;
            test.assert_folder_gone("takeover", &plan.name_any()).await;
        }
        assert_eq!(history.assert_each_ran_once(), 6);
    })
    .await;
}
