//! How many requests are in flight: more while answers come quickly, fewer when the API server is slow or
//! turns requests away.

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

/// A limit is in slots. A request takes one, and one more for each of these bytes of its body.
const SLOT_BYTES: u64 = 32 * 1024;
const FEWEST: f64 = 2.0;
const FIRST: f64 = 32.0;
const MOST: f64 = 64.0;
/// What is left of the limit after a slow answer.
const DECREASE: f64 = 0.7;
/// However long the API server asks to wait, it is asked again after this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Bounds the requests in flight of one client. Those that wait have their turn in order.
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
    turn: oneshot::Sender<Permit>,
}

/// How an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// In time, or without a bearing on the load, as from a list.
    Prompt,
    Slow,
    /// The API server turns requests away, or does not answer at all.
    Overloaded {
        retry_after: Option<Duration>,
    },
}

/// The slots of a request whose body has so many bytes.
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

    /// Waits for so many slots. A request that needs more than there are gets them alone.
    pub async fn acquire(&self, slots: u32) -> Permit {
        loop {
            let permit = self.turn(slots).await;
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

    async fn turn(&self, slots: u32) -> Permit {
        let turn = {
            let mut state = self.lock();
            if state.waiting.is_empty() && state.fits(slots) {
                return self.grant(&mut state, slots);
            }
            let (sender, turn) = oneshot::channel();
            state.waiting.push_back(Waiting {
                slots,
                turn: sender,
            });
            self.observe(&state);
            turn
        };
        match turn.await {
            Ok(permit) => permit,
            // The queue lives as long as this limit does.
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

    /// Gives slots back, and lets the next have their turns.
    fn release(&self, slots: u32) {
        self.lock().used -= slots;
        while let Some((turn, permit)) = self.next() {
            // A waiter that is gone gives its permit back here, while nothing is locked.
            let _ = turn.send(permit);
        }
    }

    fn next(&self) -> Option<(oneshot::Sender<Permit>, Permit)> {
        let mut state = self.lock();
        while state
            .waiting
            .front()
            .is_some_and(|next| next.turn.is_closed())
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
        Some((next.turn, permit))
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
            // An unused limit says nothing about what the API server can do.
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

    /// What was in flight at the last decrease says nothing about its effect.
    fn decrease(&mut self, sent: Instant) {
        if self.decreased.is_none_or(|decreased| decreased <= sent) {
            self.limit = (self.limit * DECREASE).max(FEWEST);
            self.decreased = Some(Instant::now());
        }
    }
}

/// The right of one request to be in flight.
#[derive(Debug)]
pub struct Permit {
    limit: Limit,
    slots: u32,
    sent: Instant,
}

impl Permit {
    /// Learns from how the answer came.
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

    /// How many requests of these many slots are in flight at once.
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
    async fn limit_grows_only_while_it_is_used() {
        let limit = limit();
        for _ in 0..100 {
            serve(&limit, 1, Answer::Prompt).await;
        }
        assert!((slots_of(&limit) - FIRST).abs() < f64::EPSILON);
        serve(&limit, 10_000, Answer::Prompt).await;
        assert!((slots_of(&limit) - MOST).abs() < f64::EPSILON);
    }

    #[tokio::test(start_paused = true)]
    async fn limit_shrinks_once_for_what_was_in_flight() {
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
    async fn retry_after_holds_every_request_back() {
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
    async fn requests_that_wait_have_their_turns_in_order() {
        let limit = limit();
        let first = limit.acquire(31).await;
        let mut large = Box::pin(limit.acquire(8));
        let mut small = Box::pin(limit.acquire(1));
        assert!((&mut large).now_or_never().is_none());
        // It would fit, but for the one before it.
        assert!((&mut small).now_or_never().is_none());
        drop(large);
        drop(first);
        assert!(small.now_or_never().is_some());
        assert_eq!(limit.lock().used, 0);
        assert_eq!(at_once(&limit, 1), 32);
    }
}
