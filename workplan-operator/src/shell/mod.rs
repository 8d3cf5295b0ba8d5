//! Carries out what the core decides: watches (`watch`, `watches`) take note of little of each object (`workplans`, `pods`)
//! and put what has changed into queues (`queue`); each Workplan whose turn it is is read (`plans`), looked at and
//! acted upon (`reconcile`, with the requests in `act`), and each node whose folders are due is swept (`sweeps`).

mod act;
mod announce;
mod by_workplan;
mod change;
mod key;
mod linger;
mod metrics;
mod operator;
mod plans;
mod pod_events;
mod pods;
mod queue;
mod reconcile;
mod refused;
mod retry;
mod sweeps;
#[cfg(test)]
mod turn_cases;
mod watch;
mod watches;
mod workplans;

pub use operator::{Settings, operate};
