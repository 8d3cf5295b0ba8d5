//! When a status is written that nothing depends on: a moment late, so that a quick change after it goes
//! with it and no pod that is due meanwhile waits for the write. Until then it is kept in mind, so that what
//! was seen once counts, whatever becomes of the pod that told it.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kubeci_api::{Order, Workplan, WorkplanStatus};

use super::by_workplan::ByWorkplan;
use super::change::Change;

const LINGER: SignedDuration = SignedDuration::from_millis(100);

/// The steps of a relay follow each other without the operator, which merely tells how far they are, and not
/// more often than so.
const PROGRESS_APART: SignedDuration = SignedDuration::from_secs(10);

/// How much may be written a second to tell how far plans are, in bytes. Each write stores the whole Workplan
/// anew, and what it replaces stays in etcd for ten minutes: 2 GB, its usual limit, must hold them.
const PACE: i64 = 1 << 20;

/// How much of that may be saved up.
const SAVED: SignedDuration = SignedDuration::from_secs(20);

/// The statuses of Workplans that are to be written, by their uids.
#[derive(Default)]
pub struct Linger {
    all: ByWorkplan<Held>,
    /// Up to when the pace is taken.
    taken: Mutex<Timestamp>,
}

#[derive(Default)]
struct Held {
    /// What is to be written, and since when.
    next: Option<(Timestamp, Change)>,
    /// When that was given leave to be written, where it merely tells how far the plan is.
    leave: Option<Timestamp>,
    written_at: Option<Timestamp>,
}

impl Linger {
    /// Keeps in mind what is to be written, and says until when it may wait; none if it is due.
    pub fn until(
        &self,
        workplan: &Workplan,
        size: usize,
        written: &WorkplanStatus,
        status: &WorkplanStatus,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut all = self.all.all();
        let held = all.entry(workplan.uid().unwrap_or_default()).or_default();
        let since = held.next.as_ref().map_or(now, |(since, _)| *since);
        held.next = Some((since, Change::between(written, status)));
        let mut until = since + LINGER;
        if is_progress(written, status) {
            if workplan.spec.order == Order::Relay
                && let Some(written_at) = held.written_at
            {
                until = until.max(written_at + PROGRESS_APART);
            }
            let leave = held.leave.get_or_insert_with(|| self.leave(size, until));
            until = until.max(*leave);
        }
        (now < until).then_some(until)
    }

    /// The status that a Workplan is to have, if it is not the one that is written.
    pub fn next(&self, uid: &str, written: &WorkplanStatus) -> Option<WorkplanStatus> {
        let all = self.all.all();
        let (_, change) = all.get(uid)?.next.as_ref()?;
        Some(change.apply(written))
    }

    /// Takes note that nothing is to be written any more.
    pub fn drop_next(&self, uid: &str) {
        if let Some(held) = self.all.all().get_mut(uid) {
            held.next = None;
        }
    }

    /// Takes note that what was to be written is.
    pub fn wrote(&self, uid: &str, now: Timestamp) {
        let held = Held {
            written_at: Some(now),
            ..Held::default()
        };
        self.all.all().insert(uid.to_owned(), held);
    }

    pub fn forget(&self, uid: &str) {
        self.all.forget(uid);
    }

    /// When so many bytes may be written, at `from` or later.
    fn leave(&self, size: usize, from: Timestamp) -> Timestamp {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*taken).max(from - SAVED);
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        *taken = start + SignedDuration::from_millis(size.saturating_mul(1000) / PACE);
        start.max(from)
    }
}

/// Whether it merely tells how far a plan is: that it runs is written soon, and what keeps it waiting too.
fn is_progress(written: &WorkplanStatus, status: &WorkplanStatus) -> bool {
    written.phase == status.phase
        && written.reason == status.reason
        && written.summary == status.summary
}

#[cfg(test)]
mod tests {
    use kubeci_api::Phase;
    use rstest::rstest;

    use super::*;
    use crate::testing::workplan;

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

    const SMALL: usize = 3000;
    const LARGE: usize = 400_000;

    #[test]
    fn steady_changes_do_not_hold_a_status_up() {
        let linger = Linger::default();
        let workplan = workplan(Order::Linear, &["a"]);
        let status = status(Phase::Running, None);
        let until = |millis| {
            let written = WorkplanStatus::default();
            linger.until(&workplan, SMALL, &written, &status, at(millis))
        };
        assert_eq!(until(0), Some(at(100)));
        assert_eq!(until(99), Some(at(100)));
        assert_eq!(until(100), None);
        linger.wrote("uid", at(100));
        assert_eq!(until(150), Some(at(250)));
    }

    #[rstest]
    #[case::progress(Phase::Running, None, 10_000)]
    #[case::trouble(Phase::Running, Some("ImagePullBackOff"), 100)]
    #[case::another_phase(Phase::Pending, None, 100)]
    fn how_far_a_relay_is_may_wait(
        #[case] phase: Phase,
        #[case] reason: Option<&str>,
        #[case] expected: i64,
    ) {
        let workplan = workplan(Order::Relay, &["| a"]);
        let (written, next) = (status(Phase::Running, None), status(phase, reason));
        let linger = Linger::default();
        linger.wrote("uid", at(0));
        assert_eq!(
            linger.until(&workplan, SMALL, &written, &next, at(0)),
            Some(at(expected))
        );
    }

    #[test]
    fn a_step_of_a_relay_that_took_long_is_told_at_once() {
        let linger = Linger::default();
        let workplan = workplan(Order::Relay, &["| a"]);
        let running = status(Phase::Running, None);
        linger.wrote("uid", at(0));
        let until = |millis| linger.until(&workplan, SMALL, &running, &running, at(millis));
        assert_eq!(until(60_000), Some(at(60_100)));
        assert_eq!(until(60_100), None);
        linger.wrote("uid", at(60_100));
        assert_eq!(until(61_000), Some(at(70_100)));
    }

    #[test]
    fn what_is_to_be_written_counts_already() {
        let linger = Linger::default();
        let workplan = workplan(Order::Relay, &["| a"]);
        let none = WorkplanStatus::default();
        assert_eq!(linger.next("uid", &none), None);
        let running = status(Phase::Running, None);
        linger.until(&workplan, SMALL, &none, &running, at(0));
        assert_eq!(linger.next("uid", &none), Some(running.clone()));
        linger.until(&workplan, SMALL, &none, &running, at(200));
        assert_eq!(linger.next("uid", &none), Some(running), "not written yet");
        linger.wrote("uid", at(200));
        assert_eq!(linger.next("uid", &none), None);
    }

    #[rstest]
    #[case::small(SMALL, 100)]
    #[case::large(LARGE, 300 * 1000 * 400_000 / PACE - 20_000)]
    fn progress_of_many_large_plans_is_told_at_a_pace(#[case] size: usize, #[case] last: i64) {
        let linger = Linger::default();
        let running = status(Phase::Running, None);
        let until = |plan: i64| {
            let mut workplan = workplan(Order::Graph, &["| a"]);
            workplan.metadata.uid = Some(format!("uid-{plan}"));
            let until = linger.until(&workplan, size, &running, &running, at(0));
            until.unwrap().as_millisecond() - at(0).as_millisecond()
        };
        assert_eq!(until(0), 100);
        let latest = (1..300).map(until).max().unwrap();
        assert!(
            (latest - last).abs() < 1000,
            "{latest} is not around {last}"
        );
        assert_eq!(until(0), 100, "its leave is not asked for twice");
    }

    #[test]
    fn that_a_large_plan_runs_is_told_at_once() {
        let linger = Linger::default();
        let pending = WorkplanStatus::default();
        let running = status(Phase::Running, None);
        for plan in 0..300 {
            let mut workplan = workplan(Order::Graph, &["| a"]);
            workplan.metadata.uid = Some(format!("uid-{plan}"));
            let until = linger.until(&workplan, LARGE, &pending, &running, at(0));
            assert_eq!(until, Some(at(100)));
        }
    }
}
