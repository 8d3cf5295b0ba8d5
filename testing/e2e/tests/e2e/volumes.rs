//! Volumes that steps bring along.

use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::Workflow;
use rstest::rstest;

use crate::workflow::on_config_maps;

#[rstest]
#[tokio::test]
async fn unshared_empty_dir_has_a_warning(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "empty-dir", async |test| {
        let step = |name: &str, more: &str| {
            format!("{{name: {name}, image: alpine, commands: ['true'], volumeMounts: [{{name: cache, mountPath: /cache}}]{more}}}")
        };
        let apart = [step("a", ""), step("b", ", dependency: [a], isolate: true")];
        let together = [step("a", ""), step("b", ", dependency: [a]")];
        for (name, steps, warned) in [("apart", apart, true), ("together", together, false)] {
            let volumes = "  volumes: [{name: cache, emptyDir: {}}]\n";
            let steps = format!("[{}]", steps.join(", "));
            test.apply(&(on_config_maps(name, &steps) + volumes)).await;
            test.workflow_ready(name).await;
            let workflow = test.api::<Workflow>().get(name).await.expect("a Workflow");
            let conditions = workflow.status.unwrap_or_default().conditions;
            let compiled = conditions.into_iter().find(|it| it.type_ == "Compiled");
            let message = compiled.expect("a condition").message;
            let is_warned = ["Warning: spec.volumes[0]", "\"a\"", "\"b\"", "/kubeci"].iter().all(|it| message.contains(it));
            assert_eq!(is_warned, warned, "{message}");
        }
    })
    .await;
}
