//! The Workplans whose turn it is, whole: read when their turn comes, and kept for the next turn while there is room.

use std::sync::{Arc, Mutex, PoisonError};

use kube::api::GetParams;
use kube::core::Request;
use kube::{Client, Resource, ResourceExt};
use kubeci_api::{Step, StepStatus, Workplan};
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::workplan_index::Known;
use crate::workplan_key::Key;
use crate::workplan_requests::{Error, failed};

/// How much memory the plans that are kept may take, in bytes.
const KEPT: u64 = 24 << 20;

/// How much memory the plans that are reconciled at the same time may take, in KiB.
const IN_TURN: u32 = 32 << 10;

/// About what a step takes, its status included, beside its JSON.
const STEP: usize = size_of::<Step>() + size_of::<StepStatus>() + 256;

/// How many are read at the same time; each may have 1.5 MB.
const READERS: usize = 4;

/// A Workplan as it was read, or written here since.
pub struct Held {
    pub workplan: Workplan,
    /// The bytes of its JSON.
    pub size: usize,
    /// The resource versions that were replaced here, and that the watch may still show.
    pub replaced: Vec<String>,
}

pub struct Plans {
    client: Client,
    kept: Mutex<Cache<String, Held, ByMemory>>,
    readers: Semaphore,
    in_turn: Arc<Semaphore>,
}

#[derive(Clone)]
struct ByMemory;

impl Weighter<String, Held> for ByMemory {
    fn weight(&self, _: &String, held: &Held) -> u64 {
        held.memory() as u64
    }
}

impl Held {
    /// About how many bytes it takes.
    fn memory(&self) -> usize {
        let tasks = self.workplan.spec.tasks.iter();
        let steps: usize = tasks.map(|task| task.steps().count()).sum();
        self.size + steps * STEP
    }

    /// Whether the watch shows nothing newer; drops what need not be remembered then.
    fn is_newest(&mut self, version: &str) -> bool {
        if self.workplan.metadata.resource_version.as_deref() == Some(version) {
            self.replaced.clear();
            return true;
        }
        self.replaced.iter().any(|replaced| replaced == version)
    }
}

impl Plans {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            kept: Mutex::new(Cache::with_weighter(1000, KEPT, ByMemory)),
            readers: Semaphore::new(READERS),
            in_turn: Arc::new(Semaphore::new(IN_TURN as usize)),
        }
    }

    /// The Workplan as it is now, and the room that it has for its turn; none if it is no more, or cannot be read.
    pub async fn take(
        &self,
        key: &Key,
        known: &Known,
    ) -> Result<Option<(Held, OwnedSemaphorePermit)>, Error> {
        // What waits for room takes none.
        let memory = self.kept(|kept| kept.peek(&known.uid).map(Held::memory));
        if let Some(memory) = memory {
            let room = self.room(memory).await?;
            let kept = self.kept(|kept| kept.remove(&known.uid));
            if let Some((_, mut held)) = kept
                && held.is_newest(&known.version)
            {
                return Ok(Some((held, room)));
            }
        }
        let _reader = self.readers.acquire().await.map_err(|_| Error::Closed)?;
        match self.read(key, known).await? {
            Some(held) => {
                let room = self.room(held.memory()).await?;
                Ok(Some((held, room)))
            }
            None => Ok(None),
        }
    }

    async fn room(&self, memory: usize) -> Result<OwnedSemaphorePermit, Error> {
        let memory = u32::try_from(memory / 1024 + 1).unwrap_or(IN_TURN);
        let room = Arc::clone(&self.in_turn).acquire_many_owned(memory.min(IN_TURN));
        // It fails when the semaphore is closed, which nobody does.
        room.await.map_err(|_| Error::Closed)
    }

    /// Keeps a Workplan for its next turn, if there is room.
    pub fn keep(&self, held: Held) {
        if let Some(uid) = held.workplan.uid() {
            self.kept(|kept| kept.insert(uid, held));
        }
    }

    pub fn forget(&self, uid: &str) {
        self.kept(|kept| kept.remove(uid));
    }

    async fn read(&self, key: &Key, known: &Known) -> Result<Option<Held>, Error> {
        const DOING: &str = "getting a Workplan";
        let path = Workplan::url_path(&(), Some(&key.namespace));
        // The newest, so that nothing is decided upon that was replaced here; before that any that is as new as
        // what was seen, which the API server need not ask etcd for.
        let params = match known.phase {
            Some(_) => GetParams::default(),
            None => GetParams::at(&known.version),
        };
        let request = Request::new(path).get(&key.name, &params);
        let request = request.map_err(|error| failed(DOING)(kube::Error::BuildRequest(error)))?;
        let text = match self.client.request_text(request).await {
            Ok(text) => text,
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
            Err(error) => return Err(failed(DOING)(error)),
        };
        match serde_json::from_str::<Workplan>(&text) {
            Ok(mut workplan) => {
                workplan.metadata.managed_fields = None;
                Ok(Some(Held {
                    workplan,
                    size: text.len(),
                    replaced: Vec::new(),
                }))
            }
            Err(error) => {
                let (namespace, name) = (&*key.namespace, &*key.name);
                tracing::warn!(namespace, workplan = name, %error, "cannot be read and is left alone");
                Ok(None)
            }
        }
    }

    fn kept<T>(&self, change: impl FnOnce(&mut Cache<String, Held, ByMemory>) -> T) -> T {
        change(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::workplan;

    fn held(version: &str, replaced: &[&str]) -> Held {
        let mut workplan = workplan(kubeci_api::Order::Linear, &["a"]);
        workplan.metadata.resource_version = Some(version.into());
        Held {
            workplan,
            size: 1000,
            replaced: replaced.iter().map(|it| (*it).into()).collect(),
        }
    }

    #[test]
    fn what_was_written_counts_until_the_watch_shows_something_newer() {
        let mut held = held("3", &["1", "2"]);
        assert!(held.is_newest("1") && held.is_newest("2"));
        assert!(!held.is_newest("4"));
        assert!(held.is_newest("3"));
        assert!(!held.is_newest("1"), "forgotten once it was shown");
    }

    #[test]
    fn many_short_steps_take_more_than_their_json() {
        let mut held = held("1", &[]);
        let steps = (0..500).map(|at| crate::testing::step(&format!("s-{at}")));
        held.workplan.spec.tasks[0].parallel_steps = steps.collect();
        held.size = 40_000;
        assert!(held.memory() > 500_000, "{}", held.memory());
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut kept = Cache::with_weighter(1000, 25_000, ByMemory);
        for at in 0..100 {
            kept.insert(format!("uid-{at}"), held("1", &[]));
        }
        assert!(kept.weight() <= 25_000, "{}", kept.weight());
        assert!(kept.len() > 1);
    }
}
