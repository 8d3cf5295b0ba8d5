//! The workflow operator: watches what Workflows name and creates a Workplan for each event.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use kubeci_api::names::STEPS_MAX;
use kubeci_compiler::Settings;
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
    /// How the steps of Workflows that do not say it hand over to each other: as init containers, containers
    /// and pods, or inside as few pods as can be.
    #[arg(long, value_enum, default_value_t, env = "KUBECI_EXECUTION")]
    execution: Execution,

    /// The most steps that hand over inside one pod, 1 to 500. Of more than 110 the kubelet may not read
    /// when each started and ended.
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = containers,
        default_value_t = Settings::default().containers,
        env = "KUBECI_RELAY_CONTAINERS"
    )]
    relay_containers: NonZeroUsize,

    #[command(flatten)]
    runtime: RuntimeArgs,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Execution {
    #[default]
    Pods,
    Relay,
}

fn containers(text: &str) -> Result<NonZeroUsize, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (1..=STEPS_MAX).contains(count));
    let count = count.and_then(NonZeroUsize::new);
    count.ok_or_else(|| format!("expected a number from 1 to {STEPS_MAX}"))
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let settings = Settings {
        execution: match args.execution {
            Execution::Pods => kubeci_api::Execution::Pods,
            Execution::Relay => kubeci_api::Execution::Relay,
        },
        containers: args.relay_containers,
    };
    kubeci_runtime::run("workflow-operator", args.runtime, move |context| {
        shell::operate(context, settings)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_a_container_at_least_and_as_many_as_a_workflow_has_steps_at_most() {
        let parsed = |count: &str| {
            Args::try_parse_from(["operator", "--relay-containers", count])
                .map(|args| args.relay_containers.get())
        };
        assert_eq!(parsed("1").unwrap(), 1);
        assert_eq!(parsed("500").unwrap(), 500);
        for wrong in ["0", "501", "-1", "many"] {
            let said = parsed(wrong).unwrap_err().to_string();
            assert!(said.contains("from 1 to 500") || wrong == "-1", "{said}");
        }
    }
}
