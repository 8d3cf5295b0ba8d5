//! The Events of pods that stand still. One request reads those of a namespace and serves all of its pods, so that
//! three hundred that wait cost no more than one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::{Mutex, Semaphore};

use super::act::said;
use crate::observed::PodWarning;
use crate::observed::warnings;

/// How long what was read of a namespace counts.
const FRESH: Duration = Duration::from_secs(2);
/// How long it is kept.
const KEPT: Duration = Duration::from_mins(10);
/// The most Events that one request reads. Where there are more, each pod's are asked for.
const PAGE: u32 = 500;
/// The most requests at the same time.
const REQUESTS: usize = 4;

pub struct PodEvents {
    client: Client,
    namespaces: Mutex<HashMap<String, Arc<Mutex<Read>>>>,
    requests: Semaphore,
}

/// What was read of a namespace.
#[derive(Default)]
struct Read {
    at: Option<Instant>,
    warnings: HashMap<String, PodWarning>,
    /// Whether there are more Events than were read.
    is_part: bool,
}

impl PodEvents {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            namespaces: Mutex::default(),
            requests: Semaphore::new(REQUESTS),
        }
    }

    /// What the Events of a pod say that keeps it from starting.
    pub async fn warning(&self, namespace: &str, uid: &str) -> Option<PodWarning> {
        let read = self.namespace(namespace).await;
        let mut read = read.lock().await;
        if read.at.is_none_or(|at| at.elapsed() >= FRESH) {
            let (warnings, is_part) = self.list(namespace, "").await;
            *read = Read {
                at: Some(Instant::now()),
                warnings,
                is_part,
            };
        }
        if let Some(warning) = read.warnings.get(uid) {
            return Some(warning.clone());
        }
        if !read.is_part {
            return None;
        }
        drop(read);
        let only = format!(",involvedObject.uid={uid}");
        self.list(namespace, &only).await.0.remove(uid)
    }

    async fn namespace(&self, namespace: &str) -> Arc<Mutex<Read>> {
        let mut all = self.namespaces.lock().await;
        if !all.contains_key(namespace) {
            all.retain(|_, read| {
                let at = read.try_lock().map_or(None, |read| read.at);
                at.is_none_or(|at| at.elapsed() < KEPT)
            });
        }
        Arc::clone(all.entry(namespace.to_owned()).or_default())
    }

    /// Says nothing where Events cannot be read: that a pod waits is told all the same.
    async fn list(&self, namespace: &str, only: &str) -> (HashMap<String, PodWarning>, bool) {
        let _permit = self.requests.acquire().await;
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let of_pods = format!("involvedObject.kind=Pod,type=Warning{only}");
        let params = ListParams::default().fields(&of_pods).limit(PAGE);
        match events.list(&params).await {
            Ok(list) => {
                let more = list.metadata.continue_.is_some_and(|it| !it.is_empty());
                (warnings(&list.items), more)
            }
            Err(error) => {
                let error = said(&error);
                tracing::warn!(namespace, error, "the Events of pods cannot be read");
                (HashMap::new(), false)
            }
        }
    }
}
