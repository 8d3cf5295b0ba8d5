use k8s_openapi::api::core::v1::{ResourceRequirements, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubeci_api::{Approval, EnvVar, PodSettings, Retry, Step, WorkflowSpec};
use kubeci_compiler::{Settings, compile_workflow};
use kubeci_plan::{EdgeKind, NamedEdge};
use rstest::rstest;

fn step(name: &str, dependency: &[&str]) -> Step {
    Step {
        name: name.to_owned(),
        image: "alpine".to_owned(),
        dependency: dependency.iter().map(|&name| name.to_owned()).collect(),
        ..Step::default()
    }
}

fn mounting(name: &str, mount_path: &str) -> Step {
    let (name, mount_path) = (name.to_owned(), mount_path.to_owned());
    Step {
        volume_mounts: vec![VolumeMount {
            name,
            mount_path,
            ..VolumeMount::default()
        }],
        ..step("a", &[])
    }
}

fn requesting(resource: &str, quantity: &str) -> Step {
    let requests = Some([(resource.to_owned(), Quantity(quantity.to_owned()))].into());
    Step {
        resources: Some(ResourceRequirements {
            requests,
            ..ResourceRequirements::default()
        }),
        ..step("a", &[])
    }
}

fn setting(variable: &str) -> Step {
    Step {
        env: vec![EnvVar {
            name: variable.to_owned(),
            ..EnvVar::default()
        }],
        ..step("a", &[])
    }
}

fn with_when(step: Step, when: &str) -> Step {
    Step {
        when: Some(when.to_owned()),
        ..step
    }
}

/// A step with a variable whose value is an expression.
fn with_expr(step: Step, value: Option<&str>, expr: &str) -> Step {
    let variable = EnvVar {
        name: "A".to_owned(),
        value: value.map(ToOwned::to_owned),
        expr: Some(expr.to_owned()),
        ..EnvVar::default()
    };
    Step {
        env: vec![EnvVar::default(), variable],
        ..step
    }
}

/// A step with these edges, such as `"a,b.failed"`.
fn waiting(name: &str, edges: &str, allow_failure: bool) -> Step {
    let edges = edges.split(',').filter(|it| !it.is_empty());
    let mut step = Step {
        allow_failure,
        ..step(name, &[])
    };
    for edge in edges.map(NamedEdge::parse) {
        let list = match edge.kind {
            EdgeKind::OnSuccess | EdgeKind::OnRun => &mut step.dependency,
            EdgeKind::OnFailure => &mut step.on_failure,
            EdgeKind::OnEnd => &mut step.after,
        };
        list.push(edge.from.to_owned());
    }
    step
}

fn messages(steps: Vec<Step>, volumes: &[&str]) -> Vec<String> {
    let volume = |&name: &&str| Volume {
        name: name.to_owned(),
        ..Volume::default()
    };
    let pod = PodSettings {
        volumes: volumes.iter().map(volume).collect(),
        ..PodSettings::default()
    };
    let workflow = WorkflowSpec {
        steps,
        pod,
        ..WorkflowSpec::default()
    };
    let errors = compile_workflow(&workflow, &Settings::default()).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[rstest]
#[case::no_steps(vec![], &["spec.steps: there are no steps; add at least one, with a name and an image"])]
#[case::too_many((0..501).map(|at| step(&format!("s{at}"), &[])).collect(), &["spec.steps: there are 501 steps, but a Workflow may have at most 500; split it into several Workflows"])]
#[case::reserved_variable(vec![setting("KUBECI_STEP")], &["spec.steps[0].env[0].name (step \"a\"): the variable \"KUBECI_STEP\" is reserved: kubeci sets the variables that begin with `KUBECI_`; use another name"])]
#[case::reserved_name(vec![step("kubeci-workspace", &[])], &["spec.steps[0].name (step \"kubeci-workspace\"): the name \"kubeci-workspace\" is reserved; use another name"])]
#[case::reserved_runner(vec![step("kubeci-runner", &[])], &["spec.steps[0].name (step \"kubeci-runner\"): the name \"kubeci-runner\" is reserved; use another name"])]
#[case::no_name(vec![step("", &[])], &["spec.steps[0].name: the step has no name; add one, such as `build`"])]
#[case::capitals(vec![step("Run_Tests", &[])], &[r#"spec.steps[0].name (step "Run_Tests"): "Run_Tests" is not a valid name: use lower-case letters, digits and `-`, at most 63, with a letter or digit first and last, such as `run-tests`"#])]
#[case::long_name(vec![step(&"a".repeat(64), &[])], &[r#"spec.steps[0].name (step "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"): "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" is not a valid name: use lower-case letters, digits and `-`, at most 63, with a letter or digit first and last, such as `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`"#])]
#[case::nothing_like_a_name(vec![step("__", &[])], &[r#"spec.steps[0].name (step "__"): "__" is not a valid name: use lower-case letters, digits and `-`, at most 63, with a letter or digit first and last"#])]
#[case::dash_first(vec![step("-a", &[])], &[r#"spec.steps[0].name (step "-a"): "-a" is not a valid name: use lower-case letters, digits and `-`, at most 63, with a letter or digit first and last, such as `a`"#])]
#[case::not_ascii(vec![step("größe", &[])], &[r#"spec.steps[0].name (step "größe"): "größe" is not a valid name: use lower-case letters, digits and `-`, at most 63, with a letter or digit first and last, such as `gr--e`"#])]
#[case::duplicate_name(vec![step("a", &[]), step("b", &[]), step("a", &[])], &[r#"spec.steps[2].name (step "a"): spec.steps[0].name is "a", too; rename one of the steps"#])]
#[case::approval_with_image(vec![Step { approval: Some(Approval::default()), ..step("a", &[]) }], &[r#"spec.steps[0].image (step "a"): an approval runs no container; remove this field, or remove `approval`"#])]
#[case::approval_with_retry(vec![Step { approval: Some(Approval::default()), image: String::new(), retry: Some(Retry::default()), ..step("a", &[]) }], &[r#"spec.steps[0].retry (step "a"): an approval runs no container; remove this field, or remove `approval`"#])]
#[case::no_image(vec![Step { image: " ".to_owned(), ..step("a", &[]) }], &[r#"spec.steps[0].image (step "a"): the step has no image; add the container image to run, such as `alpine`"#])]
#[case::misspelt(vec![step("compile", &[]), step("deploy", &[]), step("test", &["complie"])], &[r#"spec.steps[2].dependency[0] (step "test"): there is no step "complie"; did you mean "compile"?"#])]
#[case::unknown(vec![step("build", &[]), step("test", &["lint"])], &[r#"spec.steps[1].dependency[0] (step "test"): there is no step "lint"; use the name of a step of this Workflow"#])]
#[case::empty_dependency(vec![step("build", &[""])], &[r#"spec.steps[0].dependency[0] (step "build"): there is no step ""; use the name of a step of this Workflow"#])]
#[case::twice(vec![step("a", &[]), step("b", &[]), step("c", &["a", "b", "a"])], &[r#"spec.steps[2].dependency[2] (step "c"): "a" is already in spec.steps[2].dependency[0]; remove it here"#])]
#[case::itself(vec![step("a", &[]), step("b", &["a", "b"])], &[r#"spec.steps[1].dependency[1] (step "b"): the step waits for itself, so it would never start; remove its own name here"#])]
#[case::own_failure(vec![waiting("a", "a.failed", false)], &[r#"spec.steps[0].onFailure[0] (step "a"): the step waits for itself, so it would never start; remove its own name here"#])]
#[case::unknown_end(vec![step("build", &[]), waiting("a", "build,biuld.ended", false)], &[r#"spec.steps[1].after[0] (step "a"): there is no step "biuld"; did you mean "build"?"#])]
#[case::twice_after(vec![step("a", &[]), waiting("b", "a,a.ended,a.ended", false)], &[r#"spec.steps[1].after[1] (step "b"): "a" is already in spec.steps[1].after[0]; remove it here"#])]
#[case::allowed_failure(vec![waiting("a", "", true), waiting("b", "a.failed", false)], &[r#"spec.steps[1].onFailure[0] (step "b"): "a" has `allowFailure: true`, so its failure counts as completion and this step would never start; use `after`, or remove `allowFailure` from "a""#])]
#[case::contradiction(vec![step("a", &[]), waiting("b", "a,a.failed", false)], &[r#"spec.steps[1].onFailure[0] (step "b"): the step waits for "a" to complete and to fail, so it would never start; remove one of both, or use `after` to run it in any case"#])]
#[case::contradiction_through_others(vec![step("a", &[]), waiting("b", "a.failed", false), waiting("c", "a,b", false)], &[r#"spec.steps[2].dependency[0] (step "c"): the step waits for "a" to complete and to fail, directly or through other steps, so it would never start; remove one of both, or use `after` to run it in any case"#])]
#[case::cycle_through_failure(vec![waiting("a", "b.ended", false), waiting("b", "a.failed", false)], &[r#"spec.steps[0].after[0] (step "a"): the steps wait for each other, so none would ever start: a needs b, b needs a; remove one of these dependencies"#])]
#[case::cycle_of_two(vec![step("a", &["b"]), step("b", &["a"])], &[r#"spec.steps[0].dependency[0] (step "a"): the steps wait for each other, so none would ever start: a needs b, b needs a; remove one of these dependencies"#])]
#[case::shortest_cycle(
    vec![step("a", &["b"]), step("b", &["c"]), step("c", &["a", "d"]), step("d", &["c"]), step("after", &["a"])],
    &[r#"spec.steps[2].dependency[1] (step "c"): the steps wait for each other, so none would ever start: c needs d, d needs c; remove one of these dependencies"#]
)]
#[case::two_cycles(
    vec![step("a", &["b"]), step("b", &["a"]), step("x", &["a", "z"]), step("y", &["x"]), step("z", &["y"])],
    &[r#"spec.steps[0].dependency[0] (step "a"): the steps wait for each other, so none would ever start: a needs b, b needs a; remove one of these dependencies"#, r#"spec.steps[2].dependency[1] (step "x"): the steps wait for each other, so none would ever start: x needs z, z needs y, y needs x; remove one of these dependencies"#]
)]
#[case::syntax(vec![with_when(step("a", &[]), "1 +")], &["spec.steps[0].when (step \"a\"): column 4: found the end, expected a value or a name"])]
#[case::type_(vec![with_when(step("a", &[]), "event.name")], &["spec.steps[0].when (step \"a\"): column 6: the condition is a string, not a boolean; compare it, as in a == b"])]
#[case::params(vec![with_when(step("a", &[]), "params.x == 1")], &["spec.steps[0].when (step \"a\"): column 1: there is no params; the names are steps, event, workflow, workplan"])]
#[case::no_edge(vec![step("a", &[]), step("b", &[]), with_when(step("c", &["b"]), "steps.a.exitCode == 0")], &[r#"spec.steps[2].when (step "c"): the expression names the step "a", which the step does not wait for; add "a" to `dependency`, `onFailure` or `after` of this step"#])]
#[case::misspelt_name(vec![step("build", &[]), with_expr(step("b", &["build"]), None, "steps.biuld.phase")], &[r#"spec.steps[1].env[1].expr (step "b"): there is no step "biuld"; did you mean "build"?"#])]
#[case::names_itself(vec![with_when(step("a", &[]), "steps.a.exitCode == 0")], &[r#"spec.steps[0].when (step "a"): the expression names its own step, which has not run; name a step that this step waits for"#])]
#[case::several_values(vec![with_expr(step("a", &[]), Some(""), "[]")], &["spec.steps[0].env[1] (step \"a\"): the variable has several values; remove all but one of `value`, `valueFrom` and `expr`", "spec.steps[0].env[1].expr (step \"a\"): column 1: the expression is a list; it must be a string, a number or a boolean"])]
#[case::quantity(vec![requesting("memory", "1 GB")], &[r#"spec.steps[0].resources.requests[memory] (step "a"): "1 GB" is not a resource quantity; use one such as `500m`, `2` or `1.5Gi`"#])]
#[case::negative(vec![requesting("cpu", "-1")], &[r#"spec.steps[0].resources.requests[cpu] (step "a"): "-1" is not a resource quantity; use one such as `500m`, `2` or `1.5Gi`"#])]
#[case::over_the_workspace(vec![mounting("data", "/kubeci")], &[r#"spec.steps[0].volumeMounts[0].mountPath (step "a"): "/kubeci" is reserved: the shared folder is mounted at `/kubeci` in every step; use another mountPath"#])]
#[case::in_the_workspace(vec![mounting("data", "/tmp/../kubeci//cache/")], &[r#"spec.steps[0].volumeMounts[0].mountPath (step "a"): "/tmp/../kubeci//cache/" is reserved: the shared folder is mounted at `/kubeci` in every step; use another mountPath"#])]
#[case::relative(vec![mounting("data", "kubeci")], &[r#"spec.steps[0].volumeMounts[0].mountPath (step "a"): "kubeci" is reserved: the shared folder is mounted at `/kubeci` in every step; use another mountPath"#])]
#[case::workspace_by_hand(vec![mounting("kubeci-workspace", "/work")], &[r#"spec.steps[0].volumeMounts[0].name (step "a"): the volume name `kubeci-workspace` is reserved: the shared folder is mounted at `/kubeci` in every step; use another name, or remove the volume"#])]
#[case::misspelt_volume(vec![mounting("daat", "/work")], &[r#"spec.steps[0].volumeMounts[0].name (step "a"): spec.volumes has no volume "daat"; did you mean "data"?"#])]
#[case::unknown_volume(vec![mounting("cache", "/work")], &[r#"spec.steps[0].volumeMounts[0].name (step "a"): spec.volumes has no volume "cache"; add it to spec.volumes"#])]
#[case::all_of_it(
    vec![
        Step { image: String::new(), ..step("A", &["a", "nothing", "nothing"]) },
        mounting("other", "/kubeci"),
        step("c", &["d"]),
        step("d", &["c"]),
    ],
    &[r#"spec.steps[0].name (step "A"): "A" is not a valid name: use lower-case letters, digits and `-`, at most 63, with a letter or digit first and last, such as `a`"#, r#"spec.steps[0].image (step "A"): the step has no image; add the container image to run, such as `alpine`"#, r#"spec.steps[0].dependency[1] (step "A"): there is no step "nothing"; use the name of a step of this Workflow"#, r#"spec.steps[0].dependency[2] (step "A"): "nothing" is already in spec.steps[0].dependency[1]; remove it here"#, r#"spec.steps[1].volumeMounts[0].mountPath (step "a"): "/kubeci" is reserved: the shared folder is mounted at `/kubeci` in every step; use another mountPath"#, r#"spec.steps[2].dependency[0] (step "c"): the steps wait for each other, so none would ever start: c needs d, d needs c; remove one of these dependencies"#, r#"spec.steps[1].volumeMounts[0].name (step "a"): spec.volumes has no volume "other"; add it to spec.volumes"#]
)]
fn error_names_field_problem_and_fix(#[case] steps: Vec<Step>, #[case] expected: &[&str]) {
    assert_eq!(messages(steps, &["data"]), expected);
}

#[rstest]
#[case::twice(&["data", "cache", "data"], &[r#"spec.volumes[2].name: spec.volumes[0].name is "data", too; rename one of the volumes"#])]
#[case::reserved(&["kubeci-workspace"], &["spec.volumes[0].name: the volume name `kubeci-workspace` is reserved: the shared folder is mounted at `/kubeci` in every step; use another name, or remove the volume"])]
#[case::relay(&["kubeci-relay"], &["spec.volumes[0].name: the volume name `kubeci-relay` is reserved for relay pods; use another name"])]
fn volume_error_names_field_problem_and_fix(#[case] volumes: &[&str], #[case] expected: &[&str]) {
    assert_eq!(messages(vec![step("a", &[])], volumes), expected);
}

#[rstest]
fn unusual_but_valid_step_is_accepted(
    #[values("/", "/kubeci2", "/home/kubeci", "/kubeci/../x")] mount_path: &str,
    #[values(
        "a",
        "0",
        "a-b",
        "a0-9",
        "a-very-long-name-that-is-just-as-long-as-a-label-may-be-0123456"
    )]
    name: &str,
) {
    let step = Step {
        name: name.to_owned(),
        ..mounting("data", mount_path)
    };
    let volume = Volume {
        name: "data".to_owned(),
        ..Volume::default()
    };
    let pod = PodSettings {
        volumes: vec![volume],
        ..PodSettings::default()
    };
    let workflow = WorkflowSpec {
        steps: vec![step],
        pod,
        ..WorkflowSpec::default()
    };
    assert!(compile_workflow(&workflow, &Settings::default()).is_ok());
}

#[rstest]
#[case::name(step("build", &[]), &[r#"spec.finally[0].name (step "build"): spec.steps[0].name is "build", too; rename one of the steps"#])]
#[case::main(waiting("report", "build,test.ended", false), &[
    r#"spec.finally[0].dependency[0] (step "report"): "build" is in spec.steps, and has ended when the steps of spec.finally start, in whatever way; remove it here"#,
    r#"spec.finally[0].after[0] (step "report"): "test" is in spec.steps, and has ended when the steps of spec.finally start, in whatever way; remove it here"#,
])]
#[case::unknown(step("report", &["biuld"]), &[r#"spec.finally[0].dependency[0] (step "report"): there is no step "biuld"; did you mean "build"?"#])]
#[case::itself(step("report", &["report"]), &[r#"spec.finally[0].dependency[0] (step "report"): the step waits for itself, so it would never start; remove its own name here"#])]
#[case::no_image(Step { image: String::new(), ..step("report", &[]) }, &[r#"spec.finally[0].image (step "report"): the step has no image; add the container image to run, such as `alpine`"#])]
#[case::volume(Step { name: "report".to_owned(), ..mounting("cache", "/work") }, &[r#"spec.finally[0].volumeMounts[0].name (step "report"): spec.volumes has no volume "cache"; add it to spec.volumes"#])]
fn error_of_final_step_names_its_field(#[case] finally: Step, #[case] expected: &[&str]) {
    let steps = vec![step("build", &[]), step("test", &["build"])];
    assert_eq!(messages_of(steps, vec![finally]), expected);
}

#[test]
fn main_step_cannot_wait_for_a_final_one() {
    let steps = vec![step("build", &["report"])];
    let expected = r#"spec.steps[0].dependency[0] (step "build"): "report" is in spec.finally, and starts when all steps of spec.steps have ended; remove it here, or move this step to spec.finally"#;
    assert_eq!(messages_of(steps, vec![step("report", &[])]), [expected]);
}

fn messages_of(steps: Vec<Step>, finally: Vec<Step>) -> Vec<String> {
    let workflow = WorkflowSpec {
        steps,
        finally,
        ..WorkflowSpec::default()
    };
    let errors = compile_workflow(&workflow, &Settings::default()).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}
