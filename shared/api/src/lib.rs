//! The custom resources of kubeci, group `kube.ci`, version `v1alpha1`.
//!
//! A [`Workflow`] declares triggers and container steps with dependencies. Each event that a trigger matches
//! is compiled into a [`Workplan`], which runs as pods.
//! The manifests in `crds/` are generated from these types.
#![deny(missing_docs)]

mod approval;
mod condition;
mod duration;
mod env_var;
mod execution;
mod history;
mod manifest;
mod nulls;
mod pod;
mod quantity;
mod rerun;
mod retry;
mod schema;
mod step;
mod trigger;
mod workflow;
mod workplan;
mod workspace;

pub mod names;

pub use approval::{Approval, StepApproval};
pub use condition::keep_transition_time;
pub use env_var::EnvVar;
pub use execution::Execution;
pub use history::{History, HistoryStatus};
pub use manifest::definitions;
pub use pod::PodSettings;
pub use rerun::{Rerun, RerunFrom};
pub use retry::{Backoff, Retry, RetryOn};
pub use step::Step;
pub use trigger::{Trigger, TriggerEvent, TriggeredBy};
pub use workflow::{LedgerEntry, Workflow, WorkflowSpec, WorkflowStatus};
pub use workplan::{
    Order, Phase, StepAttempt, StepPhase, StepStatus, Task, Workplan, WorkplanSpec, WorkplanStatus,
};
pub use workspace::{FolderStatus, FolderUser, Keep, KeepOn, Workspace};

/// The API group of every kubeci resource.
pub const GROUP: &str = "kube.ci";
/// The version of every kubeci resource.
pub const VERSION: &str = "v1alpha1";
