//! The Events of pods that do not start. One request reads the Events of a namespace, for all of its pods.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};
use kubeci_controller::api_error::message;
use tokio::sync::{Mutex, Semaphore};

use crate::observed::{PodWarning, warnings};

/// How long the Events of a namespace are used.
const MAX_AGE: Duration = Duration::from_secs(2);
/// How long they are stored.
const STORED: Duration = Duration::from_mins(10);
/// The maximum of Events per request. If there are more, those of one pod are requested.
const PAGE: u32 = 500;
/// The maximum of concurrent requests.
const REQUESTS: usize = 4;

pub struct PodEvents {
    client: Client,
    namespaces: Mutex<HashMap<String, Arc<Mutex<NamespaceEvents>>>>,
    requests: Semaphore,
}

/// The Events of the pods of one namespace.
#[derive(Default)]
struct NamespaceEvents {
    at: Option<Instant>,
    warnings: HashMap<String, PodWarning>,
    /// Whether there are more Events.
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

    /// Why a pod does not start, from its Events.
    pub async fn warning(&self, namespace: &str, uid: &str) -> Option<PodWarning> {
        let read = self.namespace(namespace).await;
        let mut read = read.lock().await;
        if read.at.is_none_or(|at| at.elapsed() >= MAX_AGE) {
            let (warnings, is_part) = self.list(namespace, "").await;
            *read = NamespaceEvents {
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

    async fn namespace(&self, namespace: &str) -> Arc<Mutex<NamespaceEvents>> {
        let mut all = self.namespaces.lock().await;
        if !all.contains_key(namespace) {
            all.retain(|_, read| {
                let at = read.try_lock().map_or(None, |read| read.at);
                at.is_none_or(|at| at.elapsed() < STORED)
            });
        }
        Arc::clone(all.entry(namespace.to_owned()).or_default())
    }

    /// The warnings by the uid of the pod, and whether there are more; none if the request fails.
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
                let error = message(&error);
                tracing::warn!(namespace, error, "cannot list the Events of pods");
                (HashMap::new(), false)
            }
        }
    }
}
