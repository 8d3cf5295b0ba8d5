//! The expressions of the steps of a pod. The engine evaluates them before the pod is created; in a relay the step
//! runner does so when the edges to its step hold.

use std::collections::BTreeSet;

use kubeci_api::{Step, Task, Workplan};
use kubeci_engine::Steps;
use kubeci_plan::Plan;

use crate::expression_values;

pub struct Expressions<'a> {
    workplan: &'a Workplan,
    plan: &'a Plan<'a>,
    steps: &'a Steps<'a>,
    left_out: BTreeSet<&'a str>,
}

impl<'a> Expressions<'a> {
    /// Those of a task.
    pub fn new(
        workplan: &'a Workplan,
        plan: &'a Plan<'a>,
        steps: &'a Steps<'a>,
        task: usize,
    ) -> Self {
        let left_out = steps.left_out(task).into_iter();
        Self {
            workplan,
            plan,
            steps,
            left_out: left_out.map(|at| plan.steps[at].name).collect(),
        }
    }

    /// Whether the pod has a container for a step.
    pub fn admit(&self, step: &Step) -> bool {
        !self.left_out.contains(step.name.as_str())
    }

    /// The steps of a task with the values of their variables.
    pub fn with_values(&self, mut task: Task) -> Task {
        for step in task.serial_steps.iter_mut().chain(&mut task.parallel_steps) {
            let values = self.position(&step.name).map(|at| self.steps.variables(at));
            for (position, value) in values.into_iter().flatten() {
                if let Some(variable) = step.env.get_mut(position) {
                    variable.value = Some(literal(&value));
                    variable.expr = None;
                }
            }
        }
        task
    }

    /// The arguments of the step runner for a step.
    pub fn arguments(&self, step: &str) -> Vec<String> {
        let Some(at) = self.position(step) else {
            return Vec::new();
        };
        let expressions = &self.plan.steps[at].expressions;
        let when = expressions.when.iter();
        let when = when.map(|it| ("--when", it.text().to_owned()));
        let variables = expressions.variables.iter();
        let variables = variables.map(|it| ("--set", format!("{}={}", it.name, it.value.text())));
        let named = self.steps.named_values(at).into_iter();
        let named = named.map(|(name, values)| ("--step-values", format!("{name}={values}")));
        let roots = expressions.roots();
        let values = expression_values::values(self.workplan).into_iter();
        let values = values.filter(|(name, _)| roots.contains(name));
        let values = values.map(|(name, value)| ("--values", format!("{name}={value}")));
        let arguments = when.chain(variables).chain(named).chain(values);
        arguments
            .flat_map(|(option, text)| [option.to_owned(), literal(&text)])
            .collect()
    }

    fn position(&self, step: &str) -> Option<usize> {
        let mut steps = self.plan.steps.iter();
        steps.position(|it| it.name == step)
    }
}

/// The text as Kubernetes does not change it: it expands `$(NAME)` in commands and variables.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use kubeci_api::{EnvVar, Order, StepStatus};
    use serde_json::json;

    use crate::pod_builder::Placement;
    use crate::testing::pod::{FIRST, later, names, spec};
    use crate::testing::{relay, workplan, workplan_of};

    fn variable(name: &str, expr: &str) -> EnvVar {
        EnvVar {
            name: name.into(),
            expr: Some(expr.into()),
            ..EnvVar::default()
        }
    }

    fn ended_a() -> StepStatus {
        let outputs = json!({"x": "$(PATH)"});
        let step = json!({"name": "a", "phase": "completed", "exitCode": 0, "outputs": outputs});
        serde_json::from_value(step).unwrap()
    }

    #[test]
    fn variable_with_expression_has_its_value() {
        let mut plan = workplan(Order::Linear, &["a", "b:a"]);
        let env = vec![
            variable("X", "steps.a.outputs.x"),
            variable("N", "steps.a.exitCode + 1"),
        ];
        plan.spec.tasks[1].serial_steps[0].env = env;
        let steps = [ended_a()];
        let placement = Placement {
            steps: &steps,
            ..later("n1")
        };
        let spec = spec(&plan, 1, placement);
        let env = spec.containers[0].env.iter().flatten();
        let env: Vec<_> = env
            .map(|it| (it.name.as_str(), it.value.as_deref()))
            .skip(5)
            .collect();
        assert_eq!(env, [("X", Some("$$(PATH)")), ("N", Some("1"))]);
    }

    #[test]
    fn pod_has_no_step_that_does_not_run() {
        let mut plan = workplan(Order::Linear, &["a", "b c:a,b | d:c e:b"]);
        plan.spec.tasks[1].serial_steps[1].when = Some("steps.a.exitCode == 3".into());
        plan.spec.tasks[1].parallel_steps[1].env = vec![variable("X", "1 / 0")];
        let steps = [ended_a()];
        let placement = Placement {
            steps: &steps,
            ..later("n1")
        };
        let spec = spec(&plan, 1, placement);
        assert_eq!(names(spec.init_containers.as_ref()), [""; 0]);
        assert_eq!(names(Some(&spec.containers)), ["b"]);
    }

    #[test]
    fn step_runner_gets_expressions_and_values() {
        let mut plan = workplan_of(relay(&["| a", "| b:a c:a,b"]));
        let step = &mut plan.spec.tasks[1].parallel_steps[1];
        step.when = Some("steps.b.phase == steps.a.phase".into());
        step.env = vec![
            variable("X", "'$' + workplan.name"),
            EnvVar {
                name: "Y".into(),
                ..EnvVar::default()
            },
        ];
        let steps = [ended_a()];
        let placement = Placement {
            steps: &steps,
            ..FIRST
        };
        let spec = spec(&plan, 1, placement);
        let command = spec.containers[2].command.iter().flatten();
        let words = command.skip_while(|it| *it != "--when");
        let words: Vec<_> = words.take(8).map(String::as_str).collect();
        let expected = [
            "--when",
            "steps.b.phase == steps.a.phase",
            "--set",
            "X='$$' + workplan.name",
            "--step-values",
            r#"a={"exitCode": 0, "outputs": {"x": "$$(PATH)"}, "phase": "completed"}"#,
            "--values",
            r#"workplan={"name": "plan", "namespace": "ns"}"#,
        ];
        assert_eq!(words, expected);
        let env = spec.containers[2].env.iter().flatten();
        let own: Vec<_> = env.map(|it| it.name.as_str()).skip(4).collect();
        assert_eq!(own, ["Y"]);
    }
}
