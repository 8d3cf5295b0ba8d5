//! Workplans for tests, in short: `"a | b:a c:a"` is a task with the serial step `a` and two parallel
//! steps that depend on it. `b:a.failed` runs if `a` fails, `b:a.ended` after it, `b!` may fail, and `b?` is an
//! approval.

pub mod pod;

use kube::Resource;
use kubeci_api::{Approval, Order, Step, Task, Workplan, WorkplanSpec};
use kubeci_plan::{EdgeKind, NamedEdge};

pub fn step(text: &str) -> Step {
    let (name, edges) = text.split_once(':').unwrap_or((text, ""));
    let approval = name.ends_with('?').then(Approval::default);
    let mut step = Step {
        name: name.trim_end_matches(['!', '?']).into(),
        image: approval.as_ref().map_or("alpine", |_| "").into(),
        approval,
        allow_failure: name.ends_with('!'),
        ..Step::default()
    };
    for edge in edges.split(',').filter(|it| !it.is_empty()) {
        add_edge(&mut step, NamedEdge::parse(edge));
    }
    step
}

pub fn add_edge(step: &mut Step, edge: NamedEdge<&str>) {
    let list = match edge.kind {
        EdgeKind::OnSuccess | EdgeKind::OnRun => &mut step.dependency,
        EdgeKind::OnFailure => &mut step.on_failure,
        EdgeKind::OnEnd => &mut step.after,
    };
    list.push(edge.from.into());
}

pub fn task(text: &str) -> Task {
    let (serial, parallel) = text.split_once('|').unwrap_or((text, ""));
    Task {
        serial_steps: serial.split_whitespace().map(step).collect(),
        parallel_steps: parallel.split_whitespace().map(step).collect(),
    }
}

pub fn spec(order: Order, tasks: &[&str]) -> WorkplanSpec {
    WorkplanSpec {
        tasks: tasks.iter().map(|text| task(text)).collect(),
        order,
        ..WorkplanSpec::default()
    }
}

/// Tasks of order `Relay`, whose steps have commands.
pub fn relay(tasks: &[&str]) -> WorkplanSpec {
    let mut spec = spec(Order::Relay, tasks);
    for task in &mut spec.tasks {
        for step in task.serial_steps.iter_mut().chain(&mut task.parallel_steps) {
            if step.approval.is_none() {
                step.commands = vec!["run".into()];
            }
        }
    }
    spec
}

pub fn workplan(order: Order, tasks: &[&str]) -> Workplan {
    workplan_of(spec(order, tasks))
}

pub fn workplan_of(spec: WorkplanSpec) -> Workplan {
    let mut workplan = Workplan::new("plan", spec);
    let meta = workplan.meta_mut();
    meta.namespace = Some("ns".into());
    meta.uid = Some("uid".into());
    meta.generation = Some(1);
    meta.finalizers = Some(vec![kubeci_api::names::WORKSPACE_FINALIZER.into()]);
    workplan
}
