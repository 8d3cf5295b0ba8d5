//! The laws "Once" and "Killable": SIGKILL at any moment changes nothing about the outcome.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kubeci_api::Execution::{Pods, Relay};
use kubeci_api::{Phase, Workflow, Workplan, names};
use kubeci_e2e::{DISRUPTIVE, Operator, PodHistory, Test, chains, eventually, fired, status_text};
use rand::RngExt;
use serde_json::json;

use crate::flows::{Flow, flows};
use crate::workflow::{WATCHED, on_config_maps, shell, unplaced};

#[tokio::test]
async fn changes_without_the_operator_fire_once() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("away", async |test| {
        test.apply(&unplaced("away", WATCHED)).await;
        test.workflow_ready("away").await;
        let mut expected = vec!["marker add".to_owned()];
        for kind in ["changed", "deleted", "recreated", "touched"] {
            let names = each(10, kind);
            join_all(names.iter().map(|it| test.config_map(it, "A"))).await;
            expected.extend(names.iter().map(|it| format!("{it} add")));
        }
        test.workplans_reach("away", 40).await;

        Operator::Workflow.go_away(&test.client).await;
        expected.extend(meanwhile(test).await);
        Operator::Workflow.come_back(&test.client).await;
        test.config_map("marker", "A").await;

        let plans = test.workplans_reach("away", expected.len()).await;
        expected.sort();
        assert_eq!(fired(&plans), expected);
        chains(&plans);
    })
    .await;
}

/// Changes everything, and says what must fire.
async fn meanwhile(test: &Test) -> Vec<String> {
    let mut expected = Vec::new();
    for name in each(20, "created") {
        test.config_map(&name, "A").await;
        expected.push(format!("{name} add"));
    }
    for name in each(10, "changed") {
        test.config_map(&name, "B").await;
        expected.push(format!("{name} update"));
    }
    for name in each(10, "deleted") {
        test.delete_one::<ConfigMap>(&name).await;
        expected.push(format!("{name} delete"));
    }
    for name in each(10, "recreated") {
        test.delete_one::<ConfigMap>(&name).await;
        test.config_map(&name, "A").await;
        expected.extend([format!("{name} delete"), format!("{name} add")]);
    }
    for name in each(10, "touched") {
        let note = json!({"metadata": {"annotations": {"note": "touched"}}});
        test.patch_config_map(&name, note).await;
    }
    for name in each(5, "never-seen") {
        test.config_map(&name, "A").await;
        test.delete_one::<ConfigMap>(&name).await;
    }
    expected
}

fn each(count: usize, kind: &str) -> Vec<String> {
    (0..count).map(|it| format!("{kind}-{it}")).collect()
}

const BURST_OBJECTS: usize = 20;
const BURSTS: usize = 8;
const CHANGES: usize = 25;

#[tokio::test]
async fn operator_killed_in_a_burst_fires_once() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("burst", async |test| {
        test.apply(&unplaced("burst", WATCHED)).await;
        test.workflow_ready("burst").await;
        for burst in 0..BURSTS {
            let kill =
                Operator::Workflow.kill_leader_within(&test.client, Duration::from_millis(500));
            tokio::join!(change(test, burst), kill);
        }
        let objects = each(BURST_OBJECTS, "object");
        for name in objects.iter().map(String::as_str).chain(["marker"]) {
            test.config_map(name, "the last state").await;
        }
        let last = eventually("the last state fires", async || {
            let plans = test.workplans("burst").await;
            let marker = plans.iter().find_map(|it| {
                let trigger = it.spec.trigger.clone().expect("a trigger");
                (trigger.name == "marker").then_some(trigger.token)
            });
            let token = marker.ok_or("no marker")?;
            let at_last = plans
                .iter()
                .filter(|it| it.spec.trigger.as_ref().is_some_and(|it| it.token == token));
            if at_last.count() > BURST_OBJECTS {
                Ok(token)
            } else {
                Err("not all")
            }
        })
        .await;
        nothing_twice(&test.workplans("burst").await, &last);
        the_ledger_agrees(test).await;
    })
    .await;
}

async fn change(test: &Test, burst: usize) {
    for change in 0..CHANGES {
        let object = rand::rng().random_range(0..BURST_OBJECTS);
        test.config_map(
            &format!("object-{object}"),
            &format!("state {burst}.{change}"),
        )
        .await;
    }
}

/// No two states of the burst are the same, so that no token may come twice.
fn nothing_twice(plans: &[Workplan], last: &str) {
    let chains = chains(plans);
    assert_eq!(chains.len(), BURST_OBJECTS + 1);
    for (uid, chain) in chains {
        let tokens: Vec<_> = chain
            .iter()
            .map(|it| it.spec.trigger.clone().expect("a trigger").token)
            .collect();
        let distinct: BTreeSet<_> = tokens.iter().collect();
        assert_eq!(
            distinct.len(),
            tokens.len(),
            "{uid} fired a state twice: {tokens:?}"
        );
        assert_eq!(
            tokens.last().map(String::as_str),
            Some(last),
            "the chain of {uid} ends in its last state"
        );
    }
}

async fn the_ledger_agrees(test: &Test) {
    let workflows = test.api::<Workflow>();
    eventually("the ledger ends where the chains do", async || {
        let status = workflows
            .get("burst")
            .await
            .map_err(|it| it.to_string())?
            .status
            .unwrap_or_default();
        let plans = test.workplans("burst").await;
        let wrong = chains(&plans).into_iter().find_map(|(uid, chain)| {
            let end = chain
                .last()
                .and_then(|it| it.labels().get(names::HEAD_LABEL));
            let entry = status.ledger.get(&uid);
            (entry.and_then(|it| it.head.as_ref()) != end)
                .then(|| format!("{uid}: {entry:?}, its chain ends at {end:?}"))
        });
        wrong.map_or(Ok(()), Err)
    })
    .await;
}

/// How many Workplans of each Workflow run while the operator is killed.
const RUNNING: usize = 15;

#[tokio::test]
async fn operator_killed_during_runs_changes_no_result() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("running", async |test| {
        let once = |name| format!("echo {name} >> /kubeci/ran; sleep 1");
        let good = [
            shell("a", &once("a"), ""),
            shell("b", &once("b"), ""),
            shell("c", "test $(sort /kubeci/ran | tr -d '\\n') = ab", "a, b"),
        ];
        let bad = [
            shell("a", &once("a"), ""),
            shell("b", "sleep 1; test $(cat /kubeci/ran) = a && exit 7", "a"),
            shell("c", "true", "b"),
        ];
        let workflows = [
            ("good-pods", Pods, &good, Phase::Completed),
            ("good-relay", Relay, &good, Phase::Completed),
            ("bad-pods", Pods, &bad, Phase::Failed),
            ("bad-relay", Relay, &bad, Phase::Failed),
        ];
        for (name, execution, steps, _) in workflows {
            let steps = format!("[{}]", steps.join(", "));
            let manifest = on_config_maps(name, &steps) + &format!("  execution: {execution:?}\n");
            test.apply(&manifest).await;
            test.workflow_ready(name).await;
        }
        let history = PodHistory::begin(test);
        test.config_map("undisturbed", "A").await;
        let undisturbed = workflows.map(|(name, _, _, phase)| undisturbed(test, name, phase));
        let undisturbed = join_all(undisturbed).await;

        let names = each(RUNNING, "object");
        join_all(names.iter().map(|it| test.config_map(it, "A"))).await;
        let ends = workflows.iter().zip(&undisturbed);
        let ends = join_all(ends.map(|((name, ..), expected)| all_end(test, name, expected)));
        tokio::select! {
            _ = Box::pin(ends) => {}
            () = Box::pin(kill_again_and_again(test)) => {}
        }
        Operator::Workplan.works(&test.client).await;
        // Two of `good-pods`, one of each other.
        assert_eq!(history.assert_each_ran_once(), (RUNNING + 1) * 5);
    })
    .await;
}

/// How many Workplans of each flow and execution run while the operator is killed.
const FLOWING: usize = 8;

#[tokio::test]
async fn operator_killed_during_flows_changes_no_result() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("flowing", async |test| {
        let flows = flows();
        let flows = flows.iter().flat_map(|it| [(it, Pods), (it, Relay)]);
        let flows = flows.map(|(flow, execution)| {
            let name = format!("{}-{execution:?}", flow.name).to_lowercase();
            (flow, execution, name)
        });
        let flows: Vec<_> = flows.collect();
        for (flow, execution, name) in &flows {
            test.apply(&flow.workflow(name, *execution)).await;
            test.workflow_ready(name).await;
        }
        let names = each(FLOWING, "object");
        join_all(names.iter().map(|it| test.config_map(it, "A"))).await;
        let ends = flows.iter();
        let ends = join_all(ends.map(|(flow, _, name)| all_flow(test, flow, name)));
        tokio::select! {
            _ = Box::pin(ends) => {}
            () = Box::pin(kill_again_and_again(test)) => {}
        }
        Operator::Workplan.works(&test.client).await;
    })
    .await;
}

async fn all_flow(test: &Test, flow: &Flow, workflow: &str) {
    for plan in test.workplans_reach(workflow, FLOWING).await {
        let name = plan.name_any();
        flow.assert_ended(&test.cleaned(&name).await);
        test.assert_folder_gone(workflow, &name).await;
    }
}

async fn kill_again_and_again(test: &Test) {
    loop {
        Operator::Workplan
            .kill_leader_within(&test.client, Duration::from_secs(4))
            .await;
    }
}

/// The status of a Workplan that runs without a disturbance.
async fn undisturbed(test: &Test, workflow: &str, phase: Phase) -> String {
    let name = test.workplan(workflow).await.name_any();
    test.ends(&name, phase).await;
    status_text(&test.cleaned(&name).await)
}

async fn all_end(test: &Test, workflow: &str, undisturbed: &str) {
    for plan in test.workplans_reach(workflow, RUNNING + 1).await {
        let name = plan.name_any();
        assert_eq!(
            status_text(&test.cleaned(&name).await),
            undisturbed,
            "{name}"
        );
        test.assert_folder_gone(workflow, &name).await;
    }
}

const FLOOD: usize = 300;

#[tokio::test]
async fn stopped_operator_has_recorded_all_workplans() {
    let _alone = DISRUPTIVE.lock().await;
    kubeci_e2e::run("stopped", async |test| {
        test.apply(&unplaced("stopped", WATCHED)).await;
        test.workflow_ready("stopped").await;
        let names = each(FLOOD, "object");
        let flood = join_all(names.iter().map(|it| test.config_map(it, "A")));
        let stop = async {
            eventually("some have fired", async || {
                let fired = test.workplans("stopped").await.len();
                if fired > FLOOD / 10 {
                    Ok(())
                } else {
                    Err(fired)
                }
            })
            .await;
            Operator::Workflow.stop(&test.client).await;
        };
        tokio::join!(flood, stop);
        let workflow = test.api::<Workflow>().get("stopped").await;
        let status = workflow.expect("a Workflow").status.unwrap_or_default();
        let plans = test.workplans("stopped").await;
        Operator::Workflow.come_back(&test.client).await;
        let created = i64::try_from(plans.len()).expect("a number");
        assert_eq!(status.last_sequence, Some(created));
        assert_eq!(status.ledger.len(), plans.len());
        test.workplans_reach("stopped", FLOOD).await;
    })
    .await;
}
