//! The pods of Workplans, as compressed JSON of what is looked at: a pod of 110 containers takes a kilobyte or two so,
//! where the types of the API take hundreds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use kubeci_api::names::WORKPLAN_LABEL;
use lz4_flex::block::{compress_prepend_size, decompress_size_prepended};
use tokio::sync::watch;

use crate::workplan_key::Key;

type ByWorkplan = HashMap<Key, BTreeMap<Box<str>, Box<[u8]>>>;

pub struct Pods {
    all: Mutex<All>,
    listed: watch::Sender<bool>,
}

#[derive(Default)]
struct All {
    known: ByWorkplan,
    /// The list that is being read.
    list: ByWorkplan,
}

impl Pods {
    pub fn new() -> Self {
        Self {
            all: Mutex::default(),
            listed: watch::Sender::new(false),
        }
    }

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
                drop(all);
                self.listed.send_replace(true);
            }
        }
    }

    pub async fn wait_until_listed(&self) {
        // It fails when nobody can send any more, and the sender is here.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// The pods that are labelled as a Workplan's, by their names.
    pub fn of(&self, workplan: &Key) -> BTreeMap<Box<str>, Pod> {
        let packed = self.lock().known.get(workplan).cloned();
        let pods = packed.into_iter().flatten();
        pods.filter_map(|(name, packed)| Some((name, unpack(&packed)?)))
            .collect()
    }

    pub fn has_any(&self, workplan: &Key) -> bool {
        self.lock().known.contains_key(workplan)
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Workplan as whose a pod is labelled.
pub fn workplan_of(pod: &Pod) -> Option<Key> {
    let name = pod.labels().get(WORKPLAN_LABEL)?;
    Some(Key::new(pod.metadata.namespace.as_deref()?, name))
}

fn put(pods: &mut ByWorkplan, pod: &Pod) {
    // What was read as JSON can be written so.
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
        let pods = Pods::new();
        pods.apply(&Event::Apply(large.clone()));
        let plan = Key::new("ns", "plan");
        assert_eq!(pods.of(&plan)["a"], large);
        let packed = pods.lock().known[&plan]["a"].len();
        assert!(packed < 6000, "{packed}");
    }

    #[test]
    fn the_last_event_of_a_pod_counts() {
        let pods = Pods::new();
        let names = || {
            pods.of(&Key::new("ns", "plan"))
                .into_keys()
                .collect::<Vec<_>>()
        };
        pods.apply(&Event::Apply(pod("a", "Pending")));
        pods.apply(&Event::Apply(pod("a", "Running")));
        pods.apply(&Event::Apply(pod("b", "Running")));
        assert_eq!(pods.of(&Key::new("ns", "plan"))["a"], pod("a", "Running"));
        pods.apply(&Event::Delete(pod("a", "Running")));
        assert_eq!(names(), ["b".into()]);
        pods.apply(&Event::Init);
        pods.apply(&Event::InitApply(pod("c", "Running")));
        assert_eq!(names(), ["b".into()]);
        pods.apply(&Event::InitDone);
        assert_eq!(names(), ["c".into()]);
    }
}
