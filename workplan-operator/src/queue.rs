//! The queue of keys to reconcile, and its workers: one key is never reconciled twice at the same time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kubeci_controller::{Backoff, Due, Heartbeat, Metrics};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// The loop runs at least this often.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The backoff of keys whose reconcile fails.
pub const REQUEUE_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

/// A queue in which each key waits once, however often it is pushed.
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    metrics: Metrics,
    /// The keys that wait, and since when.
    waiting: HashMap<K, Due>,
    /// The keys that wait and are not being reconciled, in order.
    due: VecDeque<K>,
    /// The keys to requeue, by time.
    later: BTreeSet<(Instant, K)>,
    requeue_at: HashMap<K, Instant>,
    reconciling: HashSet<K>,
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    pub fn new(metrics: Metrics) -> Self {
        Self {
            state: Mutex::new(State {
                metrics,
                waiting: HashMap::new(),
                due: VecDeque::new(),
                later: BTreeSet::new(),
                requeue_at: HashMap::new(),
                reconciling: HashSet::new(),
            }),
            changed: Notify::new(),
        }
    }

    pub fn push(&self, key: K) {
        self.change(|state| state.push(key, Instant::now()));
        self.changed.notify_one();
    }

    /// The next key that is due. It is being reconciled until it is [`done`](Self::done).
    async fn next(&self) -> (K, Due) {
        loop {
            let (next, later) = self.change(|state| {
                state.requeue_due(Instant::now());
                let next = state.pop();
                (next, state.later.first().map(|(at, _)| *at))
            });
            if let Some(next) = next {
                return next;
            }
            let changed = self.changed.notified();
            match later {
                Some(at) => _ = tokio::time::timeout_at(at, changed).await,
                None => changed.await,
            }
        }
    }

    /// Ends a reconcile. The next one begins when the key is pushed, or at this time.
    fn done(&self, key: &K, requeue_at: Option<Instant>) {
        self.change(|state| state.done(key, requeue_at));
        self.changed.notify_one();
    }

    fn change<T>(&self, change: impl FnOnce(&mut State<K>) -> T) -> T {
        let mut state: MutexGuard<'_, State<K>> =
            self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state)
    }
}

impl<K: Clone + Eq + Hash + Ord> State<K> {
    fn push(&mut self, key: K, since: Instant) {
        if self.waiting.contains_key(&key) {
            return;
        }
        let due = self.metrics.due_since(since);
        self.waiting.insert(key.clone(), due);
        if !self.reconciling.contains(&key) {
            self.due.push_back(key);
        }
    }

    fn requeue_due(&mut self, now: Instant) {
        while let Some((at, _)) = self.later.first()
            && *at <= now
            && let Some((at, key)) = self.later.pop_first()
        {
            self.requeue_at.remove(&key);
            self.push(key, at);
        }
    }

    fn pop(&mut self) -> Option<(K, Due)> {
        let key = self.due.pop_front()?;
        let waiting = self.waiting.remove(&key);
        let due = waiting.unwrap_or_else(|| self.metrics.due());
        // The reconcile returns the next time.
        if let Some(at) = self.requeue_at.remove(&key) {
            self.later.remove(&(at, key.clone()));
        }
        self.reconciling.insert(key.clone());
        Some((key, due))
    }

    fn done(&mut self, key: &K, requeue_at: Option<Instant>) {
        self.reconciling.remove(key);
        if self.waiting.contains_key(key) {
            self.due.push_back(key.clone());
        }
        if let Some(at) = requeue_at {
            self.requeue_at.insert(key.clone(), at);
            self.later.insert((at, key.clone()));
        }
    }
}

/// Reconciles the keys of a queue without an end, so many at a time, each in a task. A reconcile returns when to requeue
/// its key.
pub async fn run_workers<K, F>(
    queue: Arc<Queue<K>>,
    workers: usize,
    heartbeat: Heartbeat,
    reconcile: impl Fn(K, Due) -> F + Send + Sync + 'static,
) where
    K: Clone + Eq + Hash + Ord + Send + 'static,
    F: Future<Output = Option<Instant>> + Send + 'static,
{
    let workers = Arc::new(Semaphore::new(workers));
    let mut tasks = JoinSet::new();
    loop {
        heartbeat.beat();
        let next = async {
            let worker = Arc::clone(&workers).acquire_owned().await;
            (worker, queue.next().await)
        };
        let Ok((Ok(worker), (key, due))) = timeout(HEARTBEAT, next).await else {
            continue;
        };
        let (queue, reconcile) = (Arc::clone(&queue), reconcile(key.clone(), due));
        tasks.spawn(async move {
            let requeue_at = reconcile.await;
            queue.done(&key, requeue_at);
            drop(worker);
        });
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kubeci_controller::Liveness;

    use super::*;

    fn queue() -> Queue<&'static str> {
        Queue::new(Metrics::default())
    }

    #[tokio::test]
    async fn key_waits_once_and_is_reconciled_once() {
        let queue = queue();
        for key in ["a", "b", "a"] {
            queue.push(key);
        }
        assert_eq!(queue.state.lock().unwrap().waiting.len(), 2);
        assert_eq!(queue.next().await.0, "a");
        queue.push("a");
        assert_eq!(queue.next().await.0, "b");
        let other = tokio::time::timeout(Duration::from_millis(10), queue.next());
        assert!(other.await.is_err(), "it is still being reconciled");
        queue.done(&"a", None);
        assert_eq!(queue.next().await.0, "a");
        assert!(queue.state.lock().unwrap().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn earlier_reconcile_replaces_the_requeue() {
        let queue = queue();
        queue.push("a");
        let start = Instant::now();
        let a_minute = start + Duration::from_mins(1);
        let (key, _) = queue.next().await;
        queue.done(&key, Some(a_minute));
        let (key, _) = queue.next().await;
        assert!(Instant::now() >= a_minute);
        queue.done(&key, Some(Instant::now() + Duration::from_mins(1)));
        queue.push("a");
        let (key, _) = queue.next().await;
        queue.done(&key, None);
        let other = tokio::time::timeout(Duration::from_hours(1), queue.next());
        assert!(
            other.await.is_err(),
            "the earlier reconcile has returned no time"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn reconciles_run_in_parallel_on_all_cores() {
        let queue = Arc::new(Queue::new(Metrics::default()));
        for key in 0..2 {
            queue.push(key);
        }
        let arrived = Arc::new(AtomicUsize::new(0));
        let all = Arc::clone(&arrived);
        // Each blocks its thread until the other has started.
        let reconcile = move |_, _| {
            let arrived = Arc::clone(&all);
            async move {
                arrived.fetch_add(1, Ordering::SeqCst);
                while arrived.load(Ordering::SeqCst) < 2 {
                    std::thread::yield_now();
                }
                None
            }
        };
        let heartbeat = Liveness::default().heartbeat("objects", HEARTBEAT);
        let working = tokio::spawn(run_workers(queue, 2, heartbeat, reconcile));
        while arrived.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        working.abort();
    }
}
