//! A shared folder whose disk is full.

use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, StepPhase};
use kubeci_e2e::{Inspector, run_as, step};
use rstest::rstest;
use serde_json::json;

use crate::workflow::{fire, script, steps};

/// A volume of 1 MiB, on each node, for the folders of the namespace.
#[rstest]
#[tokio::test]
async fn full_disk_fails_only_its_step(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "full", async |test| {
        let volume = format!("/kubeci/{}", test.namespace);
        let inspector = Inspector::get(&test.client).await;
        for node in inspector.nodes() {
            let mount = format!("mkdir -p {volume} && mount -t tmpfs -o size=1m none {volume}");
            node.on_node(&mount).await;
        }
        let fill = "echo large > /kubeci/large; cat /dev/zero >> /kubeci/large";
        let mut free = script("free", "rm /kubeci/large", &[]);
        free["onFailure"] = json!(["fills"]);
        let mut writes = script(
            "writes",
            "echo more > /kubeci/more && cat /kubeci/more",
            &[],
        );
        writes["after"] = json!(["free"]);
        let all = [
            script("fills", fill, &[]),
            script("skipped", "true", &["fills"]),
            free,
            writes,
        ];
        let name = fire(test, "full", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let phases = ["fills", "skipped", "free", "writes"].map(|name| step(&plan, name).phase);
        let (failed, skipped, completed) =
            (StepPhase::Failed, StepPhase::Skipped, StepPhase::Completed);
        assert_eq!(phases, [failed, skipped, completed, completed]);
        test.workplan_says(&name, &["fills: exit code 1", "logs"])
            .await;
        let text = "No space left on device";
        let log = test.log_of(&plan, "fills").await;
        assert!(log.contains(text), "{log}");
        if execution == Pods {
            test.workplan_says(&name, &[text]).await;
        }
        test.cleaned(&name).await;
        for node in inspector.nodes() {
            let remove = format!("ls -A {volume}; umount {volume}; rmdir {volume}");
            assert_eq!(node.on_node(&remove).await, "");
        }
    })
    .await;
}
