//! What fires and when: types in, decisions out. Nothing here talks to an API server or reads a clock.
//!
//! The life of an event: an object is seen ([`object`], [`fingerprint`]), a trigger's [`filter`] wants it, the
//! [`transition`] compares it with its entry in the [`ledger`], its [`dispatch_queue`] keeps its events in order,
//! and the [`engine`] holds all of that for all Workflows and says what to do.

pub mod access_review;
pub mod conditions;
pub mod discovery;
pub mod dispatch_queue;
pub mod engine;
pub mod existing_workplan;
pub mod filter;
pub mod fingerprint;
pub mod history;
pub mod ledger;
pub mod merge_patch;
pub mod messages;
pub mod object;
pub mod observation;
pub mod observed_workplan;
pub mod origin;
pub mod resource;
pub mod transition;
pub mod trigger_error;
pub mod trigger_state;
pub mod watch_key;
pub mod workplan_template;

#[cfg(test)]
mod model_test;
