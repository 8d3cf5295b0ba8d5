//! The workflow operator: watches what Workflows name and creates a Workplan for each event.

use std::process::ExitCode;

use clap::Parser;
use kubeci_runtime::RuntimeArgs;
use mimalloc::MiMalloc;

mod core;
mod shell;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Watches the Kubernetes objects that Workflows name in their triggers and creates a Workplan for each
/// event.
///
/// Any number of replicas may run: one leads, the others stand by. The cluster is that of KUBECONFIG, else
/// the one in which this runs as a pod.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    runtime: RuntimeArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    kubeci_runtime::run("workflow-operator", args.runtime, shell::operate).await
}
