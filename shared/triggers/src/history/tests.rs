use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kubeci_api::Phase;
use rstest::rstest;

use super::HistoryLimits;
use crate::{observed_workplan::WorkplanState, workplan_index::WorkplanIndex};

/// A sequence that is higher than that of all Workplans here.
pub const ALL_RECORDED: i64 = 1000;

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub fn state(number: i64, phase: Phase) -> WorkplanState {
    WorkplanState {
        uid: "uid".into(),
        phase,
        finished_at: at(number),
        sequence: Some(number),
        has_workspace: false,
        deleting: false,
    }
}

fn limits(succeeded: usize, failed: usize, ttl: u64) -> HistoryLimits {
    HistoryLimits {
        succeeded,
        failed,
        ttl: Duration::from_secs(ttl),
    }
}

/// Ten Workplans, one finished in each second: the odd ones completed, the even ones failed.
fn ten() -> WorkplanIndex {
    let mut workplans = WorkplanIndex::default();
    for number in 1..=10 {
        let phase = [Phase::Failed, Phase::Completed][usize::from(number % 2 == 1)];
        workplans.apply(&number.to_string(), state(number, phase), None);
    }
    workplans
}

fn excess(
    limits: &HistoryLimits,
    workplans: &WorkplanIndex,
    recorded_sequence: i64,
    now: i64,
) -> Vec<i64> {
    let excess = limits.excess(workplans, recorded_sequence, at(now));
    excess.map(|(name, _)| name.parse().unwrap()).collect()
}

#[rstest]
#[case::each_outcome_apart(limits(1, 4, 100), ALL_RECORDED, &[1, 3, 5, 7, 2])]
#[case::none(limits(0, 5, 100), ALL_RECORDED, &[1, 3, 5, 7, 9])]
#[case::expired(limits(9, 9, 6), ALL_RECORDED, &[1, 3, 2, 4])]
#[case::either(limits(1, 9, 8), ALL_RECORDED, &[1, 3, 5, 7, 2])]
#[case::ledger_behind(limits(1, 9, 100), 3, &[1, 3])]
#[case::everything_kept(limits(9, 9, u64::MAX), ALL_RECORDED, &[])]
fn excess_is_earliest_first(
    #[case] limits: HistoryLimits,
    #[case] recorded_sequence: i64,
    #[case] names: &[i64],
) {
    assert_eq!(excess(&limits, &ten(), recorded_sequence, 10), names);
}

#[test]
fn undeletable_workplans_count_towards_the_limit() {
    let mut workplans = ten();
    let with_workspace = WorkplanState {
        has_workspace: true,
        ..state(1, Phase::Completed)
    };
    let by_hand = WorkplanState {
        sequence: None,
        ..state(3, Phase::Completed)
    };
    workplans.apply("1", with_workspace, None);
    workplans.apply("3", by_hand, None);
    workplans.apply("11", state(11, Phase::Running), None);
    let excess = excess(&limits(2, 9, 100), &workplans, ALL_RECORDED, 11);
    assert_eq!(excess, [5]);
}
