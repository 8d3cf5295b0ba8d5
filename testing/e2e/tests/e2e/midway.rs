//! What a Workplan's status tells while its steps wait, and when something ends them midway: what had succeeded,
//! what ran, what never started.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::StepPhase::{Completed, Failed, Pending, Running, Skipped};
use kubeci_api::{Phase, StepPhase, Workplan};
use kubeci_e2e::{run_as, step};
use rstest::rstest;

use crate::workflow::{fire, shell};

fn assert_phases(plan: &Workplan, phases: &[(&str, StepPhase)]) {
    for (name, phase) in phases {
        assert_eq!(step(plan, name).phase, *phase, "{name}: {:?}", plan.status);
    }
}

#[rstest]
#[tokio::test]
async fn step_out_of_memory_is_reported(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "memory", async |test| {
        let grows = "x=x; while true; do x=$x$x; done";
        let hungry = format!(
            "{{name: hungry, image: alpine, commands: [sh, -c], args: ['{grows}'], resources: {{limits: {{memory: 32Mi}}}}}}"
        );
        let steps = [
            hungry,
            shell("after-hungry", "true", "hungry"),
            shell("beside", "true", ""),
            shell("after-beside", "true", "beside"),
        ];
        let name = fire(test, "memory", &format!("[{}]", steps.join(", "))).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let phases = [
            ("hungry", Failed),
            ("after-hungry", Skipped),
            ("beside", Completed),
            ("after-beside", Completed),
        ];
        assert_phases(&plan, &phases);
        let hungry = step(&plan, "hungry");
        assert_eq!(hungry.exit_code, Some(137), "{hungry:?}");
        assert_eq!(hungry.reason.as_deref(), Some("OOMKilled"));
        let said = hungry.message.unwrap_or_default();
        assert!(said.contains("resources.limits.memory"), "{said}");
        test.workplan_says(&name, &["hungry: OOMKilled"]).await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn deleted_pod_keeps_states_of_its_steps(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "midway", async |test| {
        let steps = [
            shell("done", "true", ""),
            shell("runs", "sleep 600", "done"),
            shell("waits", "true", "runs"),
            shell("last", "true", "waits"),
        ];
        let name = fire(test, "midway", &format!("[{}]", steps.join(", "))).await;
        let plan = test.runs(&name, "runs").await;
        let phases = [
            ("done", Completed),
            ("runs", Running),
            ("waits", Pending),
            ("last", Pending),
        ];
        assert_phases(&plan, &phases);
        if execution == Relay {
            assert_eq!(
                step(&plan, "waits").message.as_deref(),
                Some("waiting for runs")
            );
            assert_eq!(
                step(&plan, "last").message.as_deref(),
                Some("waiting for waits")
            );
        }
        let done = step(&plan, "done");

        let pod = test.pods_of(&name).await.remove(0).name_any();
        let now = DeleteParams::default().grace_period(0);
        let deleted = test.api::<Pod>().delete(&pod, &now).await;
        deleted.expect("the pod is deleted");
        let plan = test.ends(&name, Phase::Failed).await;
        let phases = [
            ("done", Completed),
            ("runs", Failed),
            ("waits", Skipped),
            ("last", Skipped),
        ];
        assert_phases(&plan, &phases);
        assert_eq!(step(&plan, "done").finished_at, done.finished_at);
        let lost = step(&plan, "runs");
        assert!(lost.started_at >= done.finished_at, "{lost:?}");
        assert!(lost.finished_at >= lost.started_at, "{lost:?}");
        for name in ["waits", "last"] {
            let never = step(&plan, name);
            assert_eq!(
                (never.started_at, never.finished_at, never.exit_code),
                (None, None, None)
            );
        }
        test.workplan_says(&name, &["PodDeleted", &pod]).await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn steps_before_a_missing_image_run(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "pull", async |test| {
        let steps = [
            shell("before", "true", ""),
            "{name: pulls, image: 'no-such-image:1', commands: ['true'], dependency: [before]}"
                .to_owned(),
            shell("after", "true", "pulls"),
            shell("beside", "true", "before"),
        ];
        let name = fire(test, "pull", &format!("[{}]", steps.join(", "))).await;
        test.workplan_says(
            &name,
            &["ImagePullBackOff", "pulls", "no-such-image:1", "5 minutes"],
        )
        .await;
        let plan = test.workplan_when(&name, "has run the others", |plan| {
            step(plan, "before").phase == Completed && step(plan, "beside").phase == Completed
        });
        let plan = plan.await;
        assert_phases(&plan, &[("pulls", Pending), ("after", Pending)]);
        let said = step(&plan, "pulls").message.unwrap_or_default();
        assert!(said.contains("no-such-image:1"), "{said}");
        test.delete_one::<Workplan>(&name).await;
        test.gone::<Workplan>(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn image_with_pull_policy_never_fails_its_step(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "never-pull", async |test| {
        let steps = [
            shell("before", "true", ""),
            "{name: pulls, image: 'no-such-image:1', imagePullPolicy: Never, commands: ['true'], dependency: [before]}".to_owned(),
            shell("after", "true", "pulls"),
            shell("beside", "true", "before"),
        ];
        let name = fire(test, "never-pull", &format!("[{}]", steps.join(", "))).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let phases = [("before", Completed), ("pulls", Failed), ("after", Skipped), ("beside", Completed)];
        assert_phases(&plan, &phases);
        let pulls = step(&plan, "pulls");
        assert_eq!((pulls.started_at, pulls.exit_code), (None, None));
        test.workplan_says(&name, &["pulls: ErrImageNeverPull", "no-such-image:1"]).await;
        test.cleaned(&name).await;
    })
    .await;
}
