//! The limit of requests in flight: it grows while answers are prompt, and shrinks when the API server is slow or rejects
//! requests.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::Metrics;

/// A limit is in slots. A request takes one, and another for each of these bytes of its body.
const SLOT_BYTES: u64 = 32 * 1024;
const FEWEST: f64 = 2.0;
const FIRST: f64 = 32.0;
const MOST: f64 = 64.0;
/// The factor of the limit after a slow answer.
const DECREASE: f64 = 0.7;
/// The longest pause that `Retry-After` can cause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Limits the requests in flight of one client. Requests wait in order.
#[derive(Clone, Debug)]
pub struct Limit {
    state: Arc<Mutex<State>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct State {
    limit: f64,
    used: u32,
    waiting: VecDeque<Waiting>,
    decreased: Option<Instant>,
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    slots: u32,
    granted: oneshot::Sender<Permit>,
}

/// The kind of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// In time; also an answer that is no measure of the load, such as a list.
    Prompt,
    Slow,
    /// The API server rejects requests, or does not answer.
    Overloaded {
        retry_after: Option<Duration>,
    },
}

/// The slots of a request whose body has this many bytes.
pub fn slots(body: u64) -> u32 {
    u32::try_from(1 + body / SLOT_BYTES).unwrap_or(u32::MAX)
}

impl Limit {
    pub fn new(metrics: Metrics) -> Self {
        let state = State {
            limit: FIRST,
            used: 0,
            waiting: VecDeque::new(),
            decreased: None,
            paused_until: None,
        };
        let limit = Self {
            state: Arc::new(Mutex::new(state)),
            metrics,
        };
        limit.observe(&limit.lock());
        limit
    }

    /// Waits for this many slots. A request that needs more than the limit is sent alone.
    pub async fn acquire(&self, slots: u32) -> Permit {
        loop {
            let permit = self.wait(slots).await;
            let paused_until = self.lock().paused_until;
            match paused_until {
                Some(until) if Instant::now() < until => {
                    drop(permit);
                    sleep_until(until).await;
                }
                _ => return permit,
            }
        }
    }

    async fn wait(&self, slots: u32) -> Permit {
        let granted = {
            let mut state = self.lock();
            if state.waiting.is_empty() && state.fits(slots) {
                return self.grant(&mut state, slots);
            }
            let (sender, granted) = oneshot::channel();
            state.waiting.push_back(Waiting {
                slots,
                granted: sender,
            });
            self.observe(&state);
            granted
        };
        match granted.await {
            Ok(permit) => permit,
            // It fails once the sender is dropped; `self` holds it.
            Err(_) => std::future::pending().await,
        }
    }

    fn grant(&self, state: &mut State, slots: u32) -> Permit {
        state.used += slots;
        self.observe(state);
        Permit {
            limit: self.clone(),
            slots,
            sent: Instant::now(),
        }
    }

    fn answered(&self, slots: u32, sent: Instant, answer: Answer) {
        self.lock().answered(slots, sent, answer);
    }

    /// Frees slots, and grants them to the next requests.
    fn release(&self, slots: u32) {
        self.lock().used -= slots;
        while let Some((granted, permit)) = self.next() {
            // If the waiting request was cancelled, its permit is dropped here, while nothing is locked.
            let _ = granted.send(permit);
        }
    }

    fn next(&self) -> Option<(oneshot::Sender<Permit>, Permit)> {
        let mut state = self.lock();
        while state
            .waiting
            .front()
            .is_some_and(|next| next.granted.is_closed())
        {
            state.waiting.pop_front();
        }
        let slots = state.waiting.front().map(|next| next.slots);
        let next = slots
            .filter(|slots| state.fits(*slots))
            .and_then(|_| state.waiting.pop_front());
        self.observe(&state);
        let next = next?;
        let permit = self.grant(&mut state, next.slots);
        Some((next.granted, permit))
    }

    fn observe(&self, state: &State) {
        // A limit is small and positive.
        #[expect(clippy::cast_possible_truncation)]
        let limit = state.limit as i64;
        let waiting = i64::try_from(state.waiting.len()).unwrap_or(i64::MAX);
        self.metrics.in_flight(limit, state.used.into(), waiting);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fits(&self, slots: u32) -> bool {
        self.used == 0 || f64::from(self.used) + f64::from(slots) <= self.limit
    }

    fn answered(&mut self, slots: u32, sent: Instant, answer: Answer) {
        match answer {
            // An unused limit is no measure of what the API server can do.
            Answer::Prompt if f64::from(self.used) * 2.0 > self.limit => {
                self.limit = (self.limit + f64::from(slots) / self.limit).min(MOST);
            }
            Answer::Prompt => {}
            Answer::Slow => self.decrease(sent),
            Answer::Overloaded { retry_after } => {
                self.decrease(sent);
                if let Some(wait) = retry_after {
                    let until = Instant::now() + wait.min(LONGEST_PAUSE);
                    self.paused_until = self.paused_until.max(Some(until));
                }
            }
        }
    }

    /// Requests that were in flight at the last decrease do not cause another.
    fn decrease(&mut self, sent: Instant) {
        if self.decreased.is_none_or(|decreased| decreased <= sent) {
            self.limit = (self.limit * DECREASE).max(FEWEST);
            self.decreased = Some(Instant::now());
        }
    }
}

/// The slots of one request in flight.
#[derive(Debug)]
pub struct Permit {
    limit: Limit,
    slots: u32,
    sent: Instant,
}

impl Permit {
    /// Adapts the limit to the answer.
    pub fn answered(self, answer: Answer) {
        self.limit.answered(self.slots, self.sent, answer);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limit.release(self.slots);
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, future::join_all};

    use super::*;

    const OVERLOADED: Answer = Answer::Overloaded { retry_after: None };

    fn limit() -> Limit {
        Limit::new(Metrics::new())
    }

    fn slots_of(limit: &Limit) -> f64 {
        limit.lock().limit
    }

    /// The number of requests of this many slots in flight.
    fn at_once(limit: &Limit, slots: u32) -> usize {
        let granted = std::iter::from_fn(|| limit.acquire(slots).now_or_never());
        granted.take(1000).collect::<Vec<_>>().len()
    }

    async fn serve(limit: &Limit, requests: usize, answer: Answer) {
        let requests = (0..requests).map(|_| async {
            let permit = limit.acquire(1).await;
            tokio::task::yield_now().await;
            permit.answered(answer);
        });
        join_all(requests).await;
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_take_more_slots() {
        assert_eq!([0, 1000, 32 * 1024, 390_000].map(slots), [1, 1, 2, 12]);
        let limit = limit();
        assert_eq!(at_once(&limit, 1), 32);
        assert_eq!(at_once(&limit, slots(390_000)), 2);
        assert_eq!(at_once(&limit, u32::MAX / 2), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn limit_grows_only_in_use() {
        let limit = limit();
        for _ in 0..100 {
            serve(&limit, 1, Answer::Prompt).await;
        }
        assert!((slots_of(&limit) - FIRST).abs() < f64::EPSILON);
        serve(&limit, 10_000, Answer::Prompt).await;
        assert!((slots_of(&limit) - MOST).abs() < f64::EPSILON);
    }

    #[tokio::test(start_paused = true)]
    async fn limit_shrinks_once_for_requests_in_flight() {
        let limit = limit();
        let all = join_all((0..20).map(|_| limit.acquire(1))).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        for permit in all {
            permit.answered(Answer::Slow);
        }
        assert!((slots_of(&limit) - FIRST * DECREASE).abs() < f64::EPSILON);
        for _ in 0..100 {
            tokio::time::advance(Duration::from_millis(1)).await;
            serve(&limit, 1, OVERLOADED).await;
        }
        assert!((slots_of(&limit) - FEWEST).abs() < f64::EPSILON);
        assert_eq!(at_once(&limit, 1), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_delays_every_request() {
        let limit = limit();
        let wait = Some(Duration::from_secs(3));
        limit
            .acquire(1)
            .await
            .answered(Answer::Overloaded { retry_after: wait });
        let begun = Instant::now();
        join_all((0..5).map(|_| limit.acquire(1))).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_granted_in_order() {
        let limit = limit();
        let first = limit.acquire(31).await;
        let mut large = Box::pin(limit.acquire(8));
        let mut small = Box::pin(limit.acquire(1));
        assert!((&mut large).now_or_never().is_none());
        // It would fit without the one before it.
        assert!((&mut small).now_or_never().is_none());
        drop(large);
        drop(first);
        assert!(small.now_or_never().is_some());
        assert_eq!(limit.lock().used, 0);
        assert_eq!(at_once(&limit, 1), 32);
    }
}
