//! The index of the pods of Workplans, with the fields that are used, as compressed JSON: a pod of 110 containers takes one
//! or two kilobytes, instead of hundreds as a type of the API.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use kubeci_api::names::WORKPLAN_LABEL;
use lz4_flex::block::{compress_prepend_size, decompress_size_prepended};

use crate::workplan_key::WorkplanKey;

type ByWorkplan = HashMap<WorkplanKey, BTreeMap<Box<str>, Box<[u8]>>>;

/// The pods of all Workplans, as the watch returned them.
#[derive(Default)]
pub struct PodIndex {
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    known: ByWorkplan,
    /// The list that is incomplete.
    list: ByWorkplan,
}

impl PodIndex {
    pub fn apply(&self, event: &Event<Pod>) {
        let mut all = self.lock();
        match event {
            Event::Apply(pod) => put(&mut all.known, pod),
            Event::Delete(pod) => {
                let Some(workplan) = workplan_of(pod) else {
                    return;
                };
                if let Some(pods) = all.known.get_mut(&workplan) {
                    pods.remove(&*pod.name_any());
                    if pods.is_empty() {
                        all.known.remove(&workplan);
                    }
                }
            }
            Event::Init => all.list = HashMap::new(),
            Event::InitApply(pod) => put(&mut all.list, pod),
            Event::InitDone => {
                all.known = std::mem::take(&mut all.list);
            }
        }
    }

    /// The pods with the label of a Workplan, by name.
    pub fn of(&self, workplan: &WorkplanKey) -> BTreeMap<Box<str>, Pod> {
        let packed = self.lock().known.get(workplan).cloned();
        let pods = packed.into_iter().flatten();
        pods.filter_map(|(name, packed)| Some((name, unpack(&packed)?)))
            .collect()
    }

    pub fn has_any(&self, workplan: &WorkplanKey) -> bool {
        self.lock().known.contains_key(workplan)
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Workplan in the label of a pod.
pub fn workplan_of(pod: &Pod) -> Option<WorkplanKey> {
    let name = pod.labels().get(WORKPLAN_LABEL)?;
    Some(WorkplanKey::new(pod.metadata.namespace.as_deref()?, name))
}

fn put(pods: &mut ByWorkplan, pod: &Pod) {
    // A pod that was read from JSON can be written as JSON.
    if let (Some(workplan), Ok(json)) = (workplan_of(pod), serde_json::to_vec(pod)) {
        let of_workplan = pods.entry(workplan).or_default();
        let packed = compress_prepend_size(&json);
        of_workplan.insert(pod.name_any().into(), packed.into());
    }
}

fn unpack(packed: &[u8]) -> Option<Pod> {
    let json = decompress_size_prepended(packed).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, phase: &str) -> Pod {
        let pod = json!({
            "metadata": {"name": name, "namespace": "ns", "labels": {WORKPLAN_LABEL: "plan"}},
            "status": {"phase": phase},
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn five_hundred_containers_take_little() {
        let containers =
            (0..500).map(|at| json!({"name": format!("step-{at}"), "image": "alpine"}));
        let mut large = pod("a", "Pending");
        large.spec =
            serde_json::from_value(json!({"containers": containers.collect::<Vec<_>>()})).unwrap();
        let pods = PodIndex::default();
        pods.apply(&Event::Apply(large.clone()));
        let plan = WorkplanKey::new("ns", "plan");
        assert_eq!(pods.of(&plan)["a"], large);
        let packed = pods.lock().known[&plan]["a"].len();
        assert!(packed < 6000, "{packed}");
    }

    #[test]
    fn last_event_of_a_pod_counts() {
        let pods = PodIndex::default();
        let names = || {
            pods.of(&WorkplanKey::new("ns", "plan"))
                .into_keys()
                .collect::<Vec<_>>()
        };
        pods.apply(&Event::Apply(pod("a", "Pending")));
        pods.apply(&Event::Apply(pod("a", "Running")));
        pods.apply(&Event::Apply(pod("b", "Running")));
        assert_eq!(
            pods.of(&WorkplanKey::new("ns", "plan"))["a"],
            pod("a", "Running")
        );
        pods.apply(&Event::Delete(pod("a", "Running")));
        assert_eq!(names(), ["b".into()]);
        pods.apply(&Event::Init);
        pods.apply(&Event::InitApply(pod("c", "Running")));
        assert_eq!(names(), ["b".into()]);
        pods.apply(&Event::InitDone);
        assert_eq!(names(), ["c".into()]);
    }
}
