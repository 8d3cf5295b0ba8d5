//! Carries out what the core decides: watches (`watch`, `watches`) put what has changed into queues (`queue`); each
//! Workplan that is taken from them is looked at and acted upon (`reconcile`, with the requests in `act`),
//! and each node whose folders are due is swept (`sweeps`).

mod act;
mod announce;
mod by_workplan;
mod fresh;
mod linger;
mod metrics;
mod operator;
mod pod_events;
mod queue;
mod reconcile;
mod refused;
mod retry;
mod sweeps;
mod watch;
mod watches;

pub use operator::{Settings, operate};
