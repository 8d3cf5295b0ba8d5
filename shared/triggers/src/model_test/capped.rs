//! Laws 3 and 6 with a cap on the Workplans: what waits fires once, in order, and survives a restart. The simulation checks
//! the cap after each action.

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::{
    action::{Action, Response, actions},
    law_3_once::{all_fire_in_order, latest_fire_and_none_twice},
    simulate_with,
    simulation::Simulation,
};

fn capped(max: usize, actions: &[Action]) -> Simulation {
    simulate_with(Simulation::capped(NonZeroUsize::new(max)), actions)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn waiting_states_fire_once_in_order(max in 1..4_usize, actions in actions(false)) {
        let simulation = capped(max, &actions);
        all_fire_in_order(&simulation)?;
    }

    #[test]
    fn latest_waiting_state_fires_despite_restarts(max in 1..4_usize, actions in actions(true)) {
        let simulation = capped(max, &actions);
        latest_fire_and_none_twice(&simulation)?;
    }
}

#[test]
fn waiting_events_survive_a_restart() {
    let mut simulation = Simulation::capped(NonZeroUsize::new(2));
    for object in 0..7 {
        simulation.apply(&Action::Write { object, content: 1 });
    }
    simulation.apply(&Action::Deliver { events: 7 });
    assert_eq!(simulation.creations.len(), 2);
    simulation.apply(&Action::Respond {
        creation: 0,
        response: Response::Created,
    });
    simulation.apply(&Action::WriteStatus);
    assert_eq!(simulation.cluster.status.queued, Some(5));
    simulation.apply(&Action::Kill { executed: 0 });
    assert_eq!(simulation.creations.len(), 1, "one Workplan is active");
    simulation.settle();
    assert_eq!(simulation.cluster.workplans.len(), 7);
    assert_eq!(simulation.cluster.status.queued, None);
}
