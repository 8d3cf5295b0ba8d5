//! Problems that prevent the start of a pod's containers are reported with their cause. The plan continues after the
//! problem is solved.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, StepPhase, Workplan};
use kubeci_e2e::{Inspector, Test, eventually, run_as, step};
use rstest::rstest;
use serde_json::json;

use crate::workflow::{ENDLESS, fire, fire_with, script, steps};

/// What is promised is ten seconds; this is a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// Asserts that a Workplan that says why it waits says so soon after its pod was created.
async fn reported_soon(test: &Test, name: &str) {
    let now = jiff::Timestamp::now();
    let pod = test.api::<Pod>().get(&format!("{name}-0")).await;
    let created = pod.expect("a pod").creation_timestamp().expect("a time").0;
    let took = Duration::try_from(now.duration_since(created)).unwrap_or_default();
    eprintln!("reported after {took:?}");
    assert!(took < SOON, "reported after {took:?}");
}

#[rstest]
#[case::config_map("configMap: {name: absent}", "ConfigMap")]
#[case::secret("secret: {secretName: absent}", "Secret")]
#[tokio::test]
async fn unmounted_volume_is_reported(
    #[case] volume: &str,
    #[case] kind: &str,
    #[values(Pods, Relay)] execution: Execution,
) {
    run_as(execution, "no-volume", async |test| {
        let mut first = script("first", "cat /settings/key", &[]);
        first["volumeMounts"] = json!([{"name": "settings", "mountPath": "/settings"}]);
        let all = steps(&[first, script("second", "true", &["first"])]);
        let settings = format!("  volumes: [{{name: settings, {volume}}}]\n");
        let name = fire_with(test, "no-volume", &all, &settings).await;
        let plan = test
            .workplan_says(&name, &["FailedMount", "absent", "not found", "5 minutes"])
            .await;
        reported_soon(test, &name).await;
        let succeeded = &plan.status.expect("a status").conditions[0];
        assert_eq!(
            (&*succeeded.status, &*succeeded.reason),
            ("Unknown", "FailedMount")
        );
        eventually("an Event of the Workplan tells it", async || {
            let events = test.list::<Event>().await;
            let is_recorded = events.iter().any(|it| {
                it.involved_object.name.as_ref() == Some(&name)
                    && it.reason.as_deref() == Some("FailedMount")
            });
            if is_recorded {
                Ok(())
            } else {
                Err(events.len())
            }
        })
        .await;
        let data = if kind == "Secret" {
            "stringData"
        } else {
            "data"
        };
        test.apply(&format!(
            "{{apiVersion: v1, kind: {kind}, metadata: {{name: absent}}, {data}: {{key: value}}}}"
        ))
        .await;
        test.ends(&name, Phase::Completed).await;
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn missing_volume_claim_is_reported(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "no-claim", async |test| {
        let settings = "  volumes: [{name: data, persistentVolumeClaim: {claimName: absent}}]\n";
        let all = [script("first", "true", &[]), script("second", "true", &["first"])];
        let name = fire_with(test, "no-claim", &steps(&all), settings).await;
        let plan = test
            .workplan_says(
                &name,
                &["VolumeClaimNotFound", "absent", "Create the PersistentVolumeClaim"],
            )
            .await;
        reported_soon(test, &name).await;
        let message = plan.status.and_then(|it| it.message).unwrap_or_default();
        assert!(!message.contains("resources.requests"), "{message}");
        test.apply(
            "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: absent}, \
              spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Mi}}}}",
        )
        .await;
        assert_eq!(test.list::<PersistentVolumeClaim>().await.len(), 1);
        test.workplan_says(&name, &["VolumeClaimNotBound", "StorageClass"])
            .await;
        test.delete_one::<Workplan>(&name).await;
        test.gone::<Workplan>(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn uncreated_shared_folder_is_reported(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "no-folder", async |test| {
        // A file where the folders of the namespace would be.
        let path = format!("/kubeci/{}", test.namespace);
        let inspector = Inspector::get(&test.client).await;
        for node in inspector.nodes() {
            node.sh(&format!("touch {path}")).await;
        }
        let all = [
            script("first", "true", &[]),
            script("second", "true", &["first"]),
        ];
        let name = fire(test, "no-folder", &steps(&all)).await;
        test.workplan_says(
            &name,
            &["FailedMount", "kubeci-workspace", "make /kubeci writable"],
        )
        .await;
        reported_soon(test, &name).await;
        for node in inspector.nodes() {
            node.sh(&format!("rm -f {path}")).await;
        }
        test.ends(&name, Phase::Completed).await;
        test.cleaned(&name).await;
        test.assert_folder_gone("no-folder", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn scheduling_gates_are_named(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "gated", async |test| {
        test.gate("example.com/quota").await;
        let name = fire(test, "gated", ENDLESS).await;
        test.workplan_says(&name, &["SchedulingGated", "example.com/quota"])
            .await;
        test.delete_one::<Workplan>(&name).await;
        test.gone::<Workplan>(&name).await;
    })
    .await;
}

/// In a relay all containers start together, in a pod for each task this one's never does.
#[rstest]
#[tokio::test]
async fn container_that_cannot_start_fails_at_its_turn(
    #[values(Pods, Relay)] execution: Execution,
    #[values(0, 3)] exit_code: i32,
) {
    run_as(execution, "too-long", async |test| {
        let mut long = script("long", "true", &["first"]);
        long["args"] = json!(["x".repeat(140_000)]);
        let all = [
            script(
                "first",
                "until test -e /kubeci/go; do sleep 0.1; done; exit $(cat /kubeci/go)",
                &[],
            ),
            long,
            script("after", "true", &["long"]),
            script("beside", "true", &["first"]),
        ];
        let name = fire(test, "too-long", &steps(&all)).await;
        let plan = test.runs(&name, "first").await;
        if execution == Relay {
            let words = [
                "ContainerCannotStart",
                "the container of the step long",
                "argument list too long",
            ];
            test.workplan_says(&name, &words).await;
        }
        let node = plan.status.and_then(|it| it.node).expect("a node");
        let inspector = Inspector::get(&test.client).await;
        let folder = kubeci_e2e::workspace_path(&test.namespace, "too-long", &name);
        inspector
            .node(&node)
            .sh(&format!("echo {exit_code} > {folder}/go"))
            .await;
        let plan = test.ends(&name, Phase::Failed).await;
        let summary = plan
            .status
            .clone()
            .and_then(|it| it.summary)
            .unwrap_or_default();
        let phases = ["first", "long", "after", "beside"].map(|name| step(&plan, name).phase);
        if exit_code == 3 {
            assert_eq!(summary, "first: exit code 3");
            let skipped = StepPhase::Skipped;
            assert_eq!(phases, [StepPhase::Failed, skipped, skipped, skipped]);
        } else {
            assert!(summary.starts_with("long: "), "{summary}");
            assert_eq!(
                phases,
                [
                    StepPhase::Completed,
                    StepPhase::Failed,
                    StepPhase::Skipped,
                    StepPhase::Completed
                ]
            );
            let said = step(&plan, "long").message.unwrap_or_default();
            assert!(said.contains("argument list too long"), "{said}");
        }
        test.cleaned(&name).await;
        test.assert_folder_gone("too-long", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn working_directory_may_be_created_by_earlier_step(
    #[values(Pods, Relay)] execution: Execution,
) {
    run_as(execution, "dir", async |test| {
        let mut build = script(
            "build",
            "pwd > where; cat file where > ../result",
            &["clone"],
        );
        build["workingDir"] = json!("/kubeci/src");
        let mut make = script(
            "make",
            "test $(pwd) = /kubeci/of/its/own; touch here",
            &["build"],
        );
        make["workingDir"] = json!("/kubeci/of/its/own");
        let mut image = script("image", "test $(pwd) = /opt/app", &[]);
        image["workingDir"] = json!("/opt/app");
        let all = [
            script(
                "clone",
                "sleep 2; mkdir /kubeci/src; echo cloned > /kubeci/src/file",
                &[],
            ),
            build,
            make,
            image,
            script(
                "check",
                "cat /kubeci/result; ls /kubeci/of/its/own",
                &["make"],
            ),
        ];
        let name = fire(test, "dir", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Completed).await;
        let log = test.log_of(&plan, "check").await;
        assert_eq!(log, "cloned\n/kubeci/src\nhere\n");
        test.cleaned(&name).await;
    })
    .await;
}
