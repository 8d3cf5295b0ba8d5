//! Complete Workplans: read when they are reconciled, and cached for the next reconcile.

use std::sync::{Arc, Mutex, PoisonError};

use kube::api::GetParams;
use kube::core::Request;
use kube::{Client, Resource, ResourceExt};
use kubeci_api::{Step, StepStatus, Workplan};
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::workplan_index::IndexedWorkplan;
use crate::workplan_key::WorkplanKey;
use crate::workplan_requests::RequestError;

/// The memory of the cached Workplans, in bytes.
const CACHED_MAX: u64 = 24 << 20;

/// The memory of the Workplans that are reconciled at the same time, in KiB.
const RECONCILED_MAX: u32 = 32 << 10;

/// The approximate memory of a step and its status, without its JSON.
const STEP: usize = size_of::<Step>() + size_of::<StepStatus>() + 256;

/// The maximum of concurrent reads. Each Workplan may have 1.5 MB.
const READERS: usize = 4;

/// A Workplan as it was read, or written by this operator since.
pub struct CachedWorkplan {
    pub workplan: Workplan,
    /// The bytes of the Workplan as JSON.
    pub size: usize,
    pub expectations: Expectations,
}

pub struct WorkplanCache {
    client: Client,
    cache: Mutex<Cache<String, CachedWorkplan, ByMemory>>,
    readers: Semaphore,
    reconciled: Arc<Semaphore>,
}

#[derive(Clone)]
struct ByMemory;

impl Weighter<String, CachedWorkplan> for ByMemory {
    fn weight(&self, _: &String, cached: &CachedWorkplan) -> u64 {
        cached.memory() as u64
    }
}

impl CachedWorkplan {
    fn parse(json: &str) -> serde_json::Result<Self> {
        let mut workplan: Workplan = serde_json::from_str(json)?;
        workplan.metadata.managed_fields = None;
        Ok(Self {
            workplan,
            size: json.len(),
            expectations: Expectations::default(),
        })
    }

    /// The approximate memory in bytes.
    fn memory(&self) -> usize {
        let tasks = self.workplan.spec.tasks.iter();
        let steps: usize = tasks.map(|task| task.steps().count()).sum();
        self.size + steps * STEP
    }

    /// Whether this is at least as new as what the watch returned.
    fn is_newest(&mut self, version: &str) -> bool {
        if self.workplan.metadata.resource_version.as_deref() == Some(version) {
            self.expectations.0.clear();
            return true;
        }
        self.expectations.0.iter().any(|it| it == version)
    }
}

/// The writes of this operator that the watch may not have returned yet: the resource versions that they replaced.
#[derive(Default)]
pub struct Expectations(Vec<String>);

impl Expectations {
    /// Adds a write that has replaced this resource version.
    pub fn replaced(&mut self, version: String) {
        self.0.push(version);
    }
}

impl WorkplanCache {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            cache: Mutex::new(Cache::with_weighter(1000, CACHED_MAX, ByMemory)),
            readers: Semaphore::new(READERS),
            reconciled: Arc::new(Semaphore::new(RECONCILED_MAX as usize)),
        }
    }

    /// The Workplan from the cache or the API server, with a permit for its memory; none if it does not exist, or is not
    /// valid.
    pub async fn take(
        &self,
        key: &WorkplanKey,
        indexed: &IndexedWorkplan,
    ) -> Result<Option<(CachedWorkplan, OwnedSemaphorePermit)>, RequestError> {
        // A Workplan stays in the cache while it waits for a permit.
        let memory = self.cache(|cache| cache.peek(&indexed.uid).map(CachedWorkplan::memory));
        if let Some(memory) = memory {
            let permit = self.permit(memory).await?;
            let taken = self.cache(|cache| cache.remove(&indexed.uid));
            if let Some((_, mut cached)) = taken
                && cached.is_newest(&indexed.version)
            {
                return Ok(Some((cached, permit)));
            }
        }
        let _reader = self
            .readers
            .acquire()
            .await
            .map_err(|_| RequestError::Stopping)?;
        match self.read(key, indexed).await? {
            Some(cached) => {
                let permit = self.permit(cached.memory()).await?;
                Ok(Some((cached, permit)))
            }
            None => Ok(None),
        }
    }

    async fn permit(&self, memory: usize) -> Result<OwnedSemaphorePermit, RequestError> {
        let memory = u32::try_from(memory / 1024 + 1).unwrap_or(RECONCILED_MAX);
        let permit = Arc::clone(&self.reconciled).acquire_many_owned(memory.min(RECONCILED_MAX));
        // It fails only once the semaphore is closed, which does not happen.
        permit.await.map_err(|_| RequestError::Stopping)
    }

    /// Caches a Workplan for its next reconcile.
    pub fn put(&self, cached: CachedWorkplan) {
        if let Some(uid) = cached.workplan.uid() {
            self.cache(|cache| cache.insert(uid, cached));
        }
    }

    /// Caches a Workplan that was never read, as the watch returned it, if there is memory left. So the first reconcile
    /// needs no request.
    pub fn put_new(&self, json: &str) {
        let left = |memory: usize| self.cache(|cache| cache.weight() + memory as u64 <= CACHED_MAX);
        if left(json.len())
            && let Ok(cached) = CachedWorkplan::parse(json)
            && left(cached.memory())
        {
            self.put(cached);
        }
    }

    pub fn remove(&self, uid: &str) {
        self.cache(|cache| cache.remove(uid));
    }

    async fn read(
        &self,
        key: &WorkplanKey,
        indexed: &IndexedWorkplan,
    ) -> Result<Option<CachedWorkplan>, RequestError> {
        const ACTION: &str = "getting a Workplan";
        let path = Workplan::url_path(&(), Some(&key.namespace));
        // After the first read the newest version, because this operator may have written it. At first any version that is
        // as new as that of the watch: the API server need not read etcd.
        let params = if indexed.was_read {
            GetParams::default()
        } else {
            GetParams::at(&indexed.version)
        };
        let request = Request::new(path).get(&key.name, &params);
        let request =
            request.map_err(|error| RequestError::of(ACTION)(kube::Error::BuildRequest(error)))?;
        let text = match self.client.request_text(request).await {
            Ok(text) => text,
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
            Err(error) => return Err(RequestError::of(ACTION)(error)),
        };
        match CachedWorkplan::parse(&text) {
            Ok(cached) => Ok(Some(cached)),
            Err(error) => {
                let (namespace, name) = (&*key.namespace, &*key.name);
                tracing::warn!(namespace, workplan = name, %error, "the Workplan is not valid and is ignored");
                Ok(None)
            }
        }
    }

    fn cache<T>(
        &self,
        change: impl FnOnce(&mut Cache<String, CachedWorkplan, ByMemory>) -> T,
    ) -> T {
        change(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::workplan;

    fn cached(version: &str, replaced: &[&str]) -> CachedWorkplan {
        let mut workplan = workplan(kubeci_api::Order::Linear, &["a"]);
        workplan.metadata.resource_version = Some(version.into());
        CachedWorkplan {
            workplan,
            size: 1000,
            expectations: Expectations(replaced.iter().map(|it| (*it).into()).collect()),
        }
    }

    #[test]
    fn written_workplan_counts_until_a_newer_one() {
        let mut cached = cached("3", &["1", "2"]);
        assert!(cached.is_newest("1") && cached.is_newest("2"));
        assert!(!cached.is_newest("4"));
        assert!(cached.is_newest("3"));
        assert!(!cached.is_newest("1"), "the expectation was met");
    }

    #[test]
    fn short_steps_take_more_than_their_json() {
        let mut cached = cached("1", &[]);
        let steps = (0..500).map(|at| crate::testing::step(&format!("s-{at}")));
        cached.workplan.spec.tasks[0].parallel_steps = steps.collect();
        cached.size = 40_000;
        assert!(cached.memory() > 500_000, "{}", cached.memory());
    }

    #[tokio::test]
    async fn new_workplans_leave_cached_ones() {
        let client = kubeci_controller::testing::client(|_| (404, serde_json::Value::Null));
        let cache = WorkplanCache::new(client);
        let mut new = workplan(kubeci_api::Order::Linear, &["a"]);
        let steps = (0..500).map(|at| crate::testing::step(&format!("s-{at}")));
        new.spec.tasks[0].parallel_steps = steps.collect();
        for at in 0..100 {
            new.metadata.uid = Some(format!("uid-{at}"));
            cache.put_new(&serde_json::to_string(&new).unwrap());
        }
        cache.cache(|cache| {
            assert!(cache.len() > 10 && cache.len() < 100, "{}", cache.len());
            assert!(cache.peek("uid-0").is_some());
        });
    }

    #[test]
    fn cache_is_limited_by_memory() {
        let mut cache = Cache::with_weighter(1000, 25_000, ByMemory);
        for at in 0..100 {
            cache.insert(format!("uid-{at}"), cached("1", &[]));
        }
        assert!(cache.weight() <= 25_000, "{}", cache.weight());
        assert!(cache.len() > 1);
    }
}
