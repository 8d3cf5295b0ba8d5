//! What every operator process of kubeci needs, composed by [`run`]: arguments, telemetry, the admin
//! server, a client with bounded and counted requests, leader election and graceful shutdown.
//!
//! ```no_run
//! use kubeci_controller::{Context, RuntimeArgs};
//!
//! # #[derive(clap::Parser)]
//! # struct Args { #[command(flatten)] runtime: RuntimeArgs }
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     let args = <Args as clap::Parser>::parse();
//!     kubeci_controller::run("workflow-operator", args.runtime, operate).await
//! }
//!
//! async fn operate(context: Context) -> Result<(), kube::Error> {
//!     let listed = context.readiness.condition("workflows listed");
//!     // ... list, then
//!     listed.done();
//!     context.shutdown.cancelled().await;
//!     Ok(())
//! }
//! ```
#![deny(missing_docs)]

mod admin;
mod args;
mod backoff;
mod client;
mod error;
mod lease;
mod liveness;
mod metrics;
mod pages;
mod readiness;
mod run;
mod shutdown;
mod tasks;
mod telemetry;
mod too_large;
mod watch;

pub use args::{LogFormat, RuntimeArgs};
pub use backoff::backoff;
pub use error::Error;
pub use liveness::{Heartbeat, Liveness};
pub use metrics::{Due, Metrics, Outcome, Reconciling};
pub use readiness::{Condition, Readiness};
pub use run::{Context, run};
pub use tasks::{EndedTask, Tasks};
pub use too_large::is_too_large;
pub use watch::Watch;
