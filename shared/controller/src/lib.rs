//! What every controller process of kubeci needs. [`run`] sets up arguments, telemetry, the admin server, a client with
//! limited and counted requests, leader election and graceful shutdown; beside it are watches, backoff, Events, and what
//! the API server's errors mean.
//!
//! ```no_run
//! use kubeci_controller::{Context, ControllerArgs};
//!
//! # #[derive(clap::Parser)]
//! # struct Args { #[command(flatten)] controller: ControllerArgs }
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     let args = <Args as clap::Parser>::parse();
//!     kubeci_controller::run("workflow-operator", args.controller, operate).await
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
mod metadata_request;
mod metrics;
mod readiness;
mod run;
mod shutdown;
mod tasks;
mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod watch;

pub use args::{ControllerArgs, LogFormat};
pub use backoff::{Backoff, Failures};
pub use clock::now;
pub use error::Error;
pub use events::{EventRecorder, Notice, Warning};
pub use liveness::{Heartbeat, Liveness};
pub use metadata_request::request_metadata;
pub use metrics::{Due, Metrics, Outcome, Reconciling};
pub use readiness::{Readiness, ReadinessCondition};
pub use run::{Context, run};
pub use tasks::{EndedTask, Tasks};
pub use watch::Watch;
