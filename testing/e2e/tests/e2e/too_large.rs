//! What etcd does not store.

use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, Workflow, Workplan};
use rstest::rstest;
use serde_json::{Value, json};

use crate::workflow::{on_config_maps, script, steps};

/// As many steps in a row, each with so many characters that the API server stores longer, and a short command.
fn chain(count: usize, characters: usize) -> Vec<Value> {
    let step = |at: usize| {
        let needs = at.checked_sub(1).map(|before| format!("s{before}"));
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        let mut step = script(&format!("s{at}"), "true", &needs);
        step["env"] = json!([{"name": "TEXT", "value": "&".repeat(characters)}]);
        step
    };
    (0..count).map(step).collect()
}

#[rstest]
#[tokio::test]
async fn workflow_with_too_large_workplan_is_refused(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "too-large", async |test| {
        test.apply(&on_config_maps("large", &steps(&chain(10, 25_800))))
            .await;
        let message = kubeci_e2e::eventually(
            "what is wrong, how large it is, and what to do",
            async || {
                let workflow = test.api::<Workflow>().get("large").await;
                let workflow = workflow.map_err(|error| error.to_string())?;
                let conditions = workflow.status.unwrap_or_default().conditions;
                let compiled = conditions.into_iter().find(|it| it.type_ == "Compiled");
                let compiled = compiled.ok_or("there is no condition")?;
                (compiled.status == "False")
                    .then_some(compiled.message)
                    .ok_or_else(|| "it is compiled".to_owned())
            },
        )
        .await;
        for words in [
            "spec.steps: the Workplan would have 15",
            "at most 1572864",
            "ConfigMaps",
        ] {
            assert!(message.contains(words), "{message}");
        }
        // What fits runs, and its status is complete at its end. The Workflow's own status needs some more room than
        // the plan's.
        test.apply(&on_config_maps("large", &steps(&chain(10, 24_900))))
            .await;
        test.workflow_ready("large").await;
        test.config_map("object", "A").await;
        let name = test.workplan("large").await.name_any();
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(
            plan.status.and_then(|it| it.progress).as_deref(),
            Some("10/10")
        );
        test.cleaned(&name).await;
    })
    .await;
}

/// The largest that the API server takes leaves no room for a status.
#[rstest]
#[tokio::test]
async fn workplan_without_room_for_its_status_fails(#[values("Graph", "Relay")] order: &str) {
    kubeci_e2e::run("no-room", async |test| {
        let plan = |name: &str, bytes: usize| {
            let mut step = script("only", "true", &[]);
            step["env"] = json!([{"name": "TEXT", "value": "x".repeat(bytes)}]);
            json!({
                "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "metadata": {"name": name},
                "spec": {"order": order, "tasks": [{"ParallelSteps": [step]}]},
            })
        };
        test.create(&plan("large", 1_562_000).to_string()).await;
        let plan = test.ends("large", Phase::Failed).await;
        assert_eq!(
            plan.status.and_then(|it| it.reason).as_deref(),
            Some("TooLarge")
        );
        test.workplan_says("large", &["1572864", "ConfigMaps", "only"])
            .await;
        assert!(test.pods_of("large").await.is_empty());
        test.delete_one::<Workplan>("large").await;
        test.gone::<Workplan>("large").await;
    })
    .await;
}
