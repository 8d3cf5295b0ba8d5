//! Steps that may do next to nothing: what brings and runs them needs no more than they do.

use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::Phase;
use kubeci_e2e::{Operator, example, manifests, run_as};
use rstest::rstest;
use serde_json::{Value, json};

use crate::workflow::{fire, fire_with};

const CONFINED: &str = "allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true, seccompProfile: {type: RuntimeDefault}";

/// The document's steps, with what Pod Security `restricted` wants them to say.
fn restricted_document() -> String {
    let mut workflow = manifests(&example("document/workflow.yaml")).remove(0);
    let steps = workflow["spec"]["steps"].as_array_mut().expect("steps");
    for step in steps {
        step["securityContext"] = json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"},
        });
    }
    workflow["spec"]["steps"].to_string()
}

#[tokio::test]
async fn restricted_namespace_runs_plan_with_empty_dir() {
    run_as(Relay, "restricted", async |test| {
        let enforce = "pod-security.kubernetes.io/enforce";
        test.label_namespace([(enforce, "restricted")].into()).await;
        let own_folder = "  workspace: {emptyDir: {}}\n";
        let name = fire_with(test, "restricted", &restricted_document(), own_folder).await;
        let plan = test.ends(&name, Phase::Completed).await;
        let pods = test.pods_of(&name).await;
        assert_eq!(pods.len(), 1);
        let volumes = pods[0]
            .spec
            .iter()
            .flat_map(|it| it.volumes.iter().flatten());
        let on_node = volumes.filter(|it| it.host_path.is_some());
        assert_eq!(on_node.count(), 0, "no folder of the node");
        let log = test.log_of(&plan, "step-5").await;
        assert_eq!(log, "step-5\nfile-1\nfile-2\nfile-3\nfile-4\n");
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn unprivileged_users_share_the_folder(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "users", async |test| {
        // No capability is left by which root could write what is another's.
        let writes = |user: u32, dependency: &str| {
            format!(
                "{{name: user-{user}, image: alpine, commands: [sh, -c], args: ['id -u > /kubeci/{user}; ! touch /file'], \
                  dependency: [{dependency}], securityContext: {{runAsUser: {user}, {CONFINED}}}}}"
            )
        };
        let reads = format!(
            "{{name: reads, image: alpine, commands: [sh, -c], args: ['cat /kubeci/*; grep -E \"Cap(Eff|Bnd)|Seccomp:\" /proc/self/status'], \
              dependency: [user-0, user-1000, user-2000], securityContext: {{runAsUser: 3000, runAsNonRoot: true, {CONFINED}}}}}"
        );
        let steps = [writes(1000, ""), writes(0, "user-1000"), writes(2000, "user-1000"), reads];
        let name = fire(test, "users", &format!("[{}]", steps.join(", "))).await;
        let plan = test.ends(&name, Phase::Completed).await;
        let log = test.log_of(&plan, "reads").await;
        let confined = "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nSeccomp:\t2\n";
        assert_eq!(log, format!("0\n1000\n2000\n{confined}"));
        test.cleaned(&name).await;
        test.assert_folder_gone("users", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn image_with_only_a_program_runs(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "scratch", async |test| {
        // An operator's own image is such a one.
        let operators = Operator::Workflow.pods(&test.client).await;
        let spec = operators[0].spec.as_ref().expect("a spec");
        let image = spec.containers[0].image.as_deref().expect("an image");
        let scratch = |name: &str, dependency: &str| {
            json!({
                "name": name, "image": image, "commands": ["/workflow-operator", "--help"],
                "dependency": [dependency], "securityContext": {"readOnlyRootFilesystem": true},
            })
        };
        let before = json!({"name": "before", "image": "alpine", "commands": ["true"]});
        let after = json!({"name": "after", "image": "alpine", "commands": ["true"], "dependency": ["two"]});
        let steps: Value = json!([before, scratch("one", "before"), scratch("two", "one"), after]);
        let name = fire(test, "scratch", &steps.to_string()).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert!(test.log_of(&plan, "two").await.contains("Usage:"));
        test.cleaned(&name).await;
    })
    .await;
}
