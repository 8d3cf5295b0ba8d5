//! Workplans for tests, in short: `"a | b:a c:a"` is a task with the serial step `a` and two parallel
//! steps that depend on it.

pub mod pod;

use kube::Resource;
use kubeci_api::{Order, Step, Task, Workplan, WorkplanSpec};

pub fn step(name: &str) -> Step {
    let (name, dependency) = name.split_once(':').unwrap_or((name, ""));
    Step {
        name: name.into(),
        image: "alpine".into(),
        dependency: dependency
            .split(',')
            .filter(|name| !name.is_empty())
            .map(Into::into)
            .collect(),
        ..Step::default()
    }
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
            step.commands = vec!["run".into()];
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
