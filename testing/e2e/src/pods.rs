use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use kubeci_api::names;
use tokio::task::JoinHandle;

use crate::Test;

impl Test {
    /// The pods of a Workplan, by task.
    pub async fn pods_of(&self, plan: &str) -> Vec<Pod> {
        let of_plan = ListParams::default().labels(&format!("{}={plan}", names::WORKPLAN_LABEL));
        let list = self.api::<Pod>().list(&of_plan).await;
        let mut pods = list.expect("a list of pods").items;
        pods.sort_by_key(|pod| {
            let task = pod.labels().get(names::TASK_LABEL);
            task.and_then(|it| it.parse::<usize>().ok())
        });
        pods
    }
}

/// The node's folder that a pod has as its workspace.
///
/// # Panics
/// When it has none.
pub fn workspace_of(pod: &Pod) -> String {
    let volumes = pod.spec.iter().flat_map(|it| it.volumes.iter().flatten());
    let mut workspaces = volumes.filter(|it| it.name == names::WORKSPACE_VOLUME);
    let path = workspaces.next().and_then(|it| it.host_path.as_ref());
    path.expect("a workspace").path.clone()
}

/// Every pod that a namespace has had since the history began.
pub struct PodHistory {
    seen: Arc<Mutex<BTreeMap<String, Lives>>>,
    watching: JoinHandle<()>,
}

/// The uids that a pod's name has had, and how often one of its containers was started again.
#[derive(Default)]
struct Lives {
    uids: BTreeSet<String>,
    restarts: i32,
}

impl PodHistory {
    /// Begins with the pods that are there.
    pub fn begin(test: &Test) -> Self {
        let seen = Arc::<Mutex<BTreeMap<String, Lives>>>::default();
        let pods = watcher(test.api::<Pod>(), watcher::Config::default())
            .default_backoff()
            .applied_objects();
        let recorded = Arc::clone(&seen);
        let watching = tokio::spawn(pods.for_each(move |pod| {
            if let Ok(pod) = pod {
                record(&mut recorded.lock().expect("a lock"), &pod);
            }
            std::future::ready(())
        }));
        Self { seen, watching }
    }

    /// Asserts that no pod was created twice and no container started twice, and says how many pods there were.
    pub fn assert_each_ran_once(&self) -> usize {
        let seen = self.seen.lock().expect("a lock");
        for (name, Lives { uids, restarts }) in &*seen {
            assert_eq!(uids.len(), 1, "{name} was created once");
            assert_eq!(*restarts, 0, "no container of {name} was started again");
        }
        seen.len()
    }
}

impl Drop for PodHistory {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn record(seen: &mut BTreeMap<String, Lives>, pod: &Pod) {
    let status = pod.status.iter();
    let containers = status.flat_map(|it| {
        let serial = it.init_container_statuses.iter().flatten();
        serial.chain(it.container_statuses.iter().flatten())
    });
    let restarts = containers.map(|it| it.restart_count).max();
    let lives = seen.entry(pod.name_any()).or_default();
    lives.uids.extend(pod.uid());
    lives.restarts = lives.restarts.max(restarts.unwrap_or_default());
}
