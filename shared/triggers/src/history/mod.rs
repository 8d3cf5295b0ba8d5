//! Which ended Workplans of a Workflow are deleted, so that each is counted once whenever the operator dies.
//!
//! The status first says, in one write, which Workplans are about to be deleted and counts them as deleted;
//! only then are they. What the status names and still exists after a restart is deleted and not counted
//! again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kubeci_api::{History, HistoryStatus};

use crate::observed_workplan::{End, Runs};

/// The most Workplans of one Workflow that are deleted between two writes of its status.
const BATCH_MAX: usize = 100;

/// What is kept of the Workplans that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub succeeded: usize,
    pub failed: usize,
    pub ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            succeeded: 100,
            failed: 100,
            ttl: Duration::from_hours(7 * 24),
        }
    }
}

impl Limits {
    /// What a Workflow says, completed by these defaults.
    #[must_use]
    pub fn with(self, history: Option<&History>) -> Self {
        let Some(history) = history else {
            return self;
        };
        let count = |given: Option<i32>| given.and_then(|count| usize::try_from(count).ok());
        Self {
            succeeded: count(history.succeeded).unwrap_or(self.succeeded),
            failed: count(history.failed).unwrap_or(self.failed),
            ttl: history.ttl.map_or(self.ttl, Duration::from),
        }
    }

    /// The Workplans beyond these limits that may be deleted, the earliest of each end first: their folders
    /// are gone, and the ledger has all events up to `told`.
    fn beyond<'a>(
        &self,
        runs: &'a Runs,
        told: i64,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a Arc<str>, End)> {
        // A ttl that reaches back before all times expires nothing.
        let expiry = now.checked_sub(self.ttl).unwrap_or(Timestamp::MIN);
        let kept = [(End::Succeeded, self.succeeded), (End::Failed, self.failed)];
        kept.into_iter().flat_map(move |(end, kept)| {
            let ended = runs.ended(end);
            let excess = ended.len().saturating_sub(kept);
            let beyond = ended.iter().enumerate();
            let beyond =
                beyond.take_while(move |(at, (ended, _))| *at < excess || *ended <= expiry);
            let beyond = beyond.map(move |(_, (_, name))| (name, end));
            beyond.filter(move |(name, _)| {
                runs.get(name).is_some_and(|run| {
                    !run.held && run.sequence.is_some_and(|sequence| sequence <= told)
                })
            })
        })
    }
}

/// The Workplans of one Workflow that were deleted, and those that are about to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    succeeded: i64,
    failed: i64,
    /// They are counted already; each is here as long as it exists.
    batch: BTreeMap<Arc<str>, End>,
    /// Whether the deletion of the batch has been ordered.
    ordered: bool,
}

impl Deleted {
    /// What a status says, given the Workplans that exist.
    #[must_use]
    pub fn read(status: Option<&HistoryStatus>, runs: Option<&Runs>) -> Self {
        let Some(status) = status else {
            return Self::default();
        };
        let exists = |name: &String| {
            let end = runs?.get(name)?.end()?;
            Some((name.as_str().into(), end))
        };
        Self {
            succeeded: status.succeeded,
            failed: status.failed,
            batch: status.deleting.iter().filter_map(exists).collect(),
            ordered: false,
        }
    }

    /// What the status is to say; nothing before the first deletion.
    #[must_use]
    pub fn status(&self) -> Option<HistoryStatus> {
        let names = self.batch.keys().map(ToString::to_string);
        let status = HistoryStatus {
            succeeded: self.succeeded,
            failed: self.failed,
            deleting: names.collect(),
        };
        (status != HistoryStatus::default()).then_some(status)
    }

    /// How many Workplans have ended so: those that were deleted and those that exist.
    #[must_use]
    pub fn count(&self, end: End, runs: Option<&Runs>) -> i64 {
        let deleted = match end {
            End::Succeeded => self.succeeded,
            End::Failed => self.failed,
        };
        let twice = self.batch.values().filter(|of| **of == end).count();
        let exist = runs.map_or(0, |runs| runs.ended(end).len());
        deleted.saturating_add(i64::try_from(exist.saturating_sub(twice)).unwrap_or(i64::MAX))
    }

    /// Whether a Workplan waits to be deleted.
    #[must_use]
    pub fn is_due(&self, limits: &Limits, runs: &Runs, told: i64, now: Timestamp) -> bool {
        self.batch.is_empty() && limits.beyond(runs, told, now).next().is_some()
    }

    /// Lets go of what is deleted, and chooses what is deleted next once nothing is left of the last choice.
    pub fn advance(&mut self, limits: Option<&Limits>, runs: &Runs, told: i64, now: Timestamp) {
        self.batch.retain(|name, end| {
            let run = runs.get(name);
            let again = run.is_some_and(|run| !run.deleting && run.end() != Some(*end));
            if again {
                // Somebody made it anew, or made it another: that one is not deleted.
                *counter(&mut self.succeeded, &mut self.failed, *end) -= 1;
            }
            run.is_some_and(|run| run.end() == Some(*end))
        });
        let Some(limits) = limits.filter(|_| self.batch.is_empty()) else {
            return;
        };
        let next = limits.beyond(runs, told, now).take(BATCH_MAX);
        self.batch = next.map(|(name, end)| (name.clone(), end)).collect();
        for end in self.batch.values() {
            *counter(&mut self.succeeded, &mut self.failed, *end) += 1;
        }
        self.ordered = false;
    }

    /// The Workplans to delete, once the status names them.
    pub fn order(&mut self) -> impl Iterator<Item = &Arc<str>> {
        let first = !std::mem::replace(&mut self.ordered, true);
        self.batch.keys().filter(move |_| first)
    }
}

fn counter<'a>(succeeded: &'a mut i64, failed: &'a mut i64, end: End) -> &'a mut i64 {
    match end {
        End::Succeeded => succeeded,
        End::Failed => failed,
    }
}

#[cfg(test)]
mod tests {
    use kubeci_api::Phase;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::observed_workplan::RunState;

    const TOLD: i64 = 1000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn state(number: i64, phase: Phase) -> RunState {
        RunState {
            uid: "uid".into(),
            phase,
            ended: at(number),
            sequence: Some(number),
            held: false,
            deleting: false,
        }
    }

    fn limits(succeeded: usize, failed: usize, ttl: u64) -> Limits {
        Limits {
            succeeded,
            failed,
            ttl: Duration::from_secs(ttl),
        }
    }

    /// Ten Workplans that ended one a second: the odd ones completed, the even ones failed.
    fn ten() -> Runs {
        let mut runs = Runs::default();
        for number in 1..=10 {
            let phase = [Phase::Failed, Phase::Completed][usize::from(number % 2 == 1)];
            runs.apply(&number.to_string(), state(number, phase), None);
        }
        runs
    }

    fn beyond(limits: &Limits, runs: &Runs, told: i64, now: i64) -> Vec<i64> {
        let beyond = limits.beyond(runs, told, at(now));
        beyond.map(|(name, _)| name.parse().unwrap()).collect()
    }

    #[rstest]
    #[case::each_end_apart(limits(1, 4, 100), TOLD, &[1, 3, 5, 7, 2])]
    #[case::none(limits(0, 5, 100), TOLD, &[1, 3, 5, 7, 9])]
    #[case::expired(limits(9, 9, 6), TOLD, &[1, 3, 2, 4])]
    #[case::either(limits(1, 9, 8), TOLD, &[1, 3, 5, 7, 2])]
    #[case::ledger_behind(limits(1, 9, 100), 3, &[1, 3])]
    #[case::everything_kept(limits(9, 9, u64::MAX), TOLD, &[])]
    fn what_is_beyond_goes_earliest_first(
        #[case] limits: Limits,
        #[case] told: i64,
        #[case] names: &[i64],
    ) {
        assert_eq!(beyond(&limits, &ten(), told, 10), names);
    }

    #[test]
    fn what_may_not_be_deleted_is_counted() {
        let mut runs = ten();
        let held = RunState {
            held: true,
            ..state(1, Phase::Completed)
        };
        let by_hand = RunState {
            sequence: None,
            ..state(3, Phase::Completed)
        };
        runs.apply("1", held, None);
        runs.apply("3", by_hand, None);
        runs.apply("11", state(11, Phase::Running), None);
        assert_eq!(beyond(&limits(2, 9, 100), &runs, TOLD, 11), [5]);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Run { phase: Phase },
        Write { done: bool, heard: bool },
        Delete { orders: usize },
        Kill,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let phase = prop_oneof![Just(Phase::Completed), Just(Phase::Failed)];
        let act = prop_oneof![
            6 => phase.prop_map(|phase| Act::Run { phase }),
            4 => any::<[bool; 2]>().prop_map(|[done, heard]| Act::Write { done, heard }),
            3 => (0..4_usize).prop_map(|orders| Act::Delete { orders }),
            1 => Just(Act::Kill),
        ];
        proptest::collection::vec(act, 1..80)
    }

    /// A cluster with the Workplans of one Workflow, and an operator that may be killed.
    #[derive(Default)]
    struct World {
        runs: Runs,
        ended: [i64; 2],
        status: Option<HistoryStatus>,
        deleted: Deleted,
        ordered: Vec<Arc<str>>,
    }

    const KEPT: Limits = Limits {
        succeeded: 2,
        failed: 1,
        ttl: Duration::from_hours(1),
    };

    impl World {
        fn act(&mut self, act: &Act) {
            match *act {
                Act::Run { phase } => {
                    self.ended[usize::from(phase == Phase::Failed)] += 1;
                    let number = self.ended.iter().sum();
                    let name = format!("{number:03}");
                    self.runs.apply(&name, state(number, phase), None);
                }
                Act::Write { done, heard } => self.write(done, heard),
                Act::Delete { orders } => {
                    let orders = orders.min(self.ordered.len());
                    for name in self.ordered.drain(..orders) {
                        self.runs.remove(&name);
                    }
                }
                Act::Kill => {
                    self.ordered.clear();
                    self.deleted = Deleted::read(self.status.as_ref(), Some(&self.runs));
                }
            }
        }

        fn write(&mut self, done: bool, heard: bool) {
            let now = at(self.ended.iter().sum());
            self.deleted.advance(Some(&KEPT), &self.runs, TOLD, now);
            if done {
                self.status = self.deleted.status();
                assert_eq!(self.counts(), self.ended);
            }
            if done && heard {
                self.ordered.extend(self.deleted.order().cloned());
            }
        }

        fn counts(&self) -> [i64; 2] {
            [End::Succeeded, End::Failed].map(|end| self.deleted.count(end, Some(&self.runs)))
        }
    }

    proptest! {
        #[test]
        fn each_ended_workplan_counts_once_whatever_breaks(acts in acts()) {
            let mut world = World::default();
            for act in &acts {
                world.act(act);
            }
            for _ in 0..3 {
                world.act(&Act::Write { done: true, heard: true });
                world.act(&Act::Delete { orders: usize::MAX });
            }
            world.act(&Act::Write { done: true, heard: true });
            prop_assert_eq!(world.counts(), world.ended);
            let left = [End::Succeeded, End::Failed].map(|end| world.runs.ended(end).len());
            let kept = [KEPT.succeeded, KEPT.failed];
            for ((left, kept), ended) in left.into_iter().zip(kept).zip(world.ended) {
                prop_assert_eq!(left, kept.min(usize::try_from(ended).unwrap()));
            }
            prop_assert_eq!(world.deleted.batch.len(), 0);
        }
    }

    #[test]
    fn deleted_workplans_are_made_anew_and_stay() {
        let mut world = World::default();
        for _ in 0..3 {
            world.act(&Act::Run {
                phase: Phase::Completed,
            });
        }
        world.write(true, true);
        let ordered = world.ordered.clone();
        assert_eq!(ordered, ["001".into()]);
        world.runs.apply("001", state(1, Phase::Running), None);
        world.ended[0] -= 1;
        world.write(true, true);
        assert_eq!(world.deleted.batch.len(), 0);
        assert_eq!(world.runs.active(), 1);
    }
}
