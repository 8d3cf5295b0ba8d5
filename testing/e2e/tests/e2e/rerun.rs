//! Workplans that run another one again.

use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, StepPhase, Workflow, Workplan};
use kubeci_e2e::{Test, run, run_as, step};
use rstest::rstest;
use serde_json::json;

use crate::approval::answer;
use crate::workflow::{fire, fire_with, script, steps};

/// Three steps, of which the second fails as long as the folder does not have its file.
fn fails_once() -> String {
    let build = "echo version=1.4.2 >> $KUBECI_OUTPUT; echo built >> /kubeci/log";
    let test =
        "test -e /kubeci/tried || { touch /kubeci/tried; exit 3; }; echo tested >> /kubeci/log";
    steps(&[
        script("build", build, &[]),
        script("test", test, &["build"]),
        script("show", "cat /kubeci/log", &["test"]),
    ])
}

/// Creates a rerun, and returns its name.
async fn rerun(test: &Test, fields: &str) -> String {
    let yaml = format!(
        "{{apiVersion: kube.ci/v1alpha1, kind: Workplan, metadata: {{generateName: rerun-}}, \
          spec: {{rerun: {fields}}}}}"
    );
    test.create(&yaml).await.remove(0)
}

fn condition(plan: &Workplan, type_: &str) -> String {
    let mut conditions = plan.status.iter().flat_map(|it| &it.conditions);
    let condition = conditions.find(|it| it.type_ == type_);
    condition.map_or_else(String::new, |it| it.message.clone())
}

#[rstest]
#[tokio::test]
async fn rerun_goes_on_in_the_kept_folder(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "rerun", async |test| {
        let keep = "  workspace: {keep: {for: 1h}}\n";
        let first = fire_with(test, "rerun", &fails_once(), keep).await;
        test.ends(&first, Phase::Failed).await;
        test.workplan_when(&first, "keeps its folder", |plan| {
            condition(plan, "WorkspaceCleaned").contains("stays on the node")
        })
        .await;
        let name = rerun(test, &format!("{{of: {first}}}")).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert!(condition(&plan, "TakenOver").contains("with its files"));
        let build = step(&plan, "build");
        assert_eq!(build.phase, StepPhase::Completed);
        assert_eq!(build.message, Some(format!("taken over from {first}")));
        assert_eq!(build.outputs["version"], "1.4.2");
        assert_eq!((build.pod, build.exit_code), (None, Some(0)));
        assert_eq!(test.log_of(&plan, "show").await, "built\ntested\n");
        test.cleaned(&name).await;

        // It belongs to the Workflow, and is no event.
        assert_eq!(test.workplans("rerun").await.len(), 2);
        test.config_map("object", "B").await;
        test.workplans_reach("rerun", 3).await;
        let workflow: Workflow = test.workflow_ready("rerun").await;
        assert_eq!(workflow.spec.steps.len(), 3);

        // The folder is removed with the Workplan whose folder it is.
        test.delete_one::<Workplan>(&first).await;
        test.gone::<Workplan>(&first).await;
        test.assert_folder_gone("rerun", &first).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn rerun_from_a_step_starts_with_an_empty_folder(
    #[values(Pods, Relay)] execution: Execution,
) {
    run_as(execution, "rerun-from", async |test| {
        let all = steps(&[
            script("a", "true", &[]),
            script("b", "ls /kubeci | wc -l", &["a"]),
            script("c", "true", &["b"]),
        ]);
        let first = fire(test, "rerun", &all).await;
        test.ends(&first, Phase::Completed).await;
        let name = rerun(test, &format!("{{of: {first}, from: b}}")).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert!(condition(&plan, "TakenOver").contains("empty"));
        let taken_over = ["a", "b", "c"].map(|it| step(&plan, it).taken_over_from);
        assert_eq!(taken_over, [Some(first), None, None]);
        assert_eq!(test.log_of(&plan, "b").await.trim(), "0");
        test.cleaned(&name).await;
        test.assert_folder_gone("rerun", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn rerun_waits_for_the_rejected_approval(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "rerun-approval", async |test| {
        let gate =
            |name: &str, after: &str| json!({"name": name, "approval": {}, "dependency": [after]});
        let all = steps(&[
            script("build", "true", &[]),
            gate("review", "build"),
            gate("release", "review"),
            script("deploy", "true", &["release"]),
        ]);
        let finally = format!("  finally: {}\n", steps(&[script("report", "true", &[])]));
        let first = fire_with(test, "rerun", &all, &finally).await;
        let entry =
            |step: &str, approved: bool| json!({"step": step, "by": "jane", "approved": approved});
        answer(
            test,
            &first,
            json!([entry("review", true), entry("release", false)]),
        )
        .await;
        let failed = test.ends(&first, Phase::Failed).await;
        assert_eq!(step(&failed, "report").phase, StepPhase::Completed);

        let name = rerun(test, &format!("{{of: {first}}}")).await;
        let waits = ["AwaitingApproval", "the step release waits for approval"];
        let plan = test.workplan_says(&name, &waits).await;
        let review = step(&plan, "review");
        assert_eq!(review.approved_by.as_deref(), Some("jane"));
        assert_eq!(review.taken_over_from.as_ref(), Some(&first));
        answer(test, &name, json!([entry("release", true)])).await;
        let plan = test.ends(&name, Phase::Completed).await;
        let names = ["build", "review", "release", "deploy", "report"];
        let taken_over = names.map(|it| step(&plan, it).taken_over_from);
        let from_first = Some(first);
        assert_eq!(
            taken_over,
            [from_first.clone(), from_first, None, None, None]
        );
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn used_folder_outlasts_its_deleted_workplan(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "rerun-used", async |test| {
        let slow = "test -e /kubeci/tried || { touch /kubeci/tried; exit 3; }; until [ -e /kubeci/go ]; do sleep 0.1; done";
        let keep = "  workspace: {keep: {for: 1h}}\n";
        let first = fire_with(test, "rerun", &steps(&[script("only", slow, &[])]), keep).await;
        test.workplan_when(&first, "keeps its folder", |plan| {
            condition(plan, "WorkspaceCleaned").contains("stays on the node")
        })
        .await;
        let name = rerun(test, &format!("{{of: {first}}}")).await;
        let plan = test.runs(&name, "only").await;
        test.delete_one::<Workplan>(&first).await;
        test.workplan_when(&first, "waits for the rerun", |plan| {
            condition(plan, "WorkspaceCleaned").contains(&name)
        })
        .await;
        let node = plan.status.and_then(|it| it.node).expect("a node");
        let folder = kubeci_e2e::workspace_path(&test.namespace, "rerun", &first);
        let inspector = kubeci_e2e::Inspector::get(&test.client).await;
        inspector
            .node(&node)
            .sh(&format!("touch {folder}/go"))
            .await;
        test.ends(&name, Phase::Completed).await;
        test.gone::<Workplan>(&first).await;
        test.assert_folder_gone("rerun", &first).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn example(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "example-rerun", async |test| {
        for file in ["workflow", "trigger"] {
            let yaml = kubeci_e2e::example(&format!("rerun/{file}.yaml"));
            test.apply(&yaml).await;
            if file == "workflow" {
                test.workflow_ready("rerun").await;
            }
        }
        let first = test.workplan("rerun").await.name_any();
        test.workplan_when(&first, "keeps its folder", |plan| {
            condition(plan, "WorkspaceCleaned").contains("stays on the node")
        })
        .await;
        let name = rerun(test, &format!("{{of: {first}}}")).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(test.log_of(&plan, "publish").await, "published 1.4.2\n");
    })
    .await;
}

#[tokio::test]
async fn impossible_reruns_are_refused() {
    run("rerun-refused", async |test| {
        let first = fire(test, "rerun", &steps(&[script("a", "true", &[])])).await;
        test.ends(&first, Phase::Completed).await;
        let cases = [
            ("{of: nobody}".to_owned(), "kubectl get workplans"),
            (format!("{{of: {first}}}"), "spec.rerun.from"),
            (format!("{{of: {first}, from: b}}"), "has no step"),
        ];
        for (fields, words) in cases {
            let name = rerun(test, &fields).await;
            test.workplan_says(&name, &["RerunRefused", words]).await;
        }
        assert_eq!(test.workplan("rerun").await.name_any(), first);
    })
    .await;
}
