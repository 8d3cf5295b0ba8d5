use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{WatchEvent, WatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use kubeci_e2e::Test;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The time limit of the longest chain, in pods without the operator.
const PATIENCE: Duration = Duration::from_mins(10);

/// The times at which a watch first returned each key.
#[derive(Clone, Default)]
pub struct Observations {
    seen: Arc<Mutex<HashMap<String, Instant>>>,
    changed: Arc<Notify>,
}

impl Observations {
    /// Watches the objects of one kind in the test's namespace from now on, and records the `keys` of each object.
    pub async fn of<K>(test: &Test, keys: impl Fn(&K) -> Vec<String> + Send + 'static) -> Self
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static,
        K: serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let observations = Self::default();
        let api = test.api::<K>();
        let mut version = api
            .list(&kube::api::ListParams::default())
            .await
            .expect("a list")
            .metadata
            .resource_version
            .unwrap_or_default();
        let recorder = observations.clone();
        tokio::spawn(async move {
            loop {
                let stream = api
                    .watch(&WatchParams::default(), &version)
                    .await
                    .expect("a watch");
                let mut stream = std::pin::pin!(stream);
                while let Some(Ok(event)) = stream.next().await {
                    if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                        version = object.resource_version().unwrap_or_default();
                        recorder.record(keys(&object));
                    }
                }
            }
        });
        observations
    }

    fn record(&self, keys: Vec<String>) {
        let now = Instant::now();
        let mut seen = self.seen.lock().expect("a lock");
        for key in keys {
            seen.entry(key).or_insert(now);
        }
        self.changed.notify_waiters();
    }

    /// When `key` was first observed. Waits until then.
    pub async fn when(&self, key: &str) -> Instant {
        let seen = timeout(PATIENCE, self.wait(key)).await;
        seen.unwrap_or_else(|_| panic!("{key} is not observed within {PATIENCE:?}"))
    }

    async fn wait(&self, key: &str) -> Instant {
        loop {
            let changed = self.changed.notified();
            if let Some(at) = self.at(key) {
                return at;
            }
            changed.await;
        }
    }

    /// When `key` was first observed.
    fn at(&self, key: &str) -> Option<Instant> {
        self.seen.lock().expect("a lock").get(key).copied()
    }

    /// The number of observed keys.
    pub fn count(&self) -> usize {
        self.seen.lock().expect("a lock").len()
    }
}

/// The containers of a pod that have ended.
pub fn ended_containers(pod: &Pod) -> Vec<String> {
    let status = pod.status.iter();
    let containers = status.flat_map(|it| {
        it.init_container_statuses
            .iter()
            .chain(&it.container_statuses)
    });
    containers
        .flatten()
        .filter(|it| has_ended(it))
        .map(|it| it.name.clone())
        .collect()
}

fn has_ended(container: &ContainerStatus) -> bool {
    container
        .state
        .as_ref()
        .is_some_and(|it| it.terminated.is_some())
}
