//! Relay: as many steps as can be are containers of one pod, and start inside it as soon as those they depend on
//! have ended.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use kubeci_api::Execution::Relay;
use kubeci_api::{Order, Phase, Step, StepPhase};
use kubeci_e2e::{Test, assert_in_order, duration_between, run_as, step};

use crate::workflow::{fire, shell};

fn names(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|it| it.name.as_str()).collect()
}

/// Fifty in a row; beside them forty that fan out from the first and come together in nine; and one at the end.
fn a_hundred() -> Vec<String> {
    let does_nothing = |name: String, dependency: &str| shell(&name, "true", dependency);
    let chain = (1..50).map(|it| does_nothing(format!("chain-{it}"), &format!("chain-{}", it - 1)));
    let wide = (0..40).map(|it| does_nothing(format!("wide-{it}"), "chain-0"));
    let all_wide: Vec<_> = (0..40).map(|it| format!("wide-{it}")).collect();
    let all_wide = all_wide.join(", ");
    let narrow = (0..9).map(|it| does_nothing(format!("narrow-{it}"), &all_wide));
    let all_narrow: Vec<_> = (0..9).map(|it| format!("narrow-{it}")).collect();
    let first = does_nothing("chain-0".into(), "");
    let last = does_nothing(
        "last".into(),
        &format!("chain-49, {}", all_narrow.join(", ")),
    );
    [first]
        .into_iter()
        .chain(chain)
        .chain(wide)
        .chain(narrow)
        .chain([last])
        .collect()
}

#[tokio::test]
async fn hundred_steps_run_in_one_pod() {
    run_as(Relay, "hundred", async |test| {
        let steps = a_hundred();
        assert_eq!(steps.len(), 100);
        let name = fire(test, "hundred", &format!("[{}]", steps.join(", "))).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(plan.spec.order, Order::Relay);
        assert_eq!(test.pods_of(&name).await.len(), 1);
        assert_in_order(&plan);
        let progress = plan.status.and_then(|it| it.progress);
        assert_eq!(progress.as_deref(), Some("100/100"));
        test.cleaned(&name).await;
        test.assert_folder_gone("hundred", &name).await;
    })
    .await;
}

#[tokio::test]
async fn step_without_commands_has_its_own_task() {
    run_as(Relay, "native", async |test| {
        let steps = [
            shell("before", "true", ""),
            "{name: native, image: alpine, dependency: [before]}".to_owned(),
            shell("beside", "true", "before"),
            shell("after", "true", "native"),
        ];
        let name = fire(test, "native", &format!("[{}]", steps.join(", "))).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_in_order(&plan);
        let tasks = plan.spec.tasks.iter();
        let tasks: Vec<_> = tasks.map(|it| names(&it.parallel_steps)).collect();
        assert_eq!(
            tasks,
            [vec!["before", "beside"], vec!["native"], vec!["after"]]
        );
        let native = only_container(test, &name, 1).await;
        assert_eq!((native.name.as_str(), native.command), ("native", None));
        test.workplan_when(&name, "says which step has its own pod", |plan| {
            let mut conditions = plan.status.iter().flat_map(|it| &it.conditions);
            conditions
                .any(|it| it.type_ == "Relayed" && it.message.contains("native has no `commands`"))
        })
        .await;
        test.cleaned(&name).await;
    })
    .await;
}

async fn only_container(test: &Test, plan: &str, task: usize) -> Container {
    let spec = test.pods_of(plan).await.remove(task).spec.expect("a spec");
    assert_eq!((spec.containers.len(), spec.init_containers), (1, None));
    spec.containers.into_iter().next().expect("a container")
}

#[tokio::test]
async fn log_contains_only_output_of_its_step() {
    run_as(Relay, "logs", async |test| {
        let steps = [
            shell("step-1", "echo one >&2", ""),
            shell("step-2", "true", "step-1"),
            shell("step-3", "echo three; echo and more; exit 3", "step-2"),
            shell("step-4", "echo four", "step-3"),
        ];
        let name = fire(test, "logs", &format!("[{}]", steps.join(", "))).await;
        test.ends(&name, Phase::Failed).await;
        let pod = format!("{name}-0");
        let logs = [
            ("step-1", "one\n"),
            ("step-2", ""),
            ("step-3", "three\nand more\n"),
            ("step-4", ""),
        ];
        for (step, log) in logs {
            assert_eq!(test.log(&pod, step).await, log, "{step}");
        }
        test.cleaned(&name).await;
    })
    .await;
}

#[tokio::test]
async fn step_times_are_those_of_its_command() {
    run_as(Relay, "times", async |test| {
        let steps = [
            shell("first", "sleep 0.4", ""),
            shell("second", "sleep 0.4", "first"),
            shell("third", "sleep 0.4; exit 3", "second"),
        ];
        let name = fire(test, "times", &format!("[{}]", steps.join(", "))).await;
        let plan = test.ends(&name, Phase::Failed).await;
        assert_in_order(&plan);
        for name in ["first", "second", "third"] {
            let step = step(&plan, name);
            let (started, ended) = (step.started_at.as_ref(), step.finished_at.as_ref());
            let took = duration_between(started, ended);
            assert!(took >= Duration::from_millis(400), "{took:?} for {step:?}");
            // The kubelet reports whole seconds.
            for time in [started, ended].into_iter().flatten() {
                assert_ne!(time.0.subsec_nanosecond(), 0, "{step:?}");
            }
        }
        test.cleaned(&name).await;
    })
    .await;
}

#[tokio::test]
async fn command_that_cannot_start_has_shell_exit_code() {
    run_as(Relay, "not-started", async |test| {
        let steps = "[
            {name: missing, image: alpine, commands: [no-such-command]},
            {name: no-program, image: alpine, commands: [/etc/passwd]},
            {name: after-missing, image: alpine, commands: ['true'], dependency: [missing]},
            {name: after-no-program, image: alpine, commands: ['true'], dependency: [no-program]},
        ]";
        let name = fire(test, "not-started", steps).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let cases: [(&str, i32, &[&str]); 2] = [
            ("missing", 127, &["no-such-command was not found", "PATH"]),
            ("no-program", 126, &["/etc/passwd cannot be executed"]),
        ];
        for (name, code, words) in cases {
            let failed = step(&plan, name);
            assert_eq!(
                (failed.phase, failed.exit_code),
                (StepPhase::Failed, Some(code))
            );
            assert_eq!(failed.started_at, None, "{failed:?}");
            let said = failed.message.unwrap_or_default();
            assert!(kubeci_e2e::all_in(&said, words), "{name}: {said}");
            let after = step(&plan, &format!("after-{name}"));
            assert_eq!(after.phase, StepPhase::Skipped);
        }
        test.cleaned(&name).await;
    })
    .await;
}
