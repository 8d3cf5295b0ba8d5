//! Time limits and retries inside a relay: the step runner keeps them, in the container of the step.

use std::time::Duration;

use kube::ResourceExt;
use kubeci_api::Execution::Relay;
use kubeci_api::{Phase, StepPhase, StepStatus};
use kubeci_e2e::{Test, assert_in_order, duration_between, run_as, step};
use serde_json::{Value, json};

use crate::workflow::{fire, script, steps};

/// A step with more fields.
fn with(mut step: Value, fields: Value) -> Value {
    let (Value::Object(step_fields), Value::Object(fields)) = (&mut step, fields) else {
        panic!("not objects");
    };
    step_fields.extend(fields);
    step
}

/// Fails with exit code 5 in all attempts but the last of `count`.
fn fails_before(count: usize) -> String {
    format!(
        "echo try >> /kubeci/tries; [ $(wc -l < /kubeci/tries) -ge {count} ] || exit 5; echo done"
    )
}

/// Number, exit code and reason of each attempt.
fn attempts(step: &StepStatus) -> Vec<(u32, Option<i32>, Option<&str>)> {
    let attempts = step.attempts.iter();
    let parts = attempts.map(|it| (it.number, it.exit_code, it.reason.as_deref()));
    parts.collect()
}

async fn assert_one_pod(test: &Test, plan: &str) {
    let pods = test.pods_of(plan).await;
    let names: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, [format!("{plan}-0")]);
}

#[tokio::test]
async fn relay_step_ends_at_its_timeout() {
    run_as(Relay, "timeout", async |test| {
        let all = [
            with(script("slow", "sleep 3600", &[]), json!({"timeout": "2s"})),
            script("beside", "true", &[]),
            script("after", "true", &["slow"]),
        ];
        let name = fire(test, "timeout", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let slow = step(&plan, "slow");
        assert_eq!(slow.phase, StepPhase::Failed);
        assert_eq!(slow.reason.as_deref(), Some("Timeout"));
        assert_eq!(slow.exit_code, Some(124));
        let said = slow.message.unwrap_or_default();
        assert!(said.contains("its timeout of 2s"), "{said}");
        let took = duration_between(slow.started_at.as_ref(), slow.finished_at.as_ref());
        assert!(took >= Duration::from_secs(2), "{took:?}");
        assert_eq!(step(&plan, "beside").phase, StepPhase::Completed);
        assert_eq!(step(&plan, "after").phase, StepPhase::Skipped);
        let summary = plan.status.and_then(|it| it.summary);
        assert_eq!(summary.as_deref(), Some("slow: Timeout"));
        test.cleaned(&name).await;
    })
    .await;
}

#[tokio::test]
async fn relay_step_is_retried_in_place() {
    run_as(Relay, "in-place", async |test| {
        let retry = json!({"retry": {"limit": 4, "backoff": {"initial": "100ms"}}});
        let all = [
            with(script("flaky", &fails_before(3), &[]), retry),
            script("after", "true", &["flaky"]),
        ];
        let name = fire(test, "in-place", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_in_order(&plan);
        let flaky = step(&plan, "flaky");
        let expected = [
            (1, Some(5), Some("Error")),
            (2, Some(5), Some("Error")),
            (3, Some(0), None),
        ];
        assert_eq!(attempts(&flaky), expected);
        for (earlier, later) in flaky.attempts.iter().zip(&flaky.attempts[1..]) {
            let pause = duration_between(earlier.finished_at.as_ref(), later.started_at.as_ref());
            assert!(pause >= Duration::from_millis(99), "{pause:?}");
        }
        assert_eq!(step(&plan, "after").attempts, []);
        assert_one_pod(test, &name).await;
        let log = test.log(&format!("{name}-0"), "flaky").await;
        let said = "attempt 2 of 5 failed with exit code 5; the next one starts in 200ms";
        assert!(log.contains(said) && log.ends_with("done\n"), "{log}");
        test.cleaned(&name).await;
    })
    .await;
}

/// Uses too much memory in the first attempt.
const OUT_OF_MEMORY_AT_FIRST: &str =
    "[ -e /kubeci/tried ] || { touch /kubeci/tried; exec tail /dev/zero; }";

#[tokio::test]
async fn lost_relay_step_does_not_start_its_failure_step() {
    run_as(Relay, "lost", async |test| {
        let fields = json!({
            "retry": {"limit": 1, "on": ["OOMKilled"]},
            "resources": {"limits": {"memory": "32Mi"}},
        });
        let mut on_failure = script("on-failure", "touch /kubeci/ran", &[]);
        on_failure["onFailure"] = json!(["greedy"]);
        let mut after = script("after", "test ! -e /kubeci/ran", &[]);
        after["after"] = json!(["on-failure"]);
        let greedy = with(script("greedy", OUT_OF_MEMORY_AT_FIRST, &[]), fields);
        let name = fire(test, "lost", &steps(&[greedy, on_failure, after])).await;
        let plan = test.ends(&name, Phase::Completed).await;
        let greedy = step(&plan, "greedy");
        let expected = [(1, Some(137), Some("OOMKilled")), (2, Some(0), None)];
        assert_eq!(attempts(&greedy), expected);
        let skipped = step(&plan, "on-failure");
        assert_eq!(skipped.phase, StepPhase::Skipped);
        assert_eq!(skipped.started_at, None);
        assert_eq!(step(&plan, "after").phase, StepPhase::Completed);
        assert_eq!(test.pods_of(&name).await.len(), 2);
        test.cleaned(&name).await;
    })
    .await;
}

#[tokio::test]
async fn relay_step_fails_after_its_last_attempt() {
    run_as(Relay, "exhausted", async |test| {
        let fields = json!({"timeout": "1s", "retry": {"limit": 2, "on": ["Failure", "Timeout"]}});
        let line = fails_before(2).replace("echo done", "sleep 3600");
        let all = [
            with(script("flaky", &line, &[]), fields),
            script("after", "true", &["flaky"]),
        ];
        let name = fire(test, "exhausted", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Failed).await;
        let flaky = step(&plan, "flaky");
        let expected = [
            (1, Some(5), Some("Error")),
            (2, Some(124), Some("Timeout")),
            (3, Some(124), Some("Timeout")),
        ];
        assert_eq!(attempts(&flaky), expected);
        assert_eq!(step(&plan, "after").phase, StepPhase::Skipped);
        assert_one_pod(test, &name).await;
        test.cleaned(&name).await;
    })
    .await;
}
