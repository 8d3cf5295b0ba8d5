//! What fires and when: types in, decisions out. Nothing here talks to an API server or reads a clock.
//!
//! The life of an event: an object is seen ([`object`], [`fingerprint`]), a trigger's [`filter`] wants it, the
//! [`step`] compares it with its entry in the [`ledger`], its [`lane`] keeps its events in order, and the
//! [`engine`] holds all of that for all Workflows and says what to do.

pub mod advice;
pub mod conditions;
pub mod engine;
pub mod existing;
pub mod filter;
pub mod fingerprint;
pub mod history;
pub mod lane;
pub mod ledger;
pub mod object;
pub mod patch;
pub mod run;
pub mod standing;
pub mod step;
pub mod template;

#[cfg(test)]
mod laws;
