//! Workflows that cannot work: each is refused by the API server, or says in a condition which field is wrong
//! and what would be right.

use futures::future::join_all;
use kubeci_e2e::{Test, all_in, create};

use crate::workflow::{WATCHED, unplaced};

const CONDITIONS: [&str; 2] = ["Compiled", "TriggersWatched"];

/// The name, the `spec`, and the words of the expected error. `IMAGE` and `TRIGGER` are replaced by valid ones.
type Case = (&'static str, &'static str, &'static [&'static str]);

const STEPS: &[Case] = &[
    ("no-steps", "{steps: []}", &["spec.steps", "at least 1"]),
    (
        "steps-absent",
        "{triggers: [TRIGGER]}",
        &["spec.steps", "required"],
    ),
    ("steps-a-map", "{steps: {name: a, IMAGE}}", &["spec.steps"]),
    (
        "name-absent",
        "{steps: [{IMAGE}]}",
        &["spec.steps[0].name", "required"],
    ),
    (
        "name-empty",
        "{steps: [{name: '', IMAGE}]}",
        &["spec.steps[0].name"],
    ),
    (
        "name-capital",
        "{steps: [{name: Build, IMAGE}]}",
        &["spec.steps[0].name", "[a-z0-9]"],
    ),
    (
        "name-underscore",
        "{steps: [{name: a, IMAGE}, {name: a_b, IMAGE}]}",
        &["spec.steps[1].name", "[a-z0-9]"],
    ),
    (
        "name-dash",
        "{steps: [{name: -a, IMAGE}]}",
        &["spec.steps[0].name", "[a-z0-9]"],
    ),
    (
        "name-long",
        "{steps: [{name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, IMAGE}]}",
        &["spec.steps[0].name", "63"],
    ),
    (
        "name-twice",
        "{steps: [{name: a, IMAGE}, {name: b, IMAGE}, {name: a, IMAGE}]}",
        &["spec.steps[2]", "duplicate"],
    ),
    (
        "name-a-number",
        "{steps: [{name: 1, IMAGE}]}",
        &["spec.steps[0].name", "string"],
    ),
    (
        "image-absent",
        "{steps: [{name: a}]}",
        &["spec.steps[0]", "needs an image"],
    ),
    (
        "image-empty",
        "{steps: [{name: a, image: ''}]}",
        &["spec.steps[0].image", "at least 1"],
    ),
    (
        "commands-a-string",
        "{steps: [{name: a, IMAGE, commands: sh}]}",
        &["spec.steps[0].commands", "array"],
    ),
    (
        "args-a-number",
        "{steps: [{name: a, IMAGE, args: [1]}]}",
        &["spec.steps[0].args[0]", "string"],
    ),
    (
        "pull-policy",
        "{steps: [{name: a, IMAGE, imagePullPolicy: Sometimes}]}",
        &["spec.steps[0].imagePullPolicy", "IfNotPresent"],
    ),
    (
        "env-without-name",
        "{steps: [{name: a, IMAGE, env: [{value: b}]}]}",
        &["spec.steps[0].env[0].name", "required"],
    ),
    (
        "isolate-a-word",
        "{steps: [{name: a, IMAGE, isolate: always}]}",
        &["spec.steps[0].isolate", "boolean"],
    ),
    (
        "unknown-field",
        "{steps: [{name: a, IMAGE, command: [sh]}]}",
        &["unknown field", "spec.steps[0].command"],
    ),
    (
        "unknown-spec-field",
        "{steps: [{name: a, IMAGE}], trigger: [TRIGGER]}",
        &["unknown field", "spec.trigger"],
    ),
];

const DEPENDENCIES: &[Case] = &[
    (
        "dependency-a-string",
        "{steps: [{name: a, IMAGE}, {name: b, IMAGE, dependency: a}]}",
        &["spec.steps[1].dependency", "array"],
    ),
    (
        "dependency-itself",
        "{steps: [{name: a, IMAGE, dependency: [a]}]}",
        &["spec.steps[0]", "itself"],
    ),
    (
        "dependency-unknown",
        "{steps: [{name: build, IMAGE}, {name: test, IMAGE, dependency: [bild]}]}",
        &[
            "spec.steps[1].dependency[0]",
            "bild",
            "did you mean",
            "build",
        ],
    ),
    (
        "dependency-second-unknown",
        "{steps: [{name: a, IMAGE}, {name: b, IMAGE, dependency: [a, nothing]}]}",
        &["spec.steps[1].dependency[1]", "nothing"],
    ),
    (
        "dependency-empty",
        "{steps: [{name: a, IMAGE}, {name: b, IMAGE, dependency: ['']}]}",
        &["spec.steps[1].dependency[0]"],
    ),
    (
        "cycle-of-two",
        "{steps: [{name: a, IMAGE, dependency: [b]}, {name: b, IMAGE, dependency: [a]}]}",
        &["wait for each other", "a needs b, b needs a", "remove"],
    ),
    (
        "cycle-of-three",
        "{steps: [{name: a, IMAGE, dependency: [c]}, {name: b, IMAGE, dependency: [a]}, {name: c, IMAGE, dependency: [b]}]}",
        &["wait for each other", " needs b, b needs ", "remove"],
    ),
    (
        "cycle-inside",
        "{steps: [{name: start, IMAGE}, {name: a, IMAGE, dependency: [start, b]}, {name: b, IMAGE, dependency: [a]}, {name: end, IMAGE, dependency: [b]}]}",
        &["wait for each other", "a needs b, b needs a", "remove"],
    ),
    (
        "dependency-twice",
        "{steps: [{name: a, IMAGE}, {name: b, IMAGE, dependency: [a, a]}]}",
        &["spec.steps[1].dependency[1]", "already"],
    ),
];

const PODS: &[Case] = &[
    (
        "volume-name-taken",
        "{steps: [{name: a, IMAGE}], volumes: [{name: kubeci-workspace, emptyDir: {}}]}",
        &["kubeci-workspace", "use another"],
    ),
    (
        "mount-path-taken",
        "{steps: [{name: a, IMAGE, volumeMounts: [{name: b, mountPath: /kubeci}]}], volumes: [{name: b, emptyDir: {}}]}",
        &["spec.steps[0]", "/kubeci"],
    ),
    (
        "account-empty",
        "{steps: [{name: a, IMAGE}], serviceAccountName: ''}",
        &["spec.serviceAccountName"],
    ),
    (
        "toleration-a-string",
        "{steps: [{name: a, IMAGE}], tolerations: all}",
        &["spec.tolerations", "array"],
    ),
    (
        "volume-unknown",
        "{steps: [{name: a, IMAGE, volumeMounts: [{name: cach, mountPath: /cache}]}], volumes: [{name: cache, emptyDir: {}}]}",
        &["spec.steps[0].volumeMounts[0]", "cach", "did you mean"],
    ),
    (
        "volume-twice",
        "{steps: [{name: a, IMAGE}], volumes: [{name: b, emptyDir: {}}, {name: b, emptyDir: {}}]}",
        &["spec.volumes[1]", "duplicate"],
    ),
    (
        "quantity",
        "{steps: [{name: a, IMAGE, resources: {requests: {cpu: much}}}]}",
        &["spec.steps[0].resources.requests", "much", "quantity"],
    ),
    (
        "workspace-a-word",
        "{steps: [{name: a, IMAGE}], workspace: emptyDir}",
        &["spec.workspace", "object"],
    ),
    (
        "workspace-unknown",
        "{steps: [{name: a, IMAGE}], workspace: {hostPath: {path: /tmp}}}",
        &["spec.workspace.hostPath.path", "unknown field"],
    ),
    (
        "workspace-twice",
        "{steps: [{name: a, IMAGE}], workspace: {hostPath: {}, emptyDir: {}}}",
        &["spec.workspace", "leave one of them out"],
    ),
    (
        "keep-an-empty-dir",
        "{steps: [{name: a, IMAGE}], workspace: {emptyDir: {}, keep: {for: 1h}}}",
        &["spec.workspace", "cannot be kept"],
    ),
    (
        "keep-without-a-time",
        "{steps: [{name: a, IMAGE}], workspace: {keep: {on: Always}}}",
        &["spec.workspace.keep.for", "required"],
    ),
    (
        "keep-for-long",
        "{steps: [{name: a, IMAGE}], workspace: {keep: {for: 169h}}}",
        &["spec.workspace.keep.for", "168h"],
    ),
];

const TRIGGERS: &[Case] = &[
    (
        "triggers-a-map",
        "{steps: [{name: a, IMAGE}], triggers: TRIGGER}",
        &["spec.triggers"],
    ),
    (
        "version-absent",
        "{steps: [{name: a, IMAGE}], triggers: [{kind: ConfigMap, onDelete: true}]}",
        &["spec.triggers[0].apiVersion", "required"],
    ),
    (
        "version-malformed",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: apps/v1/more, kind: Deployment, onDelete: true}]}",
        &["spec.triggers[0]", "apiVersion", "apps/v1/more"],
    ),
    (
        "kind-absent",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, onDelete: true}]}",
        &["spec.triggers[0].kind", "required"],
    ),
    (
        "kind-unknown",
        "{steps: [{name: a, IMAGE}], triggers: [TRIGGER, {apiVersion: example.org/v1, kind: Gizmo, onDelete: true}]}",
        &["spec.triggers[1]", "Gizmo", "example.org/v1"],
    ),
    (
        "kind-in-small",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: configmap, onDelete: true}]}",
        &["spec.triggers[0]", "configmap", "ConfigMap"],
    ),
    (
        "kind-of-another-version",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: Deployment, onDelete: true}]}",
        &["spec.triggers[0]", "Deployment", "v1"],
    ),
    (
        "resource-disagrees",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap, resource: secrets, onDelete: true}]}",
        &["spec.triggers[0]", "resource", "secrets", "configmaps"],
    ),
    (
        "no-events",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap}]}",
        &["spec.triggers[0]", "onAddOrUpdate: true"],
    ),
    (
        "events-false",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap, onAddOrUpdate: false, onDelete: false}]}",
        &["spec.triggers[0]", "onDelete: true"],
    ),
    (
        "event-a-word",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap, onDelete: always}]}",
        &["spec.triggers[0].onDelete", "boolean"],
    ),
    (
        "event-unknown",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap, onUpdate: true, onDelete: true}]}",
        &["unknown field", "spec.triggers[0].onUpdate"],
    ),
    (
        "object-name-empty",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap, name: '', onDelete: true}]}",
        &["spec.triggers[0].name"],
    ),
    (
        "namespace-capital",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap, namespace: Default, onDelete: true}]}",
        &["spec.triggers[0].namespace"],
    ),
    (
        "namespace-pattern",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap, namespace: 'team-*', onDelete: true}]}",
        &["spec.triggers[0].namespace"],
    ),
    (
        "selector-operator",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap, selector: {matchExpressions: [{key: a, operator: Is, values: [b]}]}, onDelete: true}]}",
        &["spec.triggers[0].selector.matchExpressions[0]", "NotIn"],
    ),
    (
        "selector-no-values",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap, selector: {matchExpressions: [{key: a, operator: In}]}, onDelete: true}]}",
        &["spec.triggers[0].selector.matchExpressions[0]", "values"],
    ),
    (
        "selector-key-absent",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: ConfigMap, selector: {matchExpressions: [{operator: Exists}]}, onDelete: true}]}",
        &[
            "spec.triggers[0].selector.matchExpressions[0].key",
            "required",
        ],
    ),
    (
        "kind-without-namespaces",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: v1, kind: Namespace, namespace: default, onDelete: true}]}",
        &["spec.triggers[0].namespace", "cluster-scoped"],
    ),
    (
        "kind-without-watch",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: authorization.k8s.io/v1, kind: SubjectAccessReview, onDelete: true}]}",
        &["spec.triggers[0].kind", "cannot be listed and watched"],
    ),
    (
        "two-versions",
        "{steps: [{name: a, IMAGE}], triggers: [{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, onDelete: true}, {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, onDelete: true}]}",
        &["spec.triggers[1].apiVersion", "autoscaling/v1"],
    ),
];

#[tokio::test]
async fn malformed_steps_are_refused() {
    all_refused("steps", STEPS).await;
}

#[tokio::test]
async fn malformed_dependencies_are_refused() {
    all_refused("dependencies", DEPENDENCIES).await;
}

#[tokio::test]
async fn malformed_pod_settings_are_refused() {
    all_refused("pods", PODS).await;
}

#[tokio::test]
async fn malformed_triggers_are_refused() {
    all_refused("triggers", TRIGGERS).await;
}

/// All cases at once, beside a valid Workflow that continues to fire.
async fn all_refused(theme: &str, cases: &[Case]) {
    kubeci_e2e::run(&format!("bad-{theme}"), async |test| {
        test.apply(&unplaced("good", WATCHED)).await;
        test.workflow_ready("good").await;
        test.config_map("before", "A").await;
        test.workplans_reach("good", 1).await;
        join_all(cases.iter().map(|case| is_refused(test, case))).await;
        test.config_map("after", "A").await;
        test.workplans_reach("good", 2).await;
    })
    .await;
}

async fn is_refused(test: &Test, (name, spec, words): &Case) {
    let spec = spec
        .replace("TRIGGER", WATCHED)
        .replace("IMAGE", "image: alpine");
    let yaml = format!(
        "{{apiVersion: kube.ci/v1alpha1, kind: Workflow, metadata: {{name: {name}}}, spec: {spec}}}"
    );
    match create(&test.client, &test.namespace, &yaml).await {
        Ok(_) => test.workflow_refused(name, &CONDITIONS, words).await,
        Err(error) => {
            let said = error.to_string();
            assert!(
                all_in(&said, words),
                "{name}: the error is {said}, without {words:?}"
            );
        }
    }
}

#[tokio::test]
async fn too_many_steps_are_refused() {
    kubeci_e2e::run("bad-many", async |test| {
        let steps: Vec<_> = (0..501)
            .map(|it| format!("{{name: step-{it}, IMAGE}}"))
            .collect();
        let spec = format!("{{steps: [{}]}}", steps.join(", "));
        is_refused(test, &("many", spec.leak(), &["spec.steps", "500"])).await;
    })
    .await;
}

#[tokio::test]
async fn name_that_is_too_long_is_refused() {
    kubeci_e2e::run("bad-name", async |test| {
        let name = "a".repeat(64);
        is_refused(
            test,
            &(
                name.leak(),
                "{steps: [{name: a, IMAGE}]}",
                &["at most 63 characters"],
            ),
        )
        .await;
    })
    .await;
}
