//! Steps that are out for what is not theirs: other steps, the node, the operators. `docs/security.md` says what
//! each of these tests shows.

use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::StepPhase::{Completed, Failed, Skipped};
use kubeci_api::{Phase, Workplan};
use kubeci_e2e::{Inspector, Test, all_in, run, run_as, step, workspace_of};
use rstest::rstest;
use serde_json::{Value, json};

use crate::workflow::{ENDLESS, fire, script, steps};

/// What stands before an attack: a line that succeeds prints itself.
const TRY: &str = r#"try() { if sh -c "$1" > /dev/null 2>&1; then echo "could: $1"; fi; }
"#;

/// A record as the step runner writes it.
const FORGED: &str =
    "kubeci/1 completed up=2026-01-01T00:00:00.000000Z started=0.000000 ended=1.000000";

fn attack(name: &str, lines: &str, dependency: &[&str]) -> Value {
    script(name, &format!("{TRY}{lines}"), dependency)
}

async fn log_of(test: &Test, plan: &str, name: &str) -> String {
    let plan = test.api().get(plan).await.expect("a Workplan");
    test.log_of(&plan, name).await
}

#[tokio::test]
async fn step_cannot_access_files_of_other_steps() {
    run_as(Relay, "reach", async |test| {
        let lines = r#"
            cd /.kubeci
            for it in .bin/step-runner .absent/victim victim/record ended/record later/absent; do
              try "rm $it"; try "echo > $it"; try "chmod 777 $it"; try "ln $it hostile/x"
              try "mv $it hostile/x"; try "cp ended/record $it"; try "ln -sf ../ended/record $it"
            done
            for it in . .bin .absent victim later; do
              try "touch $it/x"; try "chmod 777 $it"; try "mount -o remount,bind,rw $it"
              try "umount $it"; try "mount -t tmpfs none $it"; try "mv $it hostile/x"
            done
            try "test $(grep -lx step-runner /proc/[0-9]*/comm | wc -l) != 1"
            try "cat /proc/[0-9]*/environ | grep -a of-the-victim"
            kill -9 1; kill -STOP 1
            touch /kubeci/attacked; echo done"#;
        let waits = "until [ -e /kubeci/attacked ]; do sleep 0.1; done; exit 1";
        let mut victim = script("victim", waits, &[]);
        victim["env"] = json!([{"name": "SECRET", "value": "of-the-victim"}]);
        let all = [
            victim,
            script("ended", "true", &[]),
            attack("hostile", lines, &["ended"]),
            script("later", "true", &["victim"]),
            script("after", "true", &["ended", "hostile"]),
        ];
        let name = fire(test, "reach", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_eq!(test.pods_of(&name).await.len(), 1);
        assert_eq!(log_of(test, &name, "hostile").await, "done\n");
        let phases =
            ["victim", "ended", "hostile", "later", "after"].map(|it| step(&plan, it).phase);
        let expected = [Failed, Completed, Completed, Skipped, Completed];
        assert_eq!(phases, expected);
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn exit_code_overrides_termination_message(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "claims", async |test| {
        let claims = format!("echo '{FORGED}' > /dev/termination-log; exit 3");
        let all = [
            script("claims", &claims, &[]),
            script("after", "true", &["claims"]),
        ];
        let name = fire(test, "claims", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_eq!(step(&plan, "claims").phase, Failed);
        assert_eq!(step(&plan, "claims").exit_code, Some(3));
        assert_eq!(step(&plan, "after").phase, Skipped);
    })
    .await;
}

#[tokio::test]
async fn forged_record_affects_only_its_step() {
    run_as(Relay, "forges", async |test| {
        // It gives the folder the time to be believed; that its dependents start shows that it was.
        let forges = format!(
            "cd /.kubeci/forges && rm record && echo '{FORGED}' > new && mv new record; \
             until [ -e /kubeci/believed ]; do sleep 0.1; done; exit 3"
        );
        let all = [
            script("forges", &forges, &[]),
            script("fails", "exit 1", &[]),
            script("believes", "touch /kubeci/believed", &["forges"]),
            script("needs-both", "true", &["forges", "fails"]),
        ];
        let name = fire(test, "forges", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_eq!(step(&plan, "forges").phase, Failed);
        assert_eq!(step(&plan, "forges").exit_code, Some(3));
        assert_eq!(step(&plan, "needs-both").phase, Skipped);
    })
    .await;
}

#[tokio::test]
async fn full_relay_can_only_fail_steps() {
    run_as(Relay, "fills", async |test| {
        let fills = "cd /.kubeci/fills; dd if=/dev/zero of=x bs=1k; i=0; \
                     while [ $i -lt 5000 ] && mkdir $i; do i=$((i+1)); done; echo filled";
        let names: Vec<String> = (0..8).map(|it| format!("other-{it}")).collect();
        let others = names
            .iter()
            .map(|it| script(it, &format!("echo {it} ran"), &[]));
        let all: Vec<Value> = [script("fills", fills, &[])]
            .into_iter()
            .chain(others)
            .collect();
        let name = fire(test, "fills", &steps(&all)).await;
        let plan = test
            .workplan_when(&name, "has ended", |plan| {
                let phase = plan.status.as_ref().and_then(|it| it.phase);
                phase.is_some_and(Phase::is_final)
            })
            .await;
        for other in &names {
            let status = step(&plan, other);
            let ran = log_of(test, &name, other).await.contains("ran");
            assert_eq!(status.phase == Completed, ran, "{status:?}");
            let said = status.message.unwrap_or_default();
            assert!(
                ran || all_in(&said, &["space", "make room"]),
                "{other}: {said}"
            );
        }
        test.cleaned(&name).await;
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn only_files_of_steps_are_removed(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "leaves", async |test| {
        let lines = r#"
            try "rmdir /kubeci"; try "rm -rf /kubeci"; try "mv /kubeci /other"; try "umount /kubeci"
            try "mount --bind / /kubeci"; try "mount -t tmpfs none /kubeci"
            mknod /kubeci/memory c 1 1; try "dd if=/kubeci/memory of=/dev/null bs=1 count=1"
            for it in $(awk '$4 !~ /[0-9]$/ {print $1 "-" $2}' /proc/partitions | grep '^[0-9]'); do
              mknod /kubeci/disk-$it b ${it%-*} ${it#*-}; try "dd if=/kubeci/disk-$it of=/dev/null count=1"
            done
            cp /bin/busybox /kubeci/su; chmod 6755 /kubeci/su
            cd /kubeci; ln -s / root; ln -s ../.. up; ln -s /proc/self/root proc
            echo done"#;
        let all = [attack("leaves", lines, &[]), script("next", "true", &["leaves"])];
        let inspector = Inspector::get(&test.client).await;
        let beside = format!("/kubeci/{}/leaves/beside", test.namespace);
        for node in inspector.nodes() {
            node.sh(&format!("mkdir -p {beside} && touch {beside}/file")).await;
        }
        let name = fire(test, "leaves", &steps(&all)).await;
        test.ends(&name, Phase::Completed).await;
        assert_eq!(log_of(test, &name, "leaves").await, "done\n");
        test.cleaned(&name).await;
        for node in inspector.nodes() {
            let left = node.sh(&format!("cd {beside}/..; find . | sort; rm -rf {beside}; rmdir -p . || true")).await;
            assert_eq!(left, ".\n./beside\n./beside/file\n");
        }
    })
    .await;
}

#[tokio::test]
async fn deeply_nested_folders_are_removed() {
    run("nested", async |test| {
        let nest = "cd /kubeci; mkdir d; p=; i=0; while [ $i -lt 1000 ]; do p=$p/n; i=$((i+1)); done; \
                    i=0; while [ $i -lt 35 ]; do mkdir -p new$p && mv d new$p/d && mv new d || exit 1; i=$((i+1)); done";
        let name = fire(test, "nested", &steps(&[script("nest", nest, &[])])).await;
        test.ends(&name, Phase::Completed).await;
        test.cleaned(&name).await;
        test.assert_folder_gone("nested", &name).await;
    })
    .await;
}

#[tokio::test]
async fn mount_in_the_folder_is_not_entered() {
    run("mounted", async |test| {
        let name = fire(test, "mounted", ENDLESS).await;
        test.runs(&name, "endless").await;
        let pod = test.pods_of(&name).await.remove(0);
        let (folder, node) = (workspace_of(&pod), pod.spec.and_then(|it| it.node_name));
        let inspector = Inspector::get(&test.client).await;
        let shell = inspector.node(&node.expect("a node"));
        let elsewhere = format!("/tmp/{}", test.namespace);
        let on_node = |line: &str| format!("nsenter -t 1 -m sh -c '{line}'");
        let mount = format!("mkdir -p {elsewhere} {folder}/in/mount && touch {elsewhere}/file && mount --bind {elsewhere} {folder}/in/mount && echo mounted");
        assert_eq!(shell.sh(&on_node(&mount)).await, "mounted\n");

        test.delete_one::<Workplan>(&name).await;
        let says = |plan: &Workplan| {
            let mut conditions = plan.status.iter().flat_map(|it| &it.conditions);
            conditions.any(|it| it.reason == "SweepFailed" && it.message.contains("busy"))
        };
        test.workplan_when(&name, "says what is in the way", says).await;
        let left = shell.sh(&on_node(&format!("ls {elsewhere}"))).await;
        assert_eq!(left, "file\n");
        shell.sh(&on_node(&format!("umount -l $(grep -o \"/kubeci/{}/[^ ]*\" /proc/mounts); rm -r {elsewhere}", test.namespace))).await;
        test.gone::<Workplan>(&name).await;
    })
    .await;
}

#[tokio::test]
async fn equal_names_in_two_namespaces_share_nothing() {
    run("neighbour", async |test| {
        let plan = |node: &str, steps: &str| {
            format!(
                "{{apiVersion: kube.ci/v1alpha1, kind: Workplan, metadata: {{name: plan}}, \
                 spec: {{nodeSelector: {node}, tasks: [{{ParallelSteps: {steps}}}]}}}}"
            )
        };
        test.create(&plan("{}", ENDLESS)).await;
        let runs = test.runs("plan", "endless").await;
        let node = runs.status.and_then(|it| it.node).expect("a node");
        let other = test.another_namespace("other").await;
        let looks = attack(
            "looks",
            r#"try "ls -A /kubeci | grep ."; try "ls /kubeci/.. | grep -x plan"; echo done"#,
            &[],
        );
        let selector = json!({"kubernetes.io/hostname": node}).to_string();
        other.create(&plan(&selector, &steps(&[looks]))).await;
        other.ends("plan", Phase::Completed).await;
        assert_eq!(log_of(&other, "plan", "looks").await, "done\n");
        other.cleaned("plan").await;
        let inspector = Inspector::get(&test.client).await;
        let folder = workspace_of(&test.pods_of("plan").await[0]);
        assert!(inspector.node(&node).has(&format!("{folder}/here")).await);
        test.delete_one::<Workplan>("plan").await;
        test.gone::<Workplan>("plan").await;
    })
    .await;
}
