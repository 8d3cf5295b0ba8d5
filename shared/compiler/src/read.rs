//! Steps and tasks of the API as a plan. Nothing else reads which steps a step depends on.

use std::collections::HashSet;
use std::time::Duration;

use kubeci_api::{Order, RetryOn, Step, Task};
use kubeci_plan::{
    Backoff, Edge, EdgeKind, ExpressionTexts, FailureKind, Graph, NamedEdge, Plan, PlanError,
    RetryPolicy, StepNames, StepSpec, TaskSpec, VariableText, final_edges,
};

/// The edges to a step, as its fields state them.
pub fn edges_to(step: &Step) -> impl Iterator<Item = NamedEdge<&str>> + Clone {
    let lists = fields(step).into_iter();
    lists.flat_map(|(_, kind, names)| {
        let names = names.iter().map(String::as_str);
        names.map(move |from| NamedEdge { from, kind })
    })
}

/// The field that states an edge, by the position among the edges to its step.
#[must_use]
pub fn edge_field(step: &Step, position: usize) -> String {
    let mut index = position;
    for (field, _, names) in fields(step) {
        match index.checked_sub(names.len()) {
            None => return format!("{field}[{index}]"),
            Some(rest) => index = rest,
        }
    }
    "dependency".to_owned()
}

/// The field that has an edge of this kind.
const fn field_of(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::OnSuccess | EdgeKind::OnRun => "dependency",
        EdgeKind::OnFailure => "onFailure",
        EdgeKind::OnEnd => "after",
    }
}

/// The fields with edges, each with the kind of its edges.
fn fields(step: &Step) -> [(&'static str, EdgeKind, &[String]); 3] {
    let lists = [
        (EdgeKind::OnSuccess, step.dependency.as_slice()),
        (EdgeKind::OnFailure, step.on_failure.as_slice()),
        (EdgeKind::OnEnd, step.after.as_slice()),
    ];
    lists.map(|(kind, names)| (field_of(kind), kind, names))
}

/// The first field of an approval that only a step with a container can have.
#[must_use]
pub fn container_field(step: &Step) -> Option<&'static str> {
    step.approval.as_ref()?;
    let fields = [
        ("image", !step.image.is_empty()),
        ("commands", !step.commands.is_empty()),
        ("args", !step.args.is_empty()),
        ("isolate", step.isolate),
        ("retry", step.retry.is_some()),
        ("env", !step.env.is_empty()),
        ("envFrom", !step.env_from.is_empty()),
        ("resources", step.resources.is_some()),
        ("workingDir", step.working_dir.is_some()),
        ("imagePullPolicy", step.image_pull_policy.is_some()),
        ("securityContext", step.security_context.is_some()),
        ("volumeMounts", !step.volume_mounts.is_empty()),
    ];
    let set = fields.into_iter().find(|(_, is_set)| *is_set);
    set.map(|(field, _)| field)
}

/// When a step is attempted again after it has failed.
#[must_use]
pub fn retry_policy(step: &Step) -> Option<RetryPolicy> {
    const LONGEST_PAUSE: Duration = Duration::from_mins(5);
    let retry = step.retry.as_ref()?;
    let backoff = retry.backoff.clone().unwrap_or_default();
    let written = |duration: Option<kube::core::Duration>| duration.map(Duration::from);
    let kinds = retry.on.iter().map(|kind| match kind {
        RetryOn::Failure => FailureKind::Failure,
        RetryOn::Timeout => FailureKind::Timeout,
        RetryOn::OomKilled => FailureKind::OomKilled,
        RetryOn::Infrastructure => FailureKind::Infrastructure,
    });
    let mut on: Vec<FailureKind> = kinds.collect();
    if on.is_empty() {
        on.extend(
            FailureKind::ALL
                .iter()
                .filter(|it| **it != FailureKind::Infrastructure),
        );
    }
    Some(RetryPolicy {
        limit: retry.limit,
        backoff: Backoff {
            initial: written(backoff.initial).unwrap_or_default(),
            factor: backoff.factor.unwrap_or(2),
            max: written(backoff.max).unwrap_or(LONGEST_PAUSE),
        },
        on,
        exit_codes: retry.exit_codes.clone(),
    })
}

/// The condition of a step, and the expressions of its environment variables.
pub(crate) fn expressions(step: &Step) -> ExpressionTexts<'_> {
    let variables = step.env.iter().enumerate();
    let variables = variables.filter_map(|(position, variable)| {
        Some(VariableText {
            position,
            name: &variable.name,
            text: variable.expr.as_deref()?,
        })
    });
    ExpressionTexts {
        when: step.when.as_deref(),
        variables: variables.collect(),
    }
}

/// The plan of a Workplan's tasks, which may be written by hand, with the names of the final steps.
///
/// # Errors
/// The first reason why the tasks cannot run.
pub fn read_plan<'a>(
    order: Order,
    tasks: &'a [Task],
    finally: &[String],
) -> Result<Plan<'a>, PlanError> {
    let finally: HashSet<&str> = finally.iter().map(String::as_str).collect();
    let step = |step: &'a Step| StepSpec {
        is_final: finally.contains(step.name.as_str()),
        name: step.name.as_str(),
        edges: edges_to(step).collect(),
        retry: retry_policy(step),
        allow_failure: step.allow_failure,
        expressions: expressions(step),
        is_approval: step.approval.is_some(),
    };
    let task = |task: &'a Task| TaskSpec {
        serial: task.serial_steps.iter().map(step).collect(),
        parallel: task.parallel_steps.iter().map(step).collect(),
    };
    Plan::new(plan_order(order), tasks.iter().map(task))
}

/// Whether the steps of a task start each other inside their pod.
#[must_use]
pub fn is_relay(order: Order, task: &Task) -> bool {
    plan_order(order).is_relay(task.steps().count())
}

/// The tasks, each after those that have surely ended before it starts; without edges if they cannot run.
pub(crate) fn precedence(order: Order, tasks: &[Task], finally: &[String]) -> Graph {
    read_plan(order, tasks, finally).map_or_else(
        |_| Graph::without_edges(tasks.len()),
        |plan| plan.precedence(),
    )
}

/// The steps of a task, each after those of the task that have surely ended before it starts; without edges if they
/// cannot run.
pub(crate) fn precedence_inside(task: &Task, finally: &[String]) -> Graph {
    let steps: Vec<&Step> = task.steps().collect();
    let names = names(steps.iter().copied());
    let is_inside = |edge: &NamedEdge<&str>| names.get(edge.from).is_some();
    let edges = steps.iter().enumerate().flat_map(|(at, step)| {
        let inside = edges_to(step).filter(is_inside);
        names.resolve(at, inside).flatten()
    });
    let mut edges: Vec<Edge> = edges.collect();
    let is_final = |step: usize| finally.contains(&steps[step].name);
    let has_condition = |step: usize| steps[step].when.is_some();
    edges.extend(final_edges(steps.len(), is_final, &edges, has_condition));
    let graph = Graph::of_steps(steps.len(), edges, has_condition);
    graph.map_or_else(
        |_| Graph::without_edges(steps.len()),
        |graph| graph.transitive(),
    )
}

/// The names of steps, and whose failure is allowed.
pub(crate) fn names<'a>(steps: impl Iterator<Item = &'a Step> + Clone) -> StepNames<'a> {
    let allowed = steps.clone().enumerate();
    let allowed = allowed.filter_map(|(at, step)| step.allow_failure.then_some(at));
    let names: StepNames = steps.map(|step| step.name.as_str()).collect();
    names.allowing_failure(allowed)
}

fn plan_order(order: Order) -> kubeci_plan::Order {
    match order {
        Order::Linear => kubeci_plan::Order::Linear,
        Order::Graph => kubeci_plan::Order::Graph,
        Order::Relay => kubeci_plan::Order::Relay,
    }
}
