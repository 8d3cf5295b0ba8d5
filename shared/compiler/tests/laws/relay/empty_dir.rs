use std::num::NonZeroUsize;

use kubeci_api::{Execution, Step, WorkflowSpec, WorkspaceKind};
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
        workspace: WorkspaceKind::EmptyDir,
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
    "spec.workspace: an `emptyDir` is a folder of one pod, but these steps need 2: the others start with \"s3\"; use `execution: Relay`, for which one pod will do, or `workspace: hostPath`"
)]
#[case::isolated_in_pods(with(|steps| steps[3].isolate = true), Execution::Pods, 100, "spec.workspace: an `emptyDir` is a folder of one pod, but these steps need 2: the others start with \"s3\"; change that, or use `workspace: hostPath`")]
#[case::apart(with(|steps| { steps[0].commands.clear(); steps[3].isolate = true; }), Execution::Relay, 100, "spec.workspace: an `emptyDir` is a folder of one pod, but these steps need 3: some have pods of their own: \"s0\" (has no `commands`), \"s3\" (says `isolate`); change that, or use `workspace: hostPath`")]
#[case::many(with(|steps| for step in steps { step.isolate = true }), Execution::Relay, 100, "spec.workspace: an `emptyDir` is a folder of one pod, but these steps need 4: some have pods of their own: \"s0\" (says `isolate`), \"s1\" (says `isolate`), \"s2\" (says `isolate`), \"s3\" (says `isolate`); change that, or use `workspace: hostPath`")]
#[case::more_than_can_be_named(
    without_commands(8),
    Execution::Relay,
    100,
    "spec.workspace: an `emptyDir` is a folder of one pod, but these steps need 8: some have pods of their own: \"s0\" (has no `commands`), \"s1\" (has no `commands`), \"s2\" (has no `commands`), \"s3\" (has no `commands`), \"s4\" (has no `commands`) and 3 more; change that, or use `workspace: hostPath`"
)]
#[case::wide(
    diamond(),
    Execution::Relay,
    3,
    "spec.workspace: an `emptyDir` is a folder of one pod, but these steps need 2: 4 steps are more than the 3 containers that a pod may have; change that, or use `workspace: hostPath`"
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
