//! Model tests: random histories of objects under one Workflow, while the operator is killed, loses its watch, and has
//! creations rejected or not answered. The Workplans at the end must be those that the laws demand.

mod action;
mod capped;
mod cluster;
mod expected;
mod forged_workplans;
mod law_3_once;
mod law_6_killable;
mod simulation;

use kubeci_api::TriggerEvent;

use action::Action;
use simulation::Simulation;

/// Applies the actions, and then everything that follows from them.
fn simulate(actions: &[Action]) -> Simulation {
    simulate_with(Simulation::new(), actions)
}

fn simulate_with(mut simulation: Simulation, actions: &[Action]) -> Simulation {
    for action in actions {
        simulation.apply(action);
    }
    simulation.settle();
    simulation
}

/// The events that fired for an object, in order.
fn fired_events(simulation: &Simulation, uid: &str) -> Vec<TriggerEvent> {
    let fired = simulation.fired(uid).into_iter();
    fired.map(|trigger| trigger.event).collect()
}
