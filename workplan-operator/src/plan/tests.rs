use kubeci_api::Order;
use rstest::rstest;

use super::*;
use crate::testing::{relay, spec, step};

fn needs(plan: &Plan, step: usize) -> Vec<usize> {
    let edges = plan.steps[step].edges.iter();
    edges.map(|edge| edge.from).collect()
}

#[test]
fn dependencies_become_positions() {
    let spec = spec(Order::Linear, &["a | b:a c:a", "d:b,c | e:a,d"]);
    let plan = validate(&spec).unwrap();
    assert_eq!(plan.tasks, [0..3, 3..5]);
    let needs: Vec<_> = (0..plan.steps.len())
        .map(|step| needs(&plan, step))
        .collect();
    assert_eq!(needs, [vec![], vec![0], vec![0], vec![1, 2], vec![0, 3]]);
}

#[rstest]
#[case::unknown(&["a |", "b:x |"], "spec.tasks[1].SerialSteps[0].dependency[0]: no task has a step \"x\"")]
#[case::duplicate(&["a | b", "c | b"], "spec.tasks[1].ParallelSteps[0].name: spec.tasks[0].ParallelSteps[0] has the name \"b\", too")]
#[case::taken(&["kubeci-workspace |"], "spec.tasks[0].SerialSteps[0].name: the name \"kubeci-workspace\" is reserved")]
#[case::itself(&["a:a |"], "spec.tasks[0].SerialSteps[0].dependency[0]: a step cannot depend on itself")]
#[case::sibling(&["| a b:a"], "spec.tasks[0].ParallelSteps[1].dependency[0]: \"a\" does not end before")]
#[case::later_in_the_chain(&["a:b b |"], "spec.tasks[0].SerialSteps[0].dependency[0]: \"b\" does not end before")]
#[case::serial_on_parallel(&["a:b | b"], "spec.tasks[0].SerialSteps[0].dependency[0]: \"b\" does not end before")]
#[case::later_task(&["a | b c:d", "d |"], "spec.tasks[0].ParallelSteps[1].dependency[0]: \"d\" is in a later task, spec.tasks[1]")]
fn invalid_plan_is_refused_by_path(#[case] tasks: &[&str], #[case] expected: &str) {
    let spec = spec(Order::Linear, tasks);
    let error = validate(&spec).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case::shared(&["a? | b"], "spec.tasks[0].SerialSteps[0].approval: an approval has no pod")]
#[case::beside(&["| a b?"], "spec.tasks[0].ParallelSteps[1].approval: an approval has no pod")]
fn approval_needs_its_own_task(#[case] tasks: &[&str], #[case] expected: &str) {
    let error = validate(&spec(Order::Linear, tasks)).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(validate(&spec(Order::Linear, &["a", "b?", "| c?"])).is_ok());
}

#[test]
fn step_needs_an_image_or_an_approval() {
    let mut plan = spec(Order::Linear, &["a?"]);
    plan.tasks[0].serial_steps[0].image = "alpine".into();
    let error = validate(&plan).unwrap_err().to_string();
    let expected = "spec.tasks[0].SerialSteps[0].image: an approval runs no container";
    assert!(error.starts_with(expected), "{error}");
    plan.tasks[0].serial_steps[0] = kubeci_api::Step {
        image: String::new(),
        ..step("a")
    };
    let error = validate(&plan).unwrap_err().to_string();
    let expected = "spec.tasks[0].SerialSteps[0].image: a step needs an image";
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case::allowed(Order::Graph, &["| a!", "| b:a.failed"], "spec.tasks[1].ParallelSteps[0].onFailure[0]: \"a\" has allowFailure: true")]
#[case::never(Order::Graph, &["| a", "| b:a,a.failed"], "spec.tasks[1].ParallelSteps[0].onFailure[0]: the step waits for \"a\" to complete and to fail")]
#[case::never_through(Order::Graph, &["| a", "| b:a.failed", "| c:b,a"], "spec.tasks[2].ParallelSteps[0].dependency[0]: the step waits for \"a\" to")]
#[case::ended_pod(Order::Linear, &["a | b:a.ended"], "spec.tasks[0].ParallelSteps[0].after[0]: \"a\" is a serial step of the same task")]
#[case::chain(Order::Linear, &["a! | b"], "spec.tasks[0].SerialSteps[0].allowFailure: the failure of a serial step ends its pod")]
#[case::unknown(Order::Linear, &["a", "b:a,x.ended"], "spec.tasks[1].SerialSteps[0].after[0]: no task has a step \"x\"")]
fn invalid_edge_is_refused_by_its_field(
    #[case] order: Order,
    #[case] tasks: &[&str],
    #[case] expected: &str,
) {
    let error = validate(&spec(order, tasks)).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn implied_end_of_serial_step_is_allowed() {
    let spec = spec(Order::Linear, &["e f:e | g!:f,e.ended", "a!"]);
    assert!(validate(&spec).is_ok());
}

#[test]
fn graph_tasks_may_not_form_a_cycle() {
    let ahead = spec(Order::Graph, &["a:b |", "b |"]);
    assert!(validate(&ahead).is_ok());

    let circle = spec(
        Order::Graph,
        &["x |", "a | b:d", "c | d", "e:b |", "c2:e | d2", "f:d2 | g"],
    );
    assert!(validate(&circle).is_ok());
    let circle = spec(Order::Graph, &["x:a |", "a | b:d", "c:a | d"]);
    let error = validate(&circle).unwrap_err().to_string();
    let expected = "spec.tasks[1]: the tasks wait for each other, so none would ever start: spec.tasks[1] needs spec.tasks[2], \
                    spec.tasks[2] needs spec.tasks[1];";
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case::pods(spec(Order::Graph, &["a", "b | c d e"]), true)]
#[case::narrow(spec(Order::Graph, &["a b c | d e", "| f g"]), false)]
#[case::relay(relay(&["| c d e"]), false)]
fn task_wider_than_max_parallel_is_refused(#[case] mut spec: WorkplanSpec, #[case] refused: bool) {
    spec.max_parallel = 2.try_into().ok();
    let expected = "spec.tasks[1].ParallelSteps: the 3 steps start at the same time, but spec.maxParallel is 2; ";
    let error = validate(&spec).err().map(|error| error.to_string());
    assert_eq!(error.is_some(), refused, "{error:?}");
    assert!(error.is_none_or(|error| error.starts_with(expected)));
}

#[test]
fn relay_steps_may_depend_on_each_other() {
    let spec = relay(&["| c:b b:a a", "| d:a"]);
    let plan = validate(&spec).unwrap();
    let needs: Vec<_> = (0..plan.steps.len())
        .map(|step| needs(&plan, step))
        .collect();
    assert_eq!(needs, [vec![1], vec![2], vec![], vec![2]]);
    assert!(plan.is_relay(0) && !plan.is_relay(1));
}

#[rstest]
#[case::circle(&["| x a:c b:a c:b"], "spec.tasks[0].ParallelSteps[1].dependency: the steps wait for each other, so none would ever start: a needs c, c needs b, b needs a;")]
#[case::itself(&["| a:a b"], "spec.tasks[0].ParallelSteps[0].dependency[0]: a step cannot depend on itself")]
#[case::tasks(&["| a b:c", "| c:a d"], "spec.tasks[0]: the tasks wait for each other, so none would ever start: spec.tasks[0] needs spec.tasks[1], spec.tasks[1] needs spec.tasks[0];")]
#[case::serial(&["a | b"], "spec.tasks[0].SerialSteps[0].name: with order: Relay all steps must be in ParallelSteps")]
#[case::taken(&["| kubeci-runner a"], "spec.tasks[0].ParallelSteps[0].name: the name \"kubeci-runner\" is reserved")]
fn invalid_relay_is_refused_by_path(#[case] tasks: &[&str], #[case] expected: &str) {
    let error = validate(&relay(tasks)).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn relay_step_needs_commands_unless_alone() {
    let mut alone = relay(&["| a"]);
    alone.tasks[0].parallel_steps[0].commands.clear();
    assert!(validate(&alone).is_ok());
    let mut two = relay(&["| a b"]);
    two.tasks[0].parallel_steps[1].commands.clear();
    let error = validate(&two).unwrap_err();
    assert_eq!(error.path, "spec.tasks[0].ParallelSteps[1].commands");
}

#[rstest]
#[case::sibling(spec(Order::Linear, &["a | b c"]), false)]
#[case::alone(spec(Order::Linear, &["a | c", "| b d"]), true)]
#[case::serial(spec(Order::Graph, &["a c | b d"]), true)]
#[case::relay(relay(&["| a b c"]), true)]
fn timeout_needs_a_pod_without_siblings(#[case] mut spec: WorkplanSpec, #[case] valid: bool) {
    let steps = spec.tasks.iter_mut();
    let mut steps = steps.flat_map(|it| it.serial_steps.iter_mut().chain(&mut it.parallel_steps));
    let step = steps.find(|it| it.name == "c").unwrap();
    step.timeout = Some(std::time::Duration::from_secs(1).into());
    let paths = validate(&spec).map_err(|error| error.path);
    let expected = "spec.tasks[0].ParallelSteps[1].timeout".to_owned();
    assert_eq!(paths.err(), (!valid).then_some(expected));
}

#[test]
fn reserved_variable_is_refused_by_path() {
    let mut plan = spec(Order::Linear, &["a |"]);
    let variable = EnvVar {
        name: "KUBECI_OUTPUT".into(),
        ..Default::default()
    };
    plan.tasks[0].serial_steps[0].env = vec![variable];
    let error = validate(&plan).unwrap_err().to_string();
    let expected =
        "spec.tasks[0].SerialSteps[0].env[0].name: the variable \"KUBECI_OUTPUT\" is reserved";
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case::syntax(Order::Graph, &["a", "c:a"], "steps.a.phase =", "spec.tasks[1].SerialSteps[0].when: column 15: ")]
#[case::no_edge(Order::Graph, &["a", "b", "c:b"], "steps.a.exitCode == 0", "spec.tasks[2].SerialSteps[0].when: the expression names the step \"a\", which")]
#[case::unknown(Order::Relay, &["| c"], "steps.x.exitCode == 0", "spec.tasks[0].ParallelSteps[0].when: the expression names the step \"x\", which")]
#[case::same_pod(Order::Linear, &["a | c:a"], "steps.a.exitCode == 0", "spec.tasks[0].ParallelSteps[0].when: the expression names \"a\", a serial step of")]
#[case::other_pod(Order::Linear, &["a", "b:a | c:a"], "steps.a.exitCode == 0", "")]
#[case::relay(Order::Relay, &["| a c:a"], "steps.a.exitCode == 0", "")]
fn condition_names_steps_that_have_ended(
    #[case] order: Order,
    #[case] tasks: &[&str],
    #[case] condition: &str,
    #[case] expected: &str,
) {
    let mut spec = match order {
        Order::Relay => relay(tasks),
        _ => spec(order, tasks),
    };
    let steps = spec.tasks.iter_mut();
    let mut steps = steps.flat_map(|it| it.serial_steps.iter_mut().chain(&mut it.parallel_steps));
    let step = steps.find(|it| it.name == "c").unwrap();
    step.when = Some(condition.into());
    let error = validate(&spec).map(|_| ()).map_err(|it| it.to_string());
    let error = error.err().unwrap_or_default();
    assert_eq!(error.is_empty(), expected.is_empty(), "{error}");
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn variable_with_several_values_is_refused() {
    let mut plan = spec(Order::Linear, &["a |"]);
    plan.tasks[0].serial_steps[0].env = vec![EnvVar {
        value: Some(String::new()),
        expr: Some("1".into()),
        ..EnvVar::default()
    }];
    let error = validate(&plan).unwrap_err().to_string();
    let expected = "spec.tasks[0].SerialSteps[0].env[0]: the variable has several values";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn plan_with_too_many_steps_is_refused() {
    let task = |task: usize| {
        let chain = (0..500).map(|at| format!("s{task}-{at}:s{task}-{}", at + 1));
        format!("| {} s{task}-500", chain.collect::<Vec<_>>().join(" "))
    };
    let tasks: Vec<String> = (0..20).map(task).collect();
    let tasks: Vec<&str> = tasks.iter().map(String::as_str).collect();
    let error = validate(&relay(&tasks)).unwrap_err().to_string();
    let expected = "spec.tasks: the tasks have 10020 steps, but a Workplan may have at most 500;";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn repeated_dependency_counts_once() {
    let mut twice = step("b");
    twice.dependency = vec!["a".into(), "a".into()];
    let mut spec = spec(Order::Linear, &["a |"]);
    spec.tasks[0].parallel_steps.push(twice);
    assert_eq!(needs(&validate(&spec).unwrap(), 1), [0]);
}
