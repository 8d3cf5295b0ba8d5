//! Law 6, Killable: a restart changes nothing about the outcome.

use kubeci_api::{
    Phase,
    TriggerEvent::{Add, Update},
};
use proptest::prelude::*;

use super::{
    action::{Action, Response, actions},
    cluster::observed_workplan,
    fired_events, simulate,
    simulation::Simulation,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn restart_creates_no_workplan(actions in actions(true)) {
        let mut simulation = simulate(&actions);
        let before: Vec<String> = simulation.cluster.workplans.keys().cloned().collect();
        simulation.apply(&Action::Kill { executed: 0 });
        simulation.settle();
        let after: Vec<String> = simulation.cluster.workplans.keys().cloned().collect();
        prop_assert_eq!(before, after);
    }
}

#[test]
fn unanswered_creation_is_replayed_after_rejected_retry() {
    let write = |content| Action::Write { object: 0, content };
    let respond = |response| Action::Respond {
        creation: 0,
        response,
    };
    let simulation = simulate(&[
        write(1),
        Action::Deliver { events: 1 },
        respond(Response::CreatedUnanswered),
        Action::Retry,
        respond(Response::Rejected),
        Action::WriteStatus,
        write(2),
        Action::Kill { executed: 0 },
    ]);
    assert_eq!(fired_events(&simulation, "uid-1"), [Add, Update]);
}

#[test]
fn status_counts_all_workplans() {
    let mut simulation = Simulation::new();
    simulation.apply(&Action::Write {
        object: 0,
        content: 1,
    });
    simulation.settle();
    let workplan = simulation.cluster.workplans.values().next().unwrap();
    let mut workplan = observed_workplan(workplan);
    for (phase, counts) in [
        (Phase::Pending, (Some(1), Some(0), Some(0))),
        (Phase::Running, (Some(1), Some(0), Some(0))),
        (Phase::Completed, (Some(0), Some(1), Some(0))),
    ] {
        workplan.state.phase = phase;
        simulation.engine.workplan_applied(workplan.clone());
        simulation.apply(&Action::WriteStatus);
        let status = &simulation.cluster.status;
        assert_eq!((status.active, status.succeeded, status.failed), counts);
    }
}
