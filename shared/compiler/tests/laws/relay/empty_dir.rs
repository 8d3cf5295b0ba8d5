use std::num::NonZeroUsize;

use kubeci_api::{Approval, Execution, Step, WorkflowSpec, Workspace};
use kubeci_compiler::{Settings, compile_workflow};
use rstest::rstest;

use crate::graphs::{steps, with_commands};

fn diamond() -> Vec<Step> {
    with_commands(&[vec![], vec![0], vec![0], vec![1, 2]])
}

fn with(change: impl Fn(&mut Vec<Step>)) -> Vec<Step> {
    let mut steps = diamond();
    change(&mut steps);
    steps
}

fn without_commands(count: usize) -> Vec<Step> {
    steps(&vec![vec![]; count], &[])
}

fn refusal(steps: Vec<Step>, execution: Execution, containers: usize) -> Option<String> {
    let workflow = WorkflowSpec {
        steps,
        execution: Some(execution),
        workspace: Workspace::EmptyDir,
        ..WorkflowSpec::default()
    };
    let settings = Settings {
        containers: NonZeroUsize::new(containers).unwrap(),
        ..Settings::default()
    };
    let errors = compile_workflow(&workflow, &settings).err()?;
    Some(errors.iter().map(ToString::to_string).collect())
}

#[rstest]
#[case::pods(
    diamond(),
    Execution::Pods,
    100,
    "spec.workspace: with `workspace: {emptyDir: {}}` all steps must fit into one pod, but they need 2 pods: the other pods start with \"s3\"; use `execution: Relay`, which needs one pod, or leave `workspace.emptyDir` out"
)]
#[case::isolated_in_pods(with(|steps| steps[3].isolate = true), Execution::Pods, 100, "spec.workspace: with `workspace: {emptyDir: {}}` all steps must fit into one pod, but they need 2 pods: the other pods start with \"s3\"; change these steps, or use `workspace: hostPath`")]
#[case::apart(with(|steps| { steps[0].commands.clear(); steps[3].isolate = true; }), Execution::Relay, 100, "spec.workspace: with `workspace: {emptyDir: {}}` all steps must fit into one pod, but they need 3 pods: these steps have their own pods: \"s0\" (has no `commands`), \"s3\" (has `isolate: true`); change these steps, or use `workspace: hostPath`")]
#[case::many(with(|steps| for step in steps { step.isolate = true }), Execution::Relay, 100, "spec.workspace: with `workspace: {emptyDir: {}}` all steps must fit into one pod, but they need 4 pods: these steps have their own pods: \"s0\" (has `isolate: true`), \"s1\" (has `isolate: true`), \"s2\" (has `isolate: true`), \"s3\" (has `isolate: true`); change these steps, or use `workspace: hostPath`")]
#[case::more_than_can_be_named(
    without_commands(8),
    Execution::Relay,
    100,
    "spec.workspace: with `workspace: {emptyDir: {}}` all steps must fit into one pod, but they need 8 pods: these steps have their own pods: \"s0\" (has no `commands`), \"s1\" (has no `commands`), \"s2\" (has no `commands`), \"s3\" (has no `commands`), \"s4\" (has no `commands`) and 3 more; change these steps, or use `workspace: hostPath`"
)]
#[case::approval(with(|steps| { steps[3].image.clear(); steps[3].commands.clear(); steps[3].approval = Some(Approval::default()); }), Execution::Relay, 100, "spec.workspace: with `workspace: {emptyDir: {}}` all steps must be in one pod, but these wait for an approval and have no pod: \"s3\"; leave `workspace.emptyDir` out")]
#[case::wide(
    diamond(),
    Execution::Relay,
    3,
    "spec.workspace: with `workspace: {emptyDir: {}}` all steps must fit into one pod, but they need 2 pods: 4 steps share a pod, which may have at most 3 containers; change these steps, or use `workspace: hostPath`"
)]
fn plan_of_several_pods_has_no_empty_dir(
    #[case] steps: Vec<Step>,
    #[case] execution: Execution,
    #[case] containers: usize,
    #[case] message: &str,
) {
    assert_eq!(
        refusal(steps, execution, containers).as_deref(),
        Some(message)
    );
}

#[test]
fn plan_of_one_pod_may_have_empty_dir() {
    assert_eq!(refusal(diamond(), Execution::Relay, 4), None);
    assert_eq!(refusal(diamond()[..3].to_vec(), Execution::Pods, 100), None);
}
