//! Workplans that have the name which another one should get.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kubeci_api::{TriggerEvent, Workplan, names};
use kubeci_compiler::head;
use kubeci_e2e::{chains, fired};

use crate::workflow::{ONE_STEP, WATCHED, unplaced};

#[tokio::test]
async fn event_with_used_name_waits() {
    kubeci_e2e::run("taken", async |test| {
        test.apply(&unplaced("states", WATCHED)).await;
        let workflow = test.workflow_ready("states").await.uid().expect("a uid");
        let object = test.config_map("object", "A").await.uid().expect("a uid");
        let first = test.workplan("states").await;
        test.config_map("object", "B").await;
        let plans = test.workplans_reach("states", 2).await;
        let second = &chains(&plans)[&object][1].labels()[names::HEAD_LABEL];

        // The name of the Workplan of a return to A, taken by one that somebody wrote by hand.
        let token = first.spec.trigger.expect("a trigger").token;
        let third = head(&workflow, &object, Some(second), &token, TriggerEvent::Update);
        let name = format!("states-{third}");
        let by_hand = format!(
            "{{apiVersion: kube.ci/v1alpha1, kind: Workplan, metadata: {{name: {name}}}, spec: {{nodeSelector: {{kubeci-e2e: no-node-has-this}}, tasks: [{{ParallelSteps: {ONE_STEP}}}]}}}}"
        );
        test.create(&by_hand).await;
        test.config_map("object", "A").await;
        let delete = format!("kubectl delete workplan {name} -n {}", test.namespace);
        test.workflow_refused("states", &["Ready"], &[&name, "exists", &delete]).await;
        // It holds nothing else up.
        test.config_map("other", "A").await;
        let plans = test.workplans_reach("states", 3).await;
        assert_eq!(fired(&plans), ["object add", "object update", "other add"]);

        test.delete_one::<Workplan>(&name).await;
        let plans = test.workplans_reach("states", 4).await;
        assert_eq!(fired(&plans), ["object add", "object update", "object update", "other add"]);
        assert_eq!(chains(&plans)[&object][2].name_any(), name);
        test.workflow_ready("states").await;
        test.delete_one::<ConfigMap>("object").await;
        test.workplans_reach("states", 5).await;
    })
    .await;
}
