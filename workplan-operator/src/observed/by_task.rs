use std::collections::BTreeMap;

use kubeci_api::Workplan;

use super::pod::{ObservedPod, Owner};
use crate::pod_builder;

/// The pods of a Workplan by the index of their task. Pods of other owners count only if they have the name of the next
/// pod of a task.
#[must_use]
pub fn by_task(
    workplan: &Workplan,
    pods: impl IntoIterator<Item = ObservedPod>,
) -> BTreeMap<usize, ObservedPod> {
    let status = workplan.status.as_ref();
    let steps = status.map_or(&[][..], |status| &status.steps);
    let count = workplan.spec.tasks.len();
    let mut numbered: Vec<(usize, u32, ObservedPod)> = Vec::new();
    for pod in pods {
        let Some((task, number)) = pod_builder::parse(workplan, &pod.name) else {
            continue;
        };
        let is_next = || number == pod_builder::number(workplan, task, steps);
        if task < count && (pod.owner == Owner::Workplan || is_next()) {
            numbered.push((task, number, pod));
        }
    }
    numbered.sort_by_key(|(task, number, _)| (*task, *number));
    let mut by_task = BTreeMap::new();
    for (task, _, mut pod) in numbered {
        if let Some(before) = by_task.remove(&task) {
            pod.succeed(before);
        }
        by_task.insert(task, pod);
    }
    by_task
}
