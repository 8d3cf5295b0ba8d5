//! A simulated cluster with the Workplans of one Workflow, and an operator that may be killed.

use std::{sync::Arc, time::Duration};

use kubeci_api::{HistoryStatus, Phase};
use proptest::prelude::*;

use super::{
    Deletions, HistoryLimits,
    tests::{ALL_RECORDED, at, state},
};
use crate::{observed_workplan::WorkplanOutcome, workplan_index::WorkplanIndex};

#[derive(Clone, Debug)]
enum Action {
    /// A Workplan runs and finishes in this phase.
    Run { phase: Phase },
    /// The status is written. The write may fail, or succeed without an answer.
    WriteStatus { stored: bool, answered: bool },
    /// The API server deletes some of the requested Workplans.
    Delete { requests: usize },
    /// `kill -9` and a restart.
    Kill,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let phase = prop_oneof![Just(Phase::Completed), Just(Phase::Failed)];
    let write = any::<[bool; 2]>();
    let action = prop_oneof![
        6 => phase.prop_map(|phase| Action::Run { phase }),
        4 => write.prop_map(|[stored, answered]| Action::WriteStatus { stored, answered }),
        3 => (0..4_usize).prop_map(|requests| Action::Delete { requests }),
        1 => Just(Action::Kill),
    ];
    proptest::collection::vec(action, 1..80)
}

#[derive(Default)]
struct Simulation {
    workplans: WorkplanIndex,
    /// The number of Workplans that succeeded and failed.
    finished: [i64; 2],
    status: Option<HistoryStatus>,
    deletions: Deletions,
    requested: Vec<Arc<str>>,
}

const LIMITS: HistoryLimits = HistoryLimits {
    succeeded: 2,
    failed: 1,
    ttl: Duration::from_hours(1),
};

const OUTCOMES: [WorkplanOutcome; 2] = [WorkplanOutcome::Succeeded, WorkplanOutcome::Failed];

impl Simulation {
    fn apply(&mut self, action: &Action) {
        match *action {
            Action::Run { phase } => {
                self.finished[usize::from(phase == Phase::Failed)] += 1;
                let number = self.finished.iter().sum();
                let name = format!("{number:03}");
                self.workplans.apply(&name, state(number, phase), None);
            }
            Action::WriteStatus { stored, answered } => self.write_status(stored, answered),
            Action::Delete { requests } => {
                let requests = requests.min(self.requested.len());
                for name in self.requested.drain(..requests) {
                    self.workplans.remove(&name);
                }
            }
            Action::Kill => {
                self.requested.clear();
                self.deletions =
                    Deletions::from_status(self.status.as_ref(), Some(&self.workplans));
            }
        }
    }

    fn write_status(&mut self, stored: bool, answered: bool) {
        let now = at(self.finished.iter().sum());
        self.deletions
            .advance(Some(&LIMITS), &self.workplans, ALL_RECORDED, now);
        if stored {
            self.status = self.deletions.to_status();
            assert_eq!(self.counts(), self.finished);
        }
        if stored && answered {
            self.requested.extend(self.deletions.request().cloned());
        }
    }

    fn counts(&self) -> [i64; 2] {
        OUTCOMES.map(|outcome| self.deletions.count(outcome, Some(&self.workplans)))
    }
}

proptest! {
    #[test]
    fn finished_workplan_counts_once_despite_faults(actions in actions()) {
        let mut simulation = Simulation::default();
        for action in &actions {
            simulation.apply(action);
        }
        for _ in 0..3 {
            simulation.apply(&Action::WriteStatus { stored: true, answered: true });
            simulation.apply(&Action::Delete { requests: usize::MAX });
        }
        simulation.apply(&Action::WriteStatus { stored: true, answered: true });
        prop_assert_eq!(simulation.counts(), simulation.finished);
        let left = OUTCOMES.map(|outcome| simulation.workplans.finished(outcome).len());
        let kept = [LIMITS.succeeded, LIMITS.failed];
        for ((left, kept), finished) in left.into_iter().zip(kept).zip(simulation.finished) {
            prop_assert_eq!(left, kept.min(usize::try_from(finished).unwrap()));
        }
        prop_assert_eq!(simulation.deletions.batch.len(), 0);
    }
}

#[test]
fn recreated_workplan_is_kept() {
    let mut simulation = Simulation::default();
    for _ in 0..3 {
        simulation.apply(&Action::Run {
            phase: Phase::Completed,
        });
    }
    simulation.write_status(true, true);
    let requested = simulation.requested.clone();
    assert_eq!(requested, ["001".into()]);
    let recreated = state(1, Phase::Running);
    simulation.workplans.apply("001", recreated, None);
    simulation.finished[0] -= 1;
    simulation.write_status(true, true);
    assert_eq!(simulation.deletions.batch.len(), 0);
    assert_eq!(simulation.workplans.active(), 1);
}
