//! What every controller process of kubeci needs. [`run`] sets up arguments, telemetry, the admin server, a client with
//! limited and counted requests, leader election and graceful shutdown; beside it are watches, backoff, Events, and what
//! the API server's errors mean.
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
pub mod api_error;
mod args;
mod backoff;
mod client;
mod clock;
mod error;
mod events;
mod lease;
mod liveness;
mod metrics;
mod readiness;
mod run;
mod shutdown;
mod tasks;
mod telemetry;
mod watch;

pub use api_error::is_too_large;
pub use args::{LogFormat, RuntimeArgs};
pub use backoff::{Backoff, Failures, backoff};
pub use clock::now;
pub use error::Error;
pub use events::{EventRecorder, Warning};
pub use liveness::{Heartbeat, Liveness};
pub use metrics::{Due, Metrics, Outcome, Reconciling};
pub use readiness::{Condition, Readiness};
pub use run::{Context, run};
pub use tasks::{EndedTask, Tasks};
pub use watch::Watch;
