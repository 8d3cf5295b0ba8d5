//! The outputs of steps, and the variables that every step has.

use std::collections::BTreeMap;

use kubeci_api::Execution::{self, Pods, Relay};
use kubeci_api::{Phase, StepPhase, Workplan};
use kubeci_e2e::{run_as, step};
use rstest::rstest;

use crate::workflow::{fire, script, steps};

fn outputs(plan: &Workplan, name: &str) -> BTreeMap<String, String> {
    step(plan, name).outputs
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

#[rstest]
#[tokio::test]
async fn outputs_are_in_the_status(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "outputs", async |test| {
        let line = "echo version=1.4.2 >> $KUBECI_OUTPUT; echo empty= >> $KUBECI_OUTPUT";
        let block = "printf 'notes<<END\\none\\n\\nb=2\\nEND\\n' >> $KUBECI_OUTPUT";
        let both = format!("{line}; {block}");
        let all = [
            script("line", line, &[]),
            script("block", block, &["line"]),
            script("both", &both, &["block"]),
            script("none", "true", &["block"]),
        ];
        let name = fire(test, "outputs", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Completed).await;
        let of_line = map([("version", "1.4.2"), ("empty", "")]);
        let of_block = map([("notes", "one\n\nb=2")]);
        assert_eq!(outputs(&plan, "line"), of_line);
        assert_eq!(outputs(&plan, "block"), of_block);
        assert_eq!(
            outputs(&plan, "both"),
            of_line.into_iter().chain(of_block).collect()
        );
        assert_eq!(outputs(&plan, "none"), map([]));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn refused_outputs_fail_the_step(
    #[values(Pods, Relay)] execution: Execution,
    #[values(
        ("malformed", "printf 'a=1\\nno key\\n' > $KUBECI_OUTPUT", "InvalidOutput", "line 2"),
        ("large", "printf 'a=%5000s' x > $KUBECI_OUTPUT", "OutputTooLarge", "at most")
    )]
    case: (&str, &str, &str, &str),
) {
    let (name, line, reason, message) = case;
    run_as(execution, &format!("outputs-{name}"), async |test| {
        let all = [
            script("writes", line, &[]),
            // In `Pods` the node may start it before the operator has read the outputs.
            script("after", "trap 'exit 1' TERM; sleep 60 & wait", &["writes"]),
            script("last", "true", &["after"]),
        ];
        let plan = fire(test, name, &steps(&all)).await;
        let plan = test.ends(&plan, Phase::Failed).await;
        let writes = step(&plan, "writes");
        assert_eq!(writes.phase, StepPhase::Failed);
        assert_eq!(writes.reason.as_deref(), Some(reason));
        assert_eq!(writes.exit_code, Some(0));
        let said = writes.message.unwrap_or_default();
        assert!(said.contains(message) && said.contains("/kubeci"), "{said}");
        assert_eq!(step(&plan, "last").phase, StepPhase::Skipped);
        let summary = plan.status.and_then(|it| it.summary);
        assert_eq!(summary, Some(format!("writes: {reason}")));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn failed_step_has_outputs_or_message(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "outputs-failed", async |test| {
        let all = [
            script("outputs", "echo found=3 > $KUBECI_OUTPUT; exit 4", &[]),
            script(
                "message",
                "echo 'no route: code=3' > /dev/termination-log; exit 4",
                &[],
            ),
            script("silent", "exit 4", &[]),
        ];
        let name = fire(test, "outputs-failed", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Failed).await;
        for name in ["outputs", "message", "silent"] {
            assert_eq!(step(&plan, name).exit_code, Some(4), "{name}");
            assert_eq!(step(&plan, name).reason.as_deref(), Some("Error"), "{name}");
        }
        assert_eq!(outputs(&plan, "outputs"), map([("found", "3")]));
        assert_eq!(outputs(&plan, "message"), map([]));
        let said = step(&plan, "message").message;
        assert_eq!(said.as_deref(), Some("no route: code=3"));
        assert_eq!(outputs(&plan, "silent"), map([]));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn completed_step_may_leave_a_message(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "outputs-message", async |test| {
        let line = "echo All tests passed. > /dev/termination-log";
        let name = fire(test, "message", &steps(&[script("only", line, &[])])).await;
        let plan = test.ends(&name, Phase::Completed).await;
        assert_eq!(outputs(&plan, "only"), map([]));
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn steps_know_their_plan(#[values(Pods, Relay)] execution: Execution) {
    run_as(execution, "variables", async |test| {
        let line = "for it in WORKFLOW WORKPLAN NAMESPACE STEP; do \
                    eval \"echo $it=\\$KUBECI_$it\" >> $KUBECI_OUTPUT; done";
        let all = [
            script("first", line, &[]),
            script("second", line, &["first"]),
        ];
        let name = fire(test, "variables", &steps(&all)).await;
        let plan = test.ends(&name, Phase::Completed).await;
        for step in ["first", "second"] {
            let expected = map([
                ("WORKFLOW", "variables"),
                ("WORKPLAN", &name),
                ("NAMESPACE", &test.namespace),
                ("STEP", step),
            ]);
            assert_eq!(outputs(&plan, step), expected);
        }
    })
    .await;
}
