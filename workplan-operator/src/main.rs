//! The workplan operator: runs Workplans as pods, reports on them and cleans up after them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kubeci_runtime::RuntimeArgs;
use mimalloc::MiMalloc;

use crate::core::workspace::Folder;

mod core;
mod node;
mod shell;
#[cfg(test)]
mod testing;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs Workplans as pods that share a folder on one node, reports on them and cleans up after them.
///
/// Any number of replicas may run: one leads, the others stand by. The cluster is that of KUBECONFIG, else
/// the one in which this runs as a pod.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    on_node: Option<OnNode>,

    /// This operator's own image, of which pods on the nodes open and remove folders
    /// [default: that of the pod in which this runs].
    #[arg(long, env = "KUBECI_IMAGE")]
    image: Option<String>,

    #[command(flatten)]
    runtime: RuntimeArgs,
}

/// What the operator starts in pods on the nodes; not meant to be started by hand.
#[derive(Subcommand)]
enum OnNode {
    /// Remove the folders of plans that have ended from this node.
    Sweep {
        /// What to remove below /kubeci.
        #[arg(required = true, value_name = "NAMESPACE/WORKFLOW/WORKPLAN")]
        folders: Vec<Folder>,
    },
    /// Make the shared folder of a plan writable for every user, and go on with another program.
    OpenWorkspace {
        /// The folder.
        path: PathBuf,
        /// The program and its arguments; none: that was all.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        then: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.on_node {
        Some(OnNode::Sweep { folders }) => done(node::sweep(&folders)),
        Some(OnNode::OpenWorkspace { path, then }) => done(node::open(&path, &then)),
        None => operate(args.runtime, args.image),
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
async fn operate(runtime: RuntimeArgs, image: Option<String>) -> ExitCode {
    kubeci_runtime::run("workplan-operator", runtime, |context| {
        shell::operate(context, image)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_opening_keeps_its_own_options() {
        let line = "operator open-workspace /kubeci /step-runner install --bin /b --help";
        let args = Args::parse_from(line.split(' '));
        let Some(OnNode::OpenWorkspace { then, .. }) = args.on_node else {
            panic!("{line}");
        };
        assert_eq!(then, ["/step-runner", "install", "--bin", "/b", "--help"]);
    }
}
