//! Caps on the Workplans that exist and run. They count the Workplans of all tests, so that these tests run alone.

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, Workflow, Workplan};
use kubeci_e2e::{Operator, Test, chains, eventually, fired, run_alone};
use rstest::rstest;

use crate::workflow::{ONE_STEP, WATCHED, on_config_maps, shell, unplaced};

/// Fires the Workflow `queue` with one more object, and returns the name of its Workplan.
async fn fire_more(test: &Test, object: &str, count: usize) -> String {
    test.config_map(object, "A").await;
    let plans = test.workplans_reach("queue", count).await;
    let of_object = |plan: &&Workplan| {
        let trigger = plan.spec.trigger.as_ref();
        trigger.is_some_and(|trigger| trigger.name == object)
    };
    plans.iter().find(of_object).expect("a Workplan").name_any()
}

async fn queue(test: &Test) {
    let steps = format!("[{}]", shell("only", "sleep 4", ""));
    test.apply(&on_config_maps("queue", &steps)).await;
    test.workflow_ready("queue").await;
}

fn times(plan: &Workplan) -> (MicroTime, MicroTime) {
    let status = plan.status.clone().expect("a status");
    (
        status.started_at.expect("a start"),
        status.finished_at.expect("an end"),
    )
}

#[rstest]
#[tokio::test]
async fn plans_over_the_cap_wait_in_order(#[values(Pods, Relay)] execution: Execution) {
    let cap = (Operator::Workplan, "KUBECI_MAX_RUNNING_WORKPLANS", "1");
    run_alone(execution, "cap", cap, async |test| {
        let other = test.another_namespace("other").await;
        queue(test).await;
        queue(&other).await;
        let first = fire_more(test, "first", 1).await;
        let second = fire_more(test, "second", 2).await;
        let third = fire_more(test, "third", 3).await;
        let fourth = fire_more(&other, "fourth", 1).await;
        let words = ["Queued", "at place", "--max-running-workplans"];
        let waiting = test.workplan_says(&third, &words).await;
        let phase = waiting.status.and_then(|status| status.phase);
        assert_eq!(phase, Some(Phase::Pending));

        let previous = Operator::Workplan.kill_leader(&test.client).await;
        let mut ended = Vec::new();
        for (test, name) in [
            (test, &first),
            (test, &second),
            (test, &third),
            (&other, &fourth),
        ] {
            ended.push(test.ends(name, Phase::Completed).await);
        }
        println!("{previous} was killed");
        ended.sort_by_key(|plan| times(plan).0);
        for (plan, next) in ended.iter().zip(&ended[1..]) {
            let (end, start) = (times(plan).1, times(next).0);
            assert!(
                end <= start,
                "{} runs with {}",
                plan.name_any(),
                next.name_any()
            );
        }
        let order: Vec<String> = ended.iter().map(ResourceExt::name_any).collect();
        let at = |name: &String| order.iter().position(|it| it == name);
        assert!(
            at(&first) < at(&second) && at(&second) < at(&third),
            "{order:?}"
        );
        assert!(
            at(&fourth) < at(&third),
            "the namespaces take turns: {order:?}"
        );
        for plan in &ended {
            let reason = plan
                .status
                .as_ref()
                .and_then(|status| status.reason.clone());
            assert_eq!(reason, None, "{}", plan.name_any());
        }
    })
    .await;
}

/// The number of Workplans that are pending or running.
async fn active(test: &Test, workflow: &str) -> usize {
    let plans = test.workplans(workflow).await;
    let is_active = |plan: &&Workplan| {
        let phase = plan.status.as_ref().and_then(|status| status.phase);
        !phase.is_some_and(Phase::is_final)
    };
    plans.iter().filter(is_active).count()
}

/// Waits until a Workflow states that so many events wait.
async fn queued(test: &Test, workflow: &str, count: Option<i64>) {
    let api = test.api::<Workflow>();
    eventually(
        &format!("{count:?} events of {workflow} wait"),
        async || {
            let object = api.get(workflow).await.map_err(|error| error.to_string())?;
            let status = object.status.unwrap_or_default();
            if status.queued == count {
                Ok(())
            } else {
                Err(format!("{:?} {:?}", status.queued, status.conditions))
            }
        },
    )
    .await;
}

const OBJECTS: usize = 8;
const CAP: usize = 3;

#[tokio::test]
async fn burst_over_the_cap_fires_once_in_order() {
    let cap = (Operator::Workflow, "KUBECI_MAX_ACTIVE_WORKPLANS", "3");
    run_alone(Relay, "cap-burst", cap, async |test| {
        test.apply(&on_config_maps("burst", ONE_STEP)).await;
        test.workflow_ready("burst").await;
        let names: Vec<String> = (0..OBJECTS).map(|at| format!("object-{at}")).collect();
        for data in ["A", "B"] {
            join_all(names.iter().map(|name| test.config_map(name, data))).await;
        }
        let count = 2 * OBJECTS;
        eventually("all states have fired", async || {
            let active = active(test, "burst").await;
            assert!(active <= CAP, "{active} Workplans are active");
            let plans = test.workplans("burst").await.len();
            if plans == count { Ok(()) } else { Err(plans) }
        })
        .await;
        queued(test, "burst", None).await;
        let plans = test.workplans_reach("burst", count).await;
        let each = names.iter();
        let expected =
            each.flat_map(|name| ["add", "update"].map(|event| format!("{name} {event}")));
        assert_eq!(fired(&plans), expected.collect::<Vec<_>>());
        chains(&plans);
    })
    .await;
}

#[tokio::test]
async fn waiting_events_survive_a_kill() {
    let cap = (Operator::Workflow, "KUBECI_MAX_ACTIVE_WORKPLANS", "3");
    run_alone(Relay, "cap-killed", cap, async |test| {
        test.apply(&unplaced("killed", WATCHED)).await;
        test.workflow_ready("killed").await;
        let names: Vec<String> = (0..OBJECTS).map(|at| format!("object-{at}")).collect();
        join_all(names.iter().map(|name| test.config_map(name, "A"))).await;
        let plans = test.workplans_reach("killed", CAP).await;
        let waiting = i64::try_from(OBJECTS - CAP).ok();
        queued(test, "killed", waiting).await;

        let previous = Operator::Workflow.kill_leader(&test.client).await;
        Operator::Workflow.works(&test.client).await;
        queued(test, "killed", waiting).await;
        println!("{previous} was killed");
        assert_eq!(active(test, "killed").await, CAP);
        let mut seen = plans;
        while seen.len() < OBJECTS {
            let known: Vec<String> = seen.iter().map(ResourceExt::name_any).collect();
            let existing = test.workplans("killed").await;
            test.delete_one::<Workplan>(&existing[0].name_any()).await;
            let next = eventually("another event fires", async || {
                let plans = test.workplans("killed").await;
                let new = plans.into_iter().find(|it| !known.contains(&it.name_any()));
                new.ok_or(())
            })
            .await;
            seen.push(next);
        }
        let expected: Vec<String> = names.iter().map(|name| format!("{name} add")).collect();
        assert_eq!(fired(&seen), expected);
        queued(test, "killed", None).await;
    })
    .await;
}
