//! `maxParallel`: at most so many steps of a plan run at the same time, and as many as may.

use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, StepPhase, Workplan};
use rstest::rstest;

use crate::workflow::{fire_with, shell};

/// A step that fails beside more than one other step, and does not end before another has run beside it.
fn counted(name: &str, dependency: &str) -> String {
    let line = format!(
        "mkdir -p /kubeci/now/{name} /kubeci/seen/{name}; [ `ls /kubeci/now | wc -l` -le 2 ] || exit 1; \
         until [ `ls /kubeci/seen | wc -l` -ge 2 ]; do sleep 0.1; done; rmdir /kubeci/now/{name}"
    );
    shell(name, &line, dependency)
}

#[rstest]
#[tokio::test]
async fn two_of_seven_steps_run_together(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "two", async |test| {
        let wide = (0..6).map(|at| counted(&format!("wide-{at}"), ""));
        let last = counted("last", "wide-0, wide-5");
        let steps: Vec<String> = wide.chain([last]).collect();
        let steps = format!("[{}]", steps.join(", "));
        let name = fire_with(test, "two", &steps, "  maxParallel: 2\n").await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(plan.spec.max_parallel.map(u16::from), Some(2));
        let pods = plan.spec.tasks.len();
        match execution {
            Pods => assert!(
                plan.spec
                    .tasks
                    .iter()
                    .all(|it| it.parallel_steps.len() <= 2)
            ),
            Relay => assert_eq!(pods, 1),
        }
        test.cleaned(&name).await;
        test.assert_folder_gone("two", &name).await;
    })
    .await;
}

/// Steps in several pods of a relay share the slots, too.
#[tokio::test]
async fn isolated_relay_steps_share_slots() {
    kubeci_e2e::run_as(Relay, "apart", async |test| {
        let isolated =
            |at: usize| counted(&format!("apart-{at}"), "").replace('}', ", isolate: true}");
        let shared = (0..3).map(|at| counted(&format!("shared-{at}"), ""));
        let steps: Vec<String> = (0..3).map(isolated).chain(shared).collect();
        let steps = format!("[{}]", steps.join(", "));
        let name = fire_with(test, "apart", &steps, "  maxParallel: 2\n").await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(plan.spec.tasks.len(), 4);
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn held_step_says_what_it_waits_for(#[values("Graph", "Relay")] order: &str) {
    kubeci_e2e::run("held", async |test| {
        // Both would run without an end.
        let endless = |name: &str| {
            shell(
                name,
                "trap 'exit 0' TERM; while true; do sleep 0.1; done",
                "",
            )
        };
        let (a, b) = (endless("a"), endless("b"));
        let tasks = match order {
            "Relay" => format!("[{{ParallelSteps: [{a}, {b}]}}]"),
            _ => format!("[{{ParallelSteps: [{a}]}}, {{ParallelSteps: [{b}]}}]"),
        };
        test.create(&format!(
            "{{apiVersion: kube.ci/v1alpha1, kind: Workplan, metadata: {{name: held}}, \
              spec: {{order: {order}, maxParallel: 1, tasks: {tasks}}}}}"
        ))
        .await;
        let held = "waiting for the only slot (maxParallel)";
        test.workplan_when(
            "held",
            "has one step that runs, and one that is held",
            |plan| {
                let mut steps = plan.status.iter().flat_map(|it| &it.steps);
                let (runs, waits) = (steps.next(), steps.next());
                runs.is_some_and(|it| it.phase == StepPhase::Running)
                    && waits.is_some_and(|it| {
                        it.phase == StepPhase::Pending && it.message.as_deref() == Some(held)
                    })
            },
        )
        .await;
        test.delete_one::<Workplan>("held").await;
        test.gone::<Workplan>("held").await;
    })
    .await;
}

#[tokio::test]
async fn task_wider_than_max_parallel_is_refused() {
    kubeci_e2e::run("wide", async |test| {
        let (a, b) = (shell("a", "true", ""), shell("b", "true", ""));
        test.create(&format!(
            "{{apiVersion: kube.ci/v1alpha1, kind: Workplan, metadata: {{name: wide}}, \
              spec: {{maxParallel: 1, tasks: [{{ParallelSteps: [{a}, {b}]}}]}}}}"
        ))
        .await;
        let plan = test.ends("wide", Phase::Failed).await;
        let status = plan.status.unwrap_or_default();
        assert_eq!(status.reason.as_deref(), Some("InvalidPlan"));
        let message = status.message.unwrap_or_default();
        assert!(
            message.contains("spec.tasks[0].ParallelSteps: the 2 steps"),
            "{message}"
        );
        test.cleaned("wide").await;
    })
    .await;
}
