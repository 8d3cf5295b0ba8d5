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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kubeci_api::Order;
    use serde_json::json;

    use super::*;
    use crate::testing::workplan;

    fn pod(workplan: &Workplan, name: &str, owner: &str) -> ObservedPod {
        let owner = json!({"apiVersion": "kube.ci/v1alpha1", "kind": "Workplan", "name": "plan", "uid": owner, "controller": true});
        let pod = json!({"metadata": {"name": name, "ownerReferences": [owner]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        ObservedPod::of(&pod, workplan)
    }

    #[test]
    fn last_pod_of_a_task_has_those_before() {
        let workplan = workplan(Order::Linear, &["a", "b"]);
        let names = ["plan-0-a10", "plan-1", "plan-0", "plan-0-a2", "plan-2"];
        let pods = by_task(&workplan, names.map(|name| pod(&workplan, name, "uid")));
        let of_task = |task: usize| {
            let pod = &pods[&task];
            let pods = pod.earlier.iter().chain([pod]);
            pods.map(|pod| pod.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of_task(0), ["plan-0", "plan-0-a2", "plan-0-a10"]);
        assert_eq!(of_task(1), ["plan-1"]);
        assert_eq!(pods.len(), 2, "there is no third task");
    }

    #[test]
    fn other_owner_counts_only_in_the_way() {
        let workplan = workplan(Order::Linear, &["a"]);
        let names = ["plan-0", "plan-0-a2"];
        let pods = by_task(&workplan, names.map(|name| pod(&workplan, name, "old")));
        assert_eq!(pods[&0].name, "plan-0");
        assert_eq!(pods[&0].earlier, []);
    }
}
