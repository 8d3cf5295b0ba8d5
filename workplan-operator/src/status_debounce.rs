//! Delays the write of a status that nothing depends on: a change soon after it is written with it, and no pod that is
//! due waits for the write. The delayed status is used from the start: an observation counts even if its pod is deleted
//! before the write.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kubeci_api::{Order, WorkplanStatus};

use crate::status_change::StatusChange;

const DELAY: SignedDuration = SignedDuration::from_millis(100);

/// The minimum between two writes of the progress of a relay. Its steps follow each other without the operator.
const RELAY_INTERVAL: SignedDuration = SignedDuration::from_secs(10);

/// The bytes per second of all writes of progress. Each write stores the whole Workplan again, and etcd keeps the
/// replaced one for ten minutes: they must fit into 2 GB, the usual limit of etcd.
const BYTES_PER_SECOND: i64 = 1 << 20;

/// How long unused bytes can be used later.
const BURST: SignedDuration = SignedDuration::from_secs(20);

/// The bytes that writes of progress may use, in all Workplans.
#[derive(Default)]
pub struct WriteBudget {
    /// Up to when the bytes are reserved.
    reserved: Mutex<Timestamp>,
}

impl WriteBudget {
    /// Reserves this many bytes at this time, or later; returns the time.
    fn reserve(&self, bytes: usize, from: Timestamp) -> Timestamp {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*reserved).max(from - BURST);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let time = bytes.saturating_mul(1000) / BYTES_PER_SECOND;
        *reserved = start + SignedDuration::from_millis(time);
        start.max(from)
    }
}

/// A change of the status of a Workplan.
pub struct StatusUpdate<'a> {
    pub order: Order,
    /// The bytes of the Workplan as JSON.
    pub size: usize,
    pub flushed: &'a WorkplanStatus,
    pub next: &'a WorkplanStatus,
}

impl StatusUpdate<'_> {
    /// Whether only the progress changes. That a plan runs is written soon, and so is what it waits for.
    fn is_progress(&self) -> bool {
        self.flushed.phase == self.next.phase
            && self.flushed.reason == self.next.reason
            && self.flushed.summary == self.next.summary
    }
}

/// The debounced status of one Workplan.
#[derive(Default)]
pub struct StatusDebounce {
    dirty: Option<Dirty>,
    /// The time that the budget has reserved.
    reserved: Option<Timestamp>,
    flushed_at: Option<Timestamp>,
}

struct Dirty {
    since: Timestamp,
    change: StatusChange,
}

impl StatusDebounce {
    /// Keeps a change until it is written; returns until when the write is delayed, or none if it is due.
    pub fn delay(
        &mut self,
        update: &StatusUpdate,
        budget: &WriteBudget,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let since = self.dirty.as_ref().map_or(now, |dirty| dirty.since);
        let change = StatusChange::between(update.flushed, update.next);
        self.dirty = Some(Dirty { since, change });
        let mut until = since + DELAY;
        if update.is_progress() {
            if update.order == Order::Relay
                && let Some(flushed_at) = self.flushed_at
            {
                until = until.max(flushed_at + RELAY_INTERVAL);
            }
            let reserve = || budget.reserve(update.size, until);
            until = until.max(*self.reserved.get_or_insert_with(reserve));
        }
        (now < until).then_some(until)
    }

    /// The status that is not written yet, if there is one.
    pub fn dirty(&self, flushed: &WorkplanStatus) -> Option<WorkplanStatus> {
        let dirty = self.dirty.as_ref()?;
        Some(dirty.change.apply(flushed))
    }

    /// Drops the change, because there is nothing to write.
    pub fn clear(&mut self) {
        self.dirty = None;
    }

    /// The change was written.
    pub fn flushed(&mut self, now: Timestamp) {
        *self = Self {
            flushed_at: Some(now),
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use kubeci_api::Phase;
    use rstest::rstest;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + millis).unwrap()
    }

    fn status(phase: Phase, reason: Option<&str>) -> WorkplanStatus {
        WorkplanStatus {
            phase: Some(phase),
            reason: reason.map(Into::into),
            ..WorkplanStatus::default()
        }
    }

    fn update<'a>(
        order: Order,
        flushed: &'a WorkplanStatus,
        next: &'a WorkplanStatus,
    ) -> StatusUpdate<'a> {
        StatusUpdate {
            order,
            size: SMALL,
            flushed,
            next,
        }
    }

    const SMALL: usize = 3000;
    const LARGE: usize = 400_000;

    #[test]
    fn constant_changes_do_not_delay_a_status() {
        let (mut debounce, budget) = (StatusDebounce::default(), WriteBudget::default());
        let (none, running) = (WorkplanStatus::default(), status(Phase::Running, None));
        let update = update(Order::Linear, &none, &running);
        assert_eq!(debounce.delay(&update, &budget, at(0)), Some(at(100)));
        assert_eq!(debounce.delay(&update, &budget, at(99)), Some(at(100)));
        assert_eq!(debounce.delay(&update, &budget, at(100)), None);
        debounce.flushed(at(100));
        assert_eq!(debounce.delay(&update, &budget, at(150)), Some(at(250)));
    }

    #[rstest]
    #[case::progress(Phase::Running, None, 10_000)]
    #[case::reason(Phase::Running, Some("ImagePullBackOff"), 100)]
    #[case::another_phase(Phase::Pending, None, 100)]
    fn progress_of_a_relay_is_delayed(
        #[case] phase: Phase,
        #[case] reason: Option<&str>,
        #[case] expected: i64,
    ) {
        let (flushed, next) = (status(Phase::Running, None), status(phase, reason));
        let (mut debounce, budget) = (StatusDebounce::default(), WriteBudget::default());
        debounce.flushed(at(0));
        let update = update(Order::Relay, &flushed, &next);
        assert_eq!(debounce.delay(&update, &budget, at(0)), Some(at(expected)));
    }

    #[test]
    fn long_step_of_a_relay_is_written_soon() {
        let (mut debounce, budget) = (StatusDebounce::default(), WriteBudget::default());
        let running = status(Phase::Running, None);
        let update = update(Order::Relay, &running, &running);
        debounce.flushed(at(0));
        assert_eq!(
            debounce.delay(&update, &budget, at(60_000)),
            Some(at(60_100))
        );
        assert_eq!(debounce.delay(&update, &budget, at(60_100)), None);
        debounce.flushed(at(60_100));
        assert_eq!(
            debounce.delay(&update, &budget, at(61_000)),
            Some(at(70_100))
        );
    }

    #[test]
    fn dirty_status_counts_before_its_write() {
        let (mut debounce, budget) = (StatusDebounce::default(), WriteBudget::default());
        let none = WorkplanStatus::default();
        assert_eq!(debounce.dirty(&none), None);
        let running = status(Phase::Running, None);
        let update = update(Order::Relay, &none, &running);
        debounce.delay(&update, &budget, at(0));
        assert_eq!(debounce.dirty(&none), Some(running.clone()));
        debounce.delay(&update, &budget, at(200));
        assert_eq!(
            debounce.dirty(&none),
            Some(running.clone()),
            "not written yet"
        );
        debounce.flushed(at(200));
        assert_eq!(debounce.dirty(&none), None);
    }

    #[rstest]
    #[case::small(SMALL, 100)]
    #[case::large(LARGE, 300 * 1000 * 400_000 / BYTES_PER_SECOND - 20_000)]
    fn progress_of_many_large_plans_is_limited(#[case] size: usize, #[case] last: i64) {
        let budget = WriteBudget::default();
        let running = status(Phase::Running, None);
        let update = StatusUpdate {
            size,
            ..update(Order::Graph, &running, &running)
        };
        let until = |debounce: &mut StatusDebounce| {
            let until = debounce.delay(&update, &budget, at(0));
            until.unwrap().as_millisecond() - at(0).as_millisecond()
        };
        let mut first = StatusDebounce::default();
        assert_eq!(until(&mut first), 100);
        let others = (1..300).map(|_| until(&mut StatusDebounce::default()));
        let latest = others.max().unwrap();
        assert!(
            (latest - last).abs() < 1000,
            "{latest} is not around {last}"
        );
        assert_eq!(until(&mut first), 100, "its bytes are reserved once");
    }

    #[test]
    fn start_of_a_large_plan_is_written_soon() {
        let (pending, running) = (WorkplanStatus::default(), status(Phase::Running, None));
        let budget = WriteBudget::default();
        let update = StatusUpdate {
            size: LARGE,
            ..update(Order::Graph, &pending, &running)
        };
        for _ in 0..300 {
            let until = StatusDebounce::default().delay(&update, &budget, at(0));
            assert_eq!(until, Some(at(100)));
        }
    }
}
