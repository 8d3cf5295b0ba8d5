//! What waits for its turn, and the turns: several at a time, each a task of its own, never two of one object.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kubeci_controller::{Due, Heartbeat, Metrics};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// The loop turns at least this often.
const PULSE: Duration = Duration::from_secs(10);

/// Each object waits once, however often it is put in.
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    metrics: Metrics,
    /// What waits, and since when.
    waiting: HashMap<K, Due>,
    /// What waits and has no turn now, in its order.
    due: VecDeque<K>,
    /// What is to wait later.
    later: BTreeSet<(Instant, K)>,
    at: HashMap<K, Instant>,
    in_turn: HashSet<K>,
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    pub fn new(metrics: Metrics) -> Self {
        Self {
            state: Mutex::new(State {
                metrics,
                waiting: HashMap::new(),
                due: VecDeque::new(),
                later: BTreeSet::new(),
                at: HashMap::new(),
                in_turn: HashSet::new(),
            }),
            changed: Notify::new(),
        }
    }

    pub fn push(&self, object: K) {
        self.change(|state| state.push(object, Instant::now()));
        self.changed.notify_one();
    }

    /// The next one, which was due. It has its turn until it is [`done`](Self::done).
    async fn next(&self) -> (K, Due) {
        loop {
            let (next, later) = self.change(|state| {
                state.wake(Instant::now());
                let next = state.take();
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

    /// Ends a turn; the next comes when something is pushed, or at the time that is given.
    fn done(&self, object: &K, again: Option<Instant>) {
        self.change(|state| state.done(object, again));
        self.changed.notify_one();
    }

    fn change<T>(&self, change: impl FnOnce(&mut State<K>) -> T) -> T {
        let mut state: MutexGuard<'_, State<K>> =
            self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state)
    }
}

impl<K: Clone + Eq + Hash + Ord> State<K> {
    fn push(&mut self, object: K, since: Instant) {
        if self.waiting.contains_key(&object) {
            return;
        }
        let due = self.metrics.due_since(since);
        self.waiting.insert(object.clone(), due);
        if !self.in_turn.contains(&object) {
            self.due.push_back(object);
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some((at, _)) = self.later.first()
            && *at <= now
            && let Some((at, object)) = self.later.pop_first()
        {
            self.at.remove(&object);
            self.push(object, at);
        }
    }

    fn take(&mut self) -> Option<(K, Due)> {
        let object = self.due.pop_front()?;
        let waited = self.waiting.remove(&object);
        let due = waited.unwrap_or_else(|| self.metrics.due());
        // Its turn says when the next is.
        if let Some(at) = self.at.remove(&object) {
            self.later.remove(&(at, object.clone()));
        }
        self.in_turn.insert(object.clone());
        Some((object, due))
    }

    fn done(&mut self, object: &K, again: Option<Instant>) {
        self.in_turn.remove(object);
        if self.waiting.contains_key(object) {
            self.due.push_back(object.clone());
        }
        if let Some(at) = again {
            self.at.insert(object.clone(), at);
            self.later.insert((at, object.clone()));
        }
    }
}

/// Gives turns for ever, so many at a time. A turn says when the next should be, if nothing is pushed before.
pub async fn work<K, F>(
    queue: Arc<Queue<K>>,
    at_once: usize,
    pulse: Heartbeat,
    turn: impl Fn(K, Due) -> F + Send + Sync + 'static,
) where
    K: Clone + Eq + Hash + Ord + Send + 'static,
    F: Future<Output = Option<Instant>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(at_once));
    let mut turns = JoinSet::new();
    loop {
        pulse.beat();
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, queue.next().await)
        };
        let Ok((Ok(place), (object, due))) = timeout(PULSE, next).await else {
            continue;
        };
        let (queue, turn) = (Arc::clone(&queue), turn(object.clone(), due));
        turns.spawn(async move {
            let again = turn.await;
            queue.done(&object, again);
            drop(place);
        });
        while let Some(ended) = turns.try_join_next() {
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
    async fn an_object_waits_once_and_has_one_turn() {
        let queue = queue();
        for object in ["a", "b", "a"] {
            queue.push(object);
        }
        assert_eq!(queue.state.lock().unwrap().waiting.len(), 2);
        assert_eq!(queue.next().await.0, "a");
        queue.push("a");
        assert_eq!(queue.next().await.0, "b");
        let other = tokio::time::timeout(Duration::from_millis(10), queue.next());
        assert!(other.await.is_err(), "its first turn is not over");
        queue.done(&"a", None);
        assert_eq!(queue.next().await.0, "a");
        assert!(queue.state.lock().unwrap().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_turn_comes_in_time_and_not_after_an_earlier_one() {
        let queue = queue();
        queue.push("a");
        let start = Instant::now();
        let a_minute = start + Duration::from_mins(1);
        let (object, _) = queue.next().await;
        queue.done(&object, Some(a_minute));
        let (object, _) = queue.next().await;
        assert!(Instant::now() >= a_minute);
        queue.done(&object, Some(Instant::now() + Duration::from_mins(1)));
        queue.push("a");
        let (object, _) = queue.next().await;
        queue.done(&object, None);
        let other = tokio::time::timeout(Duration::from_hours(1), queue.next());
        assert!(
            other.await.is_err(),
            "the earlier turn said when the next is"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn turns_run_beside_each_other_on_all_cores() {
        let queue = Arc::new(Queue::new(Metrics::default()));
        for object in 0..2 {
            queue.push(object);
        }
        let arrived = Arc::new(AtomicUsize::new(0));
        let all = Arc::clone(&arrived);
        // Each blocks its thread until the other is there too.
        let turn = move |_, _| {
            let arrived = Arc::clone(&all);
            async move {
                arrived.fetch_add(1, Ordering::SeqCst);
                while arrived.load(Ordering::SeqCst) < 2 {
                    std::thread::yield_now();
                }
                None
            }
        };
        let pulse = Liveness::default().heartbeat("objects", PULSE);
        let working = tokio::spawn(work(queue, 2, pulse, turn));
        while arrived.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        working.abort();
    }
}
