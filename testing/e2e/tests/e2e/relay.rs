//! Relay: the steps of a plan in one pod, each started inside it as soon as those it depends on are done.

use kube::ResourceExt;
use kubeci_api::StepPhase::{Completed, Failed, Skipped};
use kubeci_api::{Order, Phase};
use kubeci_e2e::{Test, example, manifests, step};
use serde_json::Value;

use crate::workflow::{on_config_maps, shell};

/// The document's steps.
fn document_steps() -> String {
    let workflow: Value = manifests(&example("document/workflow.yaml")).remove(0);
    workflow["spec"]["steps"].to_string()
}

async fn fire(test: &Test, workflow: &str, steps: &str, settings: &str) -> String {
    let manifest = on_config_maps(workflow, steps) + settings;
    test.apply(&manifest).await;
    test.workflow_ready(workflow).await;
    test.config_map("object", "A").await;
    test.workplan(workflow).await.name_any()
}

#[tokio::test]
async fn the_documents_steps_run_in_one_pod() {
    kubeci_e2e::run("relay", async |test| {
        let name = fire(test, "relay", &document_steps(), "  execution: Relay\n").await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(plan.spec.order, Order::Relay);
        assert_eq!(test.pods_of(&name).await.len(), 1);
        let last = step(&plan, "step-5");
        for earlier in ["step-1", "step-2", "step-3", "step-4"] {
            assert!(
                step(&plan, earlier).finished_at <= last.started_at,
                "{earlier}"
            );
        }
        let (pod, container) = (
            last.pod.expect("a pod"),
            last.container.expect("a container"),
        );
        let log = test.log(&pod, &container).await;
        assert_eq!(log, "step-5\nfile-1\nfile-2\nfile-3\nfile-4\n");
        test.cleaned(&name).await;
        test.assert_folder_gone("relay", &name).await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_step_skips_its_descendants_inside_the_pod() {
    kubeci_e2e::run("relay-fails", async |test| {
        let steps = [
            shell("build", "true", ""),
            shell("check", "exit 3", "build"),
            shell("deploy", "true", "check"),
            shell("describe", "true", "build"),
        ];
        let steps = format!("[{}]", steps.join(", "));
        let name = fire(test, "relay-fails", &steps, "  execution: Relay\n").await;
        let plan = test.ends(&name, Phase::Failed).await;
        let phases = ["build", "check", "deploy", "describe"].map(|it| step(&plan, it).phase);
        assert_eq!(phases, [Completed, Failed, Skipped, Completed]);
        assert_eq!(step(&plan, "check").exit_code, Some(3));
        test.workplan_says(&name, &["check", "exit code 3"]).await;
        test.cleaned(&name).await;
    })
    .await;
}

#[tokio::test]
async fn a_folder_of_the_pods_own_needs_no_node() {
    kubeci_e2e::run("relay-own", async |test| {
        let settings = "  execution: Relay\n  workspace: emptyDir\n";
        let name = fire(test, "relay-own", &document_steps(), settings).await;
        test.ends(&name, Phase::Completed).await;
        let pods = test.pods_of(&name).await;
        let volumes = pods[0].spec.as_ref().and_then(|it| it.volumes.as_ref());
        let on_node = volumes
            .into_iter()
            .flatten()
            .filter(|it| it.host_path.is_some());
        assert_eq!(on_node.count(), 0, "no folder of the node");
    })
    .await;
}
