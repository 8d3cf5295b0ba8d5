//! The laws of the compiler, each stated by the tests of one file.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a law that cannot be checked is a failed test

mod document;
mod errors;
mod exact;
mod finally;
mod graphs;
mod kinds;
mod limited;
mod minimal;
mod order;
mod peak;
#[path = "../reference/outcomes.rs"]
mod reference;
#[path = "../reference/kinds.rs"]
mod reference_kinds;
mod relay;
mod simulation;
mod stable;
mod total;
mod workplan;
