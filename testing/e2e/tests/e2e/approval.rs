//! Approvals: steps that wait for a user, and who may answer them.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Order, Phase, StepPhase, Workplan};
use kubeci_e2e::{
    DISRUPTIVE, Operator, Test, all_in, assert_in_order, duration_between, eventually, kubectl,
    manifests, run, run_as, step,
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::workflow::{fire, fire_with, script, steps};

/// A step before the approval, one after it, and one that runs if it is rejected.
fn gated() -> String {
    steps(&[
        script("build", "echo built > /kubeci/file", &[]),
        gate(&["build"]),
        script("deploy", "cat /kubeci/file", &["gate"]),
        json!({"name": "report", "image": "alpine", "commands": ["echo", "rejected"], "onFailure": ["gate"]}),
    ])
}

fn gate(dependency: &[&str]) -> Value {
    json!({"name": "gate", "approval": {"message": "Deploy?"}, "dependency": dependency})
}

/// Writes these entries into `status.approvals`.
pub async fn answer(test: &Test, name: &str, entries: Value) {
    let patch = Patch::Merge(json!({"status": {"approvals": entries}}));
    let plans: Api<Workplan> = test.api();
    let patched = plans
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
    patched.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// The Workplan, once it waits for nothing but the approval.
async fn waits(test: &Test, name: &str) -> Workplan {
    let plan = test
        .workplan_says(
            name,
            &["AwaitingApproval", "the step gate waits for approval"],
        )
        .await;
    let waiting = step(&plan, "gate");
    assert_eq!(waiting.phase, StepPhase::Running);
    assert!(
        waiting
            .message
            .is_some_and(|it| it.starts_with("waits for approval"))
    );
    assert_eq!((waiting.pod, waiting.reason), (None, None));
    plan
}

#[rstest]
#[tokio::test]
async fn approval_holds_the_steps_after_it(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "approval", async |test| {
        let name = fire(test, "approval", &gated()).await;
        let plan = waits(test, &name).await;
        assert_eq!(step(&plan, "build").phase, StepPhase::Completed);
        assert_eq!(test.pods_of(&name).await.len(), 1);
        let status = plan.status.clone().unwrap_or_default();
        assert_eq!(status.phase, Some(Phase::Running));
        assert!(
            status
                .message
                .is_some_and(|it| all_in(&it, &["Deploy?", "kubectl", &name]))
        );
        eventually("an Event", async || {
            let events = test.list::<Event>().await;
            let is_it = |it: &Event| {
                it.reason.as_deref() == Some("AwaitingApproval")
                    && it.type_.as_deref() == Some("Normal")
                    && it.involved_object.name.as_deref() == Some(&name)
            };
            if events.iter().any(is_it) {
                Ok(())
            } else {
                Err(format!("{events:?}"))
            }
        })
        .await;
        answer(
            test,
            &name,
            json!([{"step": "gate", "by": "jane", "message": "fine"}]),
        )
        .await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(test.log_of(&plan, "deploy").await, "built\n");
        assert_eq!(step(&plan, "gate").phase, StepPhase::Completed);
        assert_eq!(step(&plan, "gate").approved_by.as_deref(), Some("jane"));
        assert_eq!(step(&plan, "report").phase, StepPhase::Skipped);
        let build = step(&plan, "build");
        let gate = step(&plan, "gate");
        assert!(build.finished_at <= gate.started_at && gate.started_at < gate.finished_at);
        let entries = plan.status.unwrap_or_default().approvals;
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].message.as_deref(), Some("fine"));
        test.cleaned(&name).await;
        test.assert_folder_gone("approval", &name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn rejected_step_fails_the_plan(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "rejection", async |test| {
        let name = fire(test, "rejection", &gated()).await;
        waits(test, &name).await;
        let entry = json!([{"step": "gate", "by": "jane", "approved": false, "message": "no"}]);
        answer(test, &name, entry).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let gate = step(&plan, "gate");
        assert_eq!(gate.reason.as_deref(), Some("Rejected"));
        assert_eq!(gate.message.as_deref(), Some("jane rejected the step: no"));
        assert_eq!(step(&plan, "deploy").phase, StepPhase::Skipped);
        assert_eq!(step(&plan, "report").phase, StepPhase::Completed);
        test.workplan_says(&name, &["gate: Rejected"]).await;
        test.cleaned(&name).await;
    })
    .await;
}

/// The watch wakes the plan: no time is waited for.
#[rstest]
#[tokio::test]
async fn approved_plan_continues_at_once(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "approval-soon", async |test| {
        let name = fire(test, "soon", &gated()).await;
        waits(test, &name).await;
        let at = jiff::Timestamp::now().to_string();
        answer(test, &name, json!([{"step": "gate", "at": at}])).await;
        let plan = test.ends(&name, Phase::Completed).await;
        let pods = test.list::<Pod>().await;
        let deploy = step(&plan, "deploy").pod;
        let pod = pods.iter().find(|pod| Some(pod.name_any()) == deploy);
        let created = pod.and_then(|pod| pod.metadata.creation_timestamp.clone());
        let created =
            created.map(|it| k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(it.0));
        let approved = step(&plan, "gate").finished_at;
        let took = duration_between(approved.as_ref(), created.as_ref());
        assert!(took < Duration::from_secs(5), "{took:?}");
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn early_approval_counts(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "approval-early", async |test| {
        let waiting = "until test -e /kubeci/go; do sleep 0.1; done";
        let all = [
            script("build", &format!("touch /kubeci/here; {waiting}"), &[]),
            gate(&["build"]),
            script("deploy", "true", &["gate"]),
        ];
        let name = fire(test, "early", &steps(&all)).await;
        let plan = test.runs(&name, "build").await;
        answer(test, &name, json!([{"step": "gate", "by": "jane"}])).await;
        test.touch(&plan, "build", "/kubeci/go").await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(step(&plan, "gate").approved_by.as_deref(), Some("jane"));
        assert_in_order(&plan);
    })
    .await;
}

#[rstest]
#[case::timeout(json!({"timeout": "3s"}), "", "Timeout", "not approved within its timeout of 3s")]
#[case::plan_timeout(json!({}), "  timeout: 8s\n", "Stopped", "timeout of 8s")]
#[tokio::test]
async fn time_limits_hold_while_a_step_waits(
    #[case] more: Value,
    #[case] settings: &str,
    #[case] reason: &str,
    #[case] message: &str,
    #[values(Pods, Relay)] execution: Execution,
) {
    run_as(execution, "approval-limit", async |test| {
        let mut gate = gate(&["build"]);
        for (field, value) in more.as_object().expect("fields") {
            gate[field] = value.clone();
        }
        let all = [
            script("build", "true", &[]),
            gate,
            script("deploy", "true", &["gate"]),
        ];
        let name = fire_with(test, "limit", &steps(&all), settings).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let gate = step(&plan, "gate");
        assert_eq!(
            (gate.phase, gate.reason.as_deref()),
            (StepPhase::Failed, Some(reason))
        );
        assert!(
            gate.message.is_some_and(|it| it.contains(message)),
            "{:?}",
            plan.status
        );
        assert_eq!(step(&plan, "deploy").phase, StepPhase::Skipped);
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn cancel_ends_the_wait(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "approval-cancel", async |test| {
        let name = fire(test, "cancel", &gated()).await;
        waits(test, &name).await;
        let cancel = Patch::Merge(json!({"spec": {"cancel": true}}));
        let plans: Api<Workplan> = test.api();
        let cancelled = plans.patch(&name, &PatchParams::default(), &cancel).await;
        cancelled.expect("a Workplan");
        let plan = test.ends(&name, Phase::Cancelled).await;
        assert_eq!(step(&plan, "gate").reason.as_deref(), Some("Stopped"));
        assert_eq!(step(&plan, "deploy").phase, StepPhase::Skipped);
        test.cleaned(&name).await;
    })
    .await;
}

/// The approval is written while the operator is away, over the status that it wrote last.
#[rstest]
#[tokio::test]
async fn approval_without_the_operator_counts_later(#[values(Pods, Relay)] execution: Execution) {
    let _alone = DISRUPTIVE.lock().await;
    run_as(execution, "approval-away", async |test| {
        let name = fire(test, "away", &gated()).await;
        waits(test, &name).await;
        Operator::Workplan.go_away(&test.client).await;
        answer(test, &name, json!([{"step": "gate", "by": "jane"}])).await;
        Operator::Workplan.come_back(&test.client).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(step(&plan, "gate").approved_by.as_deref(), Some("jane"));
        test.cleaned(&name).await;
    })
    .await;
}

fn by_hand(name: &str, order: Order, tasks: &Value) -> String {
    let plan = json!({
        "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "metadata": {"name": name},
        "spec": {"order": order, "tasks": tasks},
    });
    plan.to_string()
}

#[rstest]
#[case::linear(Order::Linear)]
#[case::graph(Order::Graph)]
#[case::relay(Order::Relay)]
#[tokio::test]
async fn plan_by_hand_waits_for_its_first_step(#[case] order: Order) {
    run("approval-by-hand", async |test| {
        let tasks = json!([
            {"ParallelSteps": [{"name": "gate", "approval": {}}]},
            {"ParallelSteps": [script("deploy", "true", &["gate"])]},
        ]);
        test.create(&by_hand("by-hand", order, &tasks)).await;
        waits(test, "by-hand").await;
        assert!(test.pods_of("by-hand").await.is_empty());
        answer(test, "by-hand", json!([{"step": "gate"}])).await;
        let plan = test.ends("by-hand", Phase::Completed).await;
        assert_in_order(&plan);
        test.cleaned("by-hand").await;
    })
    .await;
}

#[tokio::test]
async fn approval_that_shares_its_task_is_refused() {
    run("approval-shares", async |test| {
        let tasks = json!([{"ParallelSteps": [{"name": "gate", "approval": {}}, script("a", "true", &[])]}]);
        test.create(&by_hand("shares", Order::Graph, &tasks)).await;
        test.ends("shares", Phase::Failed).await;
        let said = ["InvalidPlan", "spec.tasks[0].ParallelSteps[0].approval", "own task"];
        test.workplan_says("shares", &said).await;
    })
    .await;
}

#[rstest]
#[case::image(json!({"image": "alpine"}), "exactly one")]
#[case::retry(json!({"retry": {"limit": 1}}), "runs no container")]
#[case::commands(json!({"commands": ["true"]}), "runs no container")]
#[tokio::test]
async fn approval_with_fields_of_a_container_is_refused(#[case] more: Value, #[case] said: &str) {
    run("approval-fields", async |test| {
        let mut gate = gate(&[]);
        for (field, value) in more.as_object().expect("fields") {
            gate[field] = value.clone();
        }
        let workflow = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow", "metadata": {"name": "fields"},
            "spec": {"steps": [gate]},
        });
        let create = ["create", "-n", &test.namespace, "-f", "-"];
        let refused = kubectl(&create, &workflow.to_string()).await;
        let printed = refused.expect_err("refused");
        assert!(printed.contains(said), "{printed}");
    })
    .await;
}

/// What `kubectl` prints when a ServiceAccount of the test approves.
async fn approve_as(
    test: &Test,
    account: &str,
    name: &str,
    status: &Value,
) -> Result<String, String> {
    let user = format!("--as=system:serviceaccount:{}:{account}", test.namespace);
    let patch = json!({ "status": status }).to_string();
    let arguments = [
        "patch",
        "workplan",
        name,
        "-n",
        &test.namespace,
        &user,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    kubectl(&arguments, "").await
}

/// A block of YAML in `docs/security.md`, by its number after the policy of folders.
fn printed_yaml(number: usize) -> &'static str {
    let page = include_str!("../../../../docs/security.md");
    let (_, page) = page.split_once("### Who may approve").expect("its section");
    let block = page.split("```yaml\n").nth(number + 1).expect("a block");
    block.split_once("\n```").expect("its end").0
}

/// The ServiceAccounts `jane`, who may approve, and `joe`, who may change all but the status.
async fn accounts(test: &Test) {
    test.apply(printed_yaml(0)).await;
    let binding = |user: &str, role: &str| {
        format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {user}}}}}\n---\n\
             {{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: {user}}}, \
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {role}}}, \
             subjects: [{{kind: ServiceAccount, name: {user}, namespace: {}}}]}}",
            test.namespace
        )
    };
    let editor = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: editor}, \
         rules: [{apiGroups: [kube.ci], resources: [workplans, workflows], verbs: ['*']}]}";
    test.apply(&format!(
        "{}\n---\n{editor}\n---\n{}",
        binding("jane", "approver"),
        binding("joe", "editor")
    ))
    .await;
}

#[tokio::test]
async fn only_who_may_patch_the_status_approves() {
    run("approval-rights", async |test| {
        accounts(test).await;
        let tasks = json!([{"ParallelSteps": [{"name": "gate", "approval": {}}]}]);
        test.create(&by_hand("guarded", Order::Linear, &tasks))
            .await;
        waits(test, "guarded").await;
        let entry = json!({"approvals": [{"step": "gate", "by": "joe"}]});
        let refused = approve_as(test, "joe", "guarded", &entry).await;
        let printed = refused.expect_err("refused");
        assert!(printed.contains("forbidden"), "{printed}");
        eventually("jane may approve", async || {
            approve_as(test, "jane", "guarded", &entry).await.map(drop)
        })
        .await;
        test.ends("guarded", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn policy_guards_the_status() {
    run("approval-policy", async |test| {
        accounts(test).await;
        let policy = printed_yaml(1).replace("guarded-approvals", &test.namespace);
        let policy: [Value; 2] = manifests(&policy).try_into().expect("two objects");
        let [policy, binding] = policy;
        test.apply_outside::<ValidatingAdmissionPolicy>(policy)
            .await;
        test.apply_outside::<ValidatingAdmissionPolicyBinding>(binding)
            .await;
        let label = format!("kube.ci/{}", test.namespace);
        test.label_namespace([(label.as_str(), "true")].into())
            .await;
        let tasks = json!([
            {"ParallelSteps": [{"name": "gate", "approval": {}}]},
            {"ParallelSteps": [script("deploy", "true", &["gate"])]},
        ]);
        for name in ["probe", "guarded"] {
            test.create(&by_hand(name, Order::Graph, &tasks)).await;
            waits(test, name).await;
        }
        // The API server applies a policy some time after it was created.
        let mut attempts = 0..;
        eventually("the policy is applied", async || {
            let by = format!("joe-{}", attempts.next().unwrap_or(0));
            let entry = json!({"approvals": [{"step": "gate", "by": by}]});
            let printed = approve_as(test, "jane", "probe", &entry).await;
            printed
                .err()
                .filter(|it| it.contains("user name"))
                .ok_or("accepted")
        })
        .await;
        let jane = format!("system:serviceaccount:{}:jane", test.namespace);
        let refusals = [
            (
                json!({"approvals": [{"step": "gate", "by": "joe"}]}),
                "must be your user name",
            ),
            (
                json!({"approvals": [{"step": "gate"}]}),
                "must be your user name",
            ),
            (
                json!({"phase": "completed"}),
                "no field of the status but approvals",
            ),
            (
                json!({"message": null}),
                "no field of the status but approvals",
            ),
        ];
        for (status, said) in refusals {
            eventually("the policy refuses it", async || {
                match approve_as(test, "jane", "guarded", &status).await {
                    Err(printed) if printed.contains(said) => Ok(()),
                    other => Err(format!("{status}: {other:?}")),
                }
            })
            .await;
        }
        let entry = json!({"approvals": [{"step": "gate", "by": jane}]});
        approve_as(test, "jane", "guarded", &entry)
            .await
            .expect("an approval");
        let plan = test.ends("guarded", Phase::Completed).await;
        assert_eq!(step(&plan, "gate").approved_by, Some(jane));
        test.cleaned("guarded").await;
    })
    .await;
}
