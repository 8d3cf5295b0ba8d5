use kubeci_plan::{ExpressionTexts, NamedEdge, StepSpec, TaskSpec};
use rstest::rstest;

use super::*;

/// Tasks in short: `"a | b:a c!:a.failed"` has the serial step `a` and two parallel ones with edges, of which one may
/// fail.
fn plan<'a>(order: Order, tasks: &[&'a str]) -> Plan<'a> {
    let step = |text: &'a str| {
        let (name, edges) = text.split_once(':').unwrap_or((text, ""));
        let edges = edges.split(',').filter(|name| !name.is_empty());
        StepSpec {
            name: name.trim_end_matches('!'),
            edges: edges.map(NamedEdge::parse).collect(),
            allow_failure: name.ends_with('!'),
            is_final: name.starts_with(char::is_uppercase),
            is_approval: name.starts_with('g'),
            retry: None,
            expressions: ExpressionTexts {
                when: name.starts_with('w').then_some("false"),
                ..ExpressionTexts::default()
            },
        }
    };
    let steps = |text: &'a str| text.split_whitespace().map(step).collect();
    let task = |text: &&'a str| {
        let (serial, parallel) = text.split_once('|').unwrap_or((text, ""));
        TaskSpec {
            serial: steps(serial),
            parallel: steps(parallel),
        }
    };
    Plan::new(order, tasks.iter().map(task)).unwrap()
}

/// The steps with phases by their first letters; `x` is a step that was skipped for its condition.
fn recorded(plan: &Plan, phases: &str) -> Vec<StepStatus> {
    let steps = plan.steps.iter().zip(phases.chars());
    let status = |(step, phase): (&kubeci_plan::PlanStep, char)| StepStatus {
        name: step.name.to_owned(),
        phase: match phase {
            'c' => StepPhase::Completed,
            'f' => StepPhase::Failed,
            's' | 'x' => StepPhase::Skipped,
            'r' => StepPhase::Running,
            _ => StepPhase::Pending,
        },
        message: (phase == 'x').then(|| condition_is_false("false")),
        pod: Some("x-0".into()),
        container: Some(step.name.to_owned()),
        exit_code: Some(0),
        outputs: [("key".to_owned(), step.name.to_owned())].into(),
        approved_by: step.is_approval.then(|| "jane".to_owned()),
        ..StepStatus::default()
    };
    steps.map(status).collect()
}

/// The names of the steps that run again.
fn again(order: Order, tasks: &[&str], phases: &str, from: &str) -> Result<String, TakeOverError> {
    let plan = plan(order, tasks);
    let from = RerunFrom::from(from.to_owned());
    let steps = take_over(&plan, &recorded(&plan, phases), "x", &from)?;
    let again = steps.iter().filter(|it| it.phase == StepPhase::Pending);
    let names: Vec<&str> = again.map(|it| it.name.as_str()).collect();
    Ok(names.join(" "))
}

#[rstest]
#[case::failed(&["a", "b:a", "c:a"], "cfc", "b")]
#[case::skipped_behind(&["a", "b:a", "c:b", "d:a"], "cfsc", "b c")]
#[case::not_started(&["a", "b:a"], "sp", "a b")]
#[case::no_status(&["a", "b:a"], "", "a b")]
#[case::after_a_failure(&["a", "b:a.failed", "c:a.ended", "d"], "fccc", "a b c")]
#[case::skipped_by_edge(&["a", "b:a.failed", "c:b.ended", "d"], "cscf", "b d")]
#[case::skipped_by_the_end(&["a", "b", "c:b.ended"], "fsc", "a b c")]
#[case::skipped_by_condition(&["a", "w:a", "c:w.ended", "d"], "cxcf", "w d")]
#[case::final_step(&["a", "b", "F", "G:F"], "cfcc", "b F G")]
#[case::failed_final_step(&["a", "b", "F", "G:F", "H"], "ccfsc", "F G H")]
#[case::rejected(&["a", "g:a", "b:g", "c:a"], "cfsc", "g b")]
#[case::approved(&["a", "g:a", "b:g"], "ccf", "b")]
#[case::allowed_failure(&["a!", "b:a", "c:b"], "fcf", "c")]
fn failed_steps_and_followers_run_again(
    #[case] tasks: &[&str],
    #[case] phases: &str,
    #[case] expected: &str,
) {
    assert_eq!(
        again(Order::Graph, tasks, phases, "Failed").unwrap(),
        expected
    );
}

#[rstest]
#[case::graph(Order::Graph, &["a", "b:a", "c"], "ccc", "a", "a b")]
#[case::linear(Order::Linear, &["a", "b", "c"], "ccc", "b", "b c")]
#[case::same_task(Order::Linear, &["| a b", "c"], "ccc", "a", "a c")]
#[case::chain(Order::Graph, &["a b | c", "d"], "cccc", "b", "b c")]
#[case::relay(Order::Relay, &["| a b:a c"], "ccc", "a", "a b")]
#[case::with_failed(Order::Graph, &["a", "b:a", "c"], "ccf", "b", "b c")]
#[case::last(Order::Graph, &["a", "b:a"], "cc", "b", "b")]
#[case::final_step(Order::Graph, &["a", "F", "G"], "ccc", "G", "F G")]
fn named_step_and_followers_run_again(
    #[case] order: Order,
    #[case] tasks: &[&str],
    #[case] phases: &str,
    #[case] from: &str,
    #[case] expected: &str,
) {
    assert_eq!(again(order, tasks, phases, from).unwrap(), expected);
}

#[test]
fn impossible_rerun_is_an_error() {
    let tasks = ["a", "b!"];
    let nothing = again(Order::Graph, &tasks, "cf", "Failed").unwrap_err();
    assert!(nothing.to_string().contains("spec.rerun.from"), "{nothing}");
    let unknown = again(Order::Graph, &tasks, "cf", "c").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "x has no step \"c\"; it has the steps a, b"
    );
}

#[test]
fn step_is_taken_over_without_its_pod() {
    let plan = plan(Order::Graph, &["g", "b:g"]);
    let recorded = recorded(&plan, "cf");
    let steps = take_over(&plan, &recorded, "x", &RerunFrom::Failed).unwrap();
    let expected = StepStatus {
        pod: None,
        container: None,
        message: Some("taken over from x".into()),
        taken_over_from: Some("x".into()),
        ..recorded[0].clone()
    };
    assert_eq!(steps[0], expected);
    let read = crate::Steps::read(&plan, &steps);
    assert_eq!(read.status(), steps);
    assert!(!read.all()[0].has_started() && !read.all()[0].has_run());
}
