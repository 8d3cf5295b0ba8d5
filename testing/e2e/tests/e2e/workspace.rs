//! The folder that a plan's steps share.

use kube::ResourceExt;
use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::Phase;
use kubeci_e2e::{Inspector, Test};
use rstest::rstest;

use crate::workflow::{WATCHED, on_config_maps, shell, workflow};

/// Fires a Workflow, waits until its Workplan has completed and is cleaned up, and says its name.
async fn completes(test: &Test, name: &str, yaml: &str) -> String {
    test.apply(yaml).await;
    test.workflow_ready(name).await;
    test.config_map("object", "A").await;
    let plan = test.workplan(name).await.name_any();
    test.ends(&plan, Phase::Completed).await;
    test.cleaned(&plan).await;
    test.assert_folder_gone(name, &plan).await;
    plan
}

#[rstest]
#[tokio::test]
async fn steps_of_another_user_can_write(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "user", async |test| {
        let write = "commands: [sh, -c], args: ['echo $(id -u) >> /kubeci/users; mkdir -p /kubeci/folder-$(id -u)']";
        let check = "commands: [sh, -c], args: ['test $(sort -n /kubeci/users | tr \"\\n\" ,) = 0,1000,65532,']";
        // The first makes the file for the others.
        let steps = format!(
            "[{{name: first, image: alpine, commands: [sh, -c], args: ['touch /kubeci/users; chmod 666 /kubeci/users']}}, \
              {{name: root, image: alpine, {write}, dependency: [first]}}, \
              {{name: user, image: alpine, {write}, dependency: [first], securityContext: {{runAsUser: 1000}}}}, \
              {{name: image-user, image: nonroot, {write}, dependency: [first], securityContext: {{runAsNonRoot: true}}}}, \
              {{name: check, image: alpine, {check}, dependency: [root, user, image-user]}}]"
        );
        completes(test, "user", &on_config_maps("user", &steps)).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn plan_of_another_user_can_write(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "plan-user", async |test| {
        let steps = [
            shell("write", "id -u > /kubeci/user; mkdir /kubeci/folder", ""),
            shell(
                "read",
                "test $(cat /kubeci/user) = 1000; touch /kubeci/folder/file",
                "write",
            ),
        ];
        let yaml = workflow("plan-user", &format!("[{}]", steps.join(", ")), WATCHED)
            + "  securityContext: {runAsUser: 1000, runAsGroup: 1000, runAsNonRoot: true}\n";
        completes(test, "plan-user", &yaml).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn image_with_its_own_user_can_write(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "image-user", async |test| {
        let steps = "[{name: only, image: nonroot, commands: [sh, -c], args: ['touch /kubeci/file'], securityContext: {runAsNonRoot: true}}]";
        completes(test, "image-user", &on_config_maps("image-user", steps)).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn targets_of_symbolic_links_stay(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "links", async |test| {
        let inspector = Inspector::get(&test.client).await;
        let elsewhere = format!("/kubeci/e2e-elsewhere-{}", test.namespace);
        for node in inspector.nodes() {
            node.sh(&format!("mkdir -p {elsewhere}/folder && touch {elsewhere}/folder/file {elsewhere}/file")).await;
        }
        let up = format!("../../..{}", elsewhere.trim_start_matches("/kubeci"));
        let links = [
            format!("{elsewhere} absolute"),
            format!("{elsewhere}/file absolute-file"),
            format!("{up} up"),
            format!("{up}/folder up-folder"),
            format!("{up}/file up-file"),
            "/ root".to_owned(),
            "/kubeci all".to_owned(),
            "../../.. all-up".to_owned(),
            ". itself".to_owned(),
            "nowhere dangling".to_owned(),
        ];
        let commands = links.map(|it| format!("ln -s {it}"));
        let line = format!("mkdir -p /kubeci/deep/er; cd /kubeci; {}; cd /kubeci/deep/er; ln -s ../../../../../..{} up", commands.join("; "), elsewhere.trim_start_matches("/kubeci"));
        completes(test, "links", &on_config_maps("links", &format!("[{}]", shell("link", &line, "")))).await;
        for node in inspector.nodes() {
            let left = node.sh(&format!("find {elsewhere} | sort")).await;
            let expected = ["", "/file", "/folder", "/folder/file"].map(|it| format!("{elsewhere}{it}\n"));
            assert_eq!(left, expected.concat());
            node.sh(&format!("rm -rf {elsewhere}")).await;
        }
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn files_that_resist_removal_are_removed(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "hard", async |test| {
        let line = "cd /kubeci; mkdir -p locked/in; touch locked/in/file; chmod 000 locked/in/file locked/in locked; mkfifo pipe; touch -- -rf 'a b' '$(c)'; i=0; d=deep; while [ $i -lt 40 ]; do d=$d/deep-deep-deep; i=$((i+1)); done; mkdir -p $d; touch $d/file";
        completes(test, "hard", &on_config_maps("hard", &format!("[{}]", shell("make", line, "")))).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn user_volumes_are_mounted_beside_the_folder(#[values(Pods, Relay)] execution: Execution) {
    kubeci_e2e::run_as(execution, "volumes", async |test| {
        let step = |name: &str, line: &str, dependency: &str| {
            format!("{{name: {name}, image: alpine, commands: [sh, -c], args: [\"{line}\"], dependency: [{dependency}], workingDir: /settings, env: [{{name: GREETING, value: hello}}], volumeMounts: [{{name: settings, mountPath: /settings}}]}}")
        };
        let steps = [
            step("copy", "cp data /kubeci/data; echo $GREETING >> /kubeci/data", ""),
            step("compare", "test $(tr '\\\\n' , < /kubeci/data) = A,hello, || test $(tr '\\\\n' , < /kubeci/data) = Ahello,", "copy"),
        ];
        let yaml = on_config_maps("volumes", &format!("[{}]", steps.join(", ")))
            + "  volumes: [{name: settings, configMap: {name: object}}]\n";
        completes(test, "volumes", &yaml).await;
    })
    .await;
}
