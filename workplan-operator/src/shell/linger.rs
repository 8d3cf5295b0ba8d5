//! When a status is written that nothing depends on: a moment late, so that a quick change after it goes
//! with it and no pod that is due meanwhile waits for the write. Until then it is kept in mind, so that what
//! was seen once counts, whatever becomes of the pod that told it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kubeci_api::{Order, Workplan, WorkplanStatus};

use super::by_workplan::ByWorkplan;

const LINGER: SignedDuration = SignedDuration::from_millis(100);

/// The steps of a relay follow each other without the operator, which merely tells how far they are.
const LINGER_IN_RELAY: SignedDuration = SignedDuration::from_secs(10);

/// The statuses of Workplans that are to be written, by their uids.
#[derive(Default)]
pub struct Linger(ByWorkplan<Held>);

struct Held {
    since: Timestamp,
    status: WorkplanStatus,
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
        let held = all
            .entry(workplan.uid().unwrap_or_default())
            .or_insert_with(|| Held {
                since: now,
                status: WorkplanStatus::default(),
            });
        held.status = status.clone();
        let until = held.since + duration(workplan.spec.order, written, status);
        (now < until).then_some(until)
    }

    /// The Workplan with the status that it is to have.
    pub fn kept_in_mind(&self, workplan: &Arc<Workplan>) -> Arc<Workplan> {
        let all = self.0.all();
        let held = workplan.uid().and_then(|uid| all.get(&uid));
        held.map_or_else(
            || Arc::clone(workplan),
            |held| {
                Arc::new(Workplan {
                    status: Some(held.status.clone()),
                    ..Workplan::clone(workplan)
                })
            },
        )
    }

    /// Takes note that nothing is to be written any more.
    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }
}

/// Mere progress of a relay may wait longest: that it runs is written soon, and what keeps it waiting too.
fn duration(order: Order, written: &WorkplanStatus, status: &WorkplanStatus) -> SignedDuration {
    let is_progress = written.phase == status.phase && written.reason == status.reason;
    if order == Order::Relay && is_progress {
        LINGER_IN_RELAY
    } else {
        LINGER
    }
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
        linger.forget("uid");
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
        let until = Linger::default().until(&workplan, &written, &next, at(0));
        assert_eq!(until, Some(at(expected)));
    }

    #[test]
    fn what_is_to_be_written_counts_already() {
        let linger = Linger::default();
        let workplan = Arc::new(workplan(Order::Relay, &["| a"]));
        assert_eq!(linger.kept_in_mind(&workplan).status, None);
        let running = status(Phase::Running, None);
        linger.until(&workplan, &WorkplanStatus::default(), &running, at(0));
        assert_eq!(linger.kept_in_mind(&workplan).status, Some(running));
        linger.forget("uid");
        assert_eq!(linger.kept_in_mind(&workplan).status, None);
    }
}
