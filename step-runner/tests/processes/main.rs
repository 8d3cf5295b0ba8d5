//! The step runner with real processes. Every test waits for conditions, none for time to pass.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers are as much tests as what they help

mod attempts;
mod child;
mod expressions;
mod hostile;
mod install;
mod order;
mod outputs;
mod pod;
mod relay;
mod signals;
mod slots;
mod stopping;
