//! The workplan operator: runs Workplans as pods, reports on them and cleans up after them.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use jiff::SignedDuration;
use kubeci_controller::ControllerArgs;
use mimalloc::MiMalloc;

use crate::admission::Caps;
use crate::operator::Settings;
use crate::workspace::Folder;

// What is to be done. Nothing in these modules talks to a cluster or reads a clock.
mod admission;
mod decision;
mod expression_values;
mod observed;
mod output_bounds;
mod plan;
mod pod_builder;
mod pod_reader;
mod refusal;
mod sweep;
mod workspace;

// What is watched, read and written.
mod metrics;
mod observer;
mod operator;
mod pod_creator;
mod pod_events;
mod pod_index;
mod queue;
mod reconcile;
#[cfg(test)]
mod reconcile_cases;
mod reconciliation;
mod refused_pods;
mod state_map;
mod status_change;
mod status_debounce;
mod status_writer;
mod sweeper;
mod watch_pump;
mod watched_workplan;
mod watches;
mod worker;
mod workplan_admission;
mod workplan_cache;
mod workplan_events;
mod workplan_index;
mod workplan_key;
mod workplan_requests;
mod workplan_state;

mod node;
#[cfg(test)]
mod testing;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs Workplans as pods that share a folder on one node, writes their status, and removes their folders.
///
/// Any number of replicas may run. One is the leader, the others wait. The operator uses the cluster in
/// KUBECONFIG, otherwise the cluster in which it runs.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    on_node: Option<OnNode>,

    /// The operator's own image, which its helper containers use
    /// [default: the image of the operator's pod].
    #[arg(long, env = "KUBECI_IMAGE")]
    image: Option<String>,

    /// How long containers that are not steps, such as an injected sidecar, may keep a pod running after its last
    /// step. The pod is then deleted, with its logs.
    #[arg(long, env = "KUBECI_SIDECAR_GRACE", default_value = "30s", value_name = "DURATION", value_parser = duration)]
    sidecar_grace: SignedDuration,

    /// The maximum number of Workplans that run at a time, in all namespaces. The others wait in a queue
    /// [default: no maximum].
    #[arg(
        long,
        env = "KUBECI_MAX_RUNNING_WORKPLANS",
        value_name = "COUNT",
        default_value_t = 0,
        hide_default_value = true
    )]
    max_running_workplans: usize,

    /// The maximum number of pods of running Workplans, in all namespaces. A Workplan counts with the most pods that it
    /// may have at a time: 1 with order Linear, otherwise the number of its tasks [default: no maximum].
    #[arg(
        long,
        env = "KUBECI_MAX_PODS",
        value_name = "COUNT",
        default_value_t = 0,
        hide_default_value = true
    )]
    max_pods: usize,
    /// How long a Workplan without spec.pendingTimeout may wait for the start of its first step, from its creation.
    /// It then fails.
    #[arg(long, env = "KUBECI_PENDING_TIMEOUT", default_value = "1h", value_name = "DURATION", value_parser = duration)]
    pending_timeout: SignedDuration,

    #[command(flatten)]
    controller: ControllerArgs,
}

/// The subcommands that the operator runs in pods on the nodes. Do not run them yourself.
#[derive(Subcommand)]
enum OnNode {
    /// Remove the folders of ended Workplans from this node.
    Sweep {
        /// The folders below /kubeci.
        #[arg(required = true, value_name = "NAMESPACE/WORKFLOW/WORKPLAN")]
        folders: Vec<Folder>,
    },
    /// Make the shared folder of a Workplan writable for all users, then run another program.
    OpenWorkspace {
        /// The folder.
        path: PathBuf,
        /// The program and its arguments. Optional.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        then: Vec<OsString>,
    },
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        Ok(duration) if duration.is_negative() => {
            Err("the duration is negative; use 0s or more".into())
        }
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; use a duration such as 30s, 5m or 1h")),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.on_node {
        Some(OnNode::Sweep { folders }) => done(node::sweep(&folders)),
        Some(OnNode::OpenWorkspace { path, then }) => done(node::open(&path, &then)),
        None => {
            let settings = Settings {
                image: args.image,
                sidecar_grace: args.sidecar_grace,
                caps: Caps {
                    workplans: NonZeroUsize::new(args.max_running_workplans),
                    pods: NonZeroUsize::new(args.max_pods),
                },
                pending_timeout: args.pending_timeout,
            };
            operate(args.controller, settings)
        }
    }
}

fn done<E: std::error::Error>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn operate(args: ControllerArgs, settings: Settings) -> ExitCode {
    kubeci_controller::run("workplan-operator", args, |context| {
        operator::operate(context, settings)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_a_duration() {
        let grace = |text: &str| Args::try_parse_from(["operator", "--sidecar-grace", text]);
        assert_eq!(
            grace("5m").map(|args| args.sidecar_grace).ok(),
            Some(SignedDuration::from_mins(5))
        );
        for wrong in ["5", "-5s", "soon"] {
            assert!(grace(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn program_after_opening_keeps_its_options() {
        let line = "operator open-workspace /kubeci /step-runner install --relay /r --help";
        let args = Args::parse_from(line.split(' '));
        let Some(OnNode::OpenWorkspace { then, .. }) = args.on_node else {
            panic!("{line}");
        };
        assert_eq!(then, ["/step-runner", "install", "--relay", "/r", "--help"]);
    }
}
