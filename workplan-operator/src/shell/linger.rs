//! When a status is written that nothing depends on: a moment late, so that a quick change after it goes
//! with it and no pod that is due meanwhile waits for the write. Until then it is kept in mind, so that what
//! was seen once counts, whatever becomes of the pod that told it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kubeci_api::{Order, Workplan, WorkplanStatus};

use super::by_workplan::ByWorkplan;

const LINGER: SignedDuration = SignedDuration::from_millis(100);

/// The steps of a relay follow each other without the operator, which merely tells how far they are, and not
/// more often than so.
const PROGRESS_APART: SignedDuration = SignedDuration::from_secs(10);

/// The statuses of Workplans that are to be written, by their uids.
#[derive(Default)]
pub struct Linger(ByWorkplan<Held>);

#[derive(Default)]
struct Held {
    /// What is to be written, and since when.
    next: Option<(Timestamp, WorkplanStatus)>,
    written_at: Option<Timestamp>,
}

impl Linger {
    /// When a status that is to be written should be; none if now.
    pub fn until(
        &self,
        workplan: &Workplan,
        written: &WorkplanStatus,
        status: &WorkplanStatus,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut all = self.0.all();
        let held = all.entry(workplan.uid().unwrap_or_default()).or_default();
        let since = held.next.as_ref().map_or(now, |(since, _)| *since);
        held.next = Some((since, status.clone()));
        let mut until = since + LINGER;
        if let Some(written_at) = held.written_at
            && is_progress(workplan.spec.order, written, status)
        {
            until = until.max(written_at + PROGRESS_APART);
        }
        (now < until).then_some(until)
    }

    /// The Workplan with the status that it is to have.
    pub fn kept_in_mind(&self, workplan: &Arc<Workplan>) -> Arc<Workplan> {
        let all = self.0.all();
        let held = workplan.uid().and_then(|uid| all.get(&uid)?.next.as_ref());
        held.map_or_else(
            || Arc::clone(workplan),
            |(_, status)| {
                Arc::new(Workplan {
                    status: Some(status.clone()),
                    ..Workplan::clone(workplan)
                })
            },
        )
    }

    /// Takes note that nothing is to be written any more.
    pub fn drop_next(&self, uid: &str) {
        if let Some(held) = self.0.all().get_mut(uid) {
            held.next = None;
        }
    }

    /// Takes note that a status is written now.
    pub fn write(&self, uid: &str, now: Timestamp) {
        let held = Held {
            next: None,
            written_at: Some(now),
        };
        self.0.all().insert(uid.to_owned(), held);
    }

    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }
}

/// Whether it merely tells how far a relay is: that it runs is written soon, and what keeps it waiting too.
fn is_progress(order: Order, written: &WorkplanStatus, status: &WorkplanStatus) -> bool {
    order == Order::Relay && written.phase == status.phase && written.reason == status.reason
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

    #[test]
    fn steady_changes_do_not_hold_a_status_up() {
        let linger = Linger::default();
        let workplan = workplan(Order::Linear, &["a"]);
        let status = status(Phase::Running, None);
        let until =
            |millis| linger.until(&workplan, &WorkplanStatus::default(), &status, at(millis));
        assert_eq!(until(0), Some(at(100)));
        assert_eq!(until(99), Some(at(100)));
        assert_eq!(until(100), None);
        linger.write("uid", at(100));
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
        linger.write("uid", at(0));
        assert_eq!(
            linger.until(&workplan, &written, &next, at(0)),
            Some(at(expected))
        );
    }

    #[test]
    fn a_step_of_a_relay_that_took_long_is_told_at_once() {
        let linger = Linger::default();
        let workplan = workplan(Order::Relay, &["| a"]);
        let running = status(Phase::Running, None);
        linger.write("uid", at(0));
        let until = |millis| linger.until(&workplan, &running, &running, at(millis));
        assert_eq!(until(60_000), Some(at(60_100)));
        assert_eq!(until(60_100), None);
        linger.write("uid", at(60_100));
        assert_eq!(until(61_000), Some(at(70_100)));
    }

    #[test]
    fn what_is_to_be_written_counts_already() {
        let linger = Linger::default();
        let workplan = Arc::new(workplan(Order::Relay, &["| a"]));
        assert_eq!(linger.kept_in_mind(&workplan).status, None);
        let running = status(Phase::Running, None);
        linger.until(&workplan, &WorkplanStatus::default(), &running, at(0));
        assert_eq!(linger.kept_in_mind(&workplan).status, Some(running));
        linger.drop_next("uid");
        assert_eq!(linger.kept_in_mind(&workplan).status, None);
    }
}
