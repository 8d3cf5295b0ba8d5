//! Workplans for tests, in short: `"a | b:a c:a"` is a task with the serial step `a` and two parallel
//! steps that depend on it.

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

pub fn workplan(order: Order, tasks: &[&str]) -> Workplan {
    let mut workplan = Workplan::new("plan", spec(order, tasks));
    let meta = workplan.meta_mut();
    meta.namespace = Some("ns".into());
    meta.uid = Some("uid".into());
    meta.generation = Some(1);
    meta.finalizers = Some(vec![kubeci_api::names::WORKSPACE_FINALIZER.into()]);
    workplan
}
