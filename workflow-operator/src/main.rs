//! The workflow operator: watches what Workflows name and creates a Workplan for each event.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kubeci_api::names::STEPS_MAX;
use kubeci_runtime::RuntimeArgs;
use mimalloc::MiMalloc;

mod access_reviews;
mod api_error;
mod bounded_tasks;
mod discovery;
mod input;
mod metrics;
mod object_watches;
mod operator;
mod status_client;
mod status_writer;
mod workflow_watch;
mod workplan_creator;
mod workplan_deleter;
mod workplan_watch;

use kubeci_triggers::{HistoryLimits, Settings};

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
        default_value_t = kubeci_compiler::Settings::default().containers,
        env = "KUBECI_RELAY_CONTAINERS"
    )]
    relay_containers: NonZeroUsize,

    /// How many completed Workplans are kept of a Workflow that does not say in spec.history; older ones are
    /// deleted.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = HistoryLimits::default().succeeded,
        env = "KUBECI_HISTORY_SUCCEEDED"
    )]
    history_succeeded: usize,

    /// How many failed Workplans are kept of a Workflow that does not say; older ones are deleted.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = HistoryLimits::default().failed,
        env = "KUBECI_HISTORY_FAILED"
    )]
    history_failed: usize,

    /// How long Workplans are kept after they have ended, where their Workflow does not say, as in 168h or
    /// 1h30m; older ones are deleted.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        default_value = "168h",
        env = "KUBECI_HISTORY_TTL"
    )]
    history_ttl: Duration,

    #[command(flatten)]
    runtime: RuntimeArgs,
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            compiler: kubeci_compiler::Settings {
                execution: match self.execution {
                    Execution::Pods => kubeci_api::Execution::Pods,
                    Execution::Relay => kubeci_api::Execution::Relay,
                },
                containers: self.relay_containers,
            },
            history: HistoryLimits {
                succeeded: self.history_succeeded,
                failed: self.history_failed,
                ttl: self.history_ttl,
            },
        }
    }
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

fn duration(text: &str) -> Result<Duration, String> {
    let duration = Some(text).filter(|text| !text.is_empty());
    let duration = duration.and_then(|text| text.parse().ok());
    let duration = duration.filter(|duration: &kube::core::Duration| !duration.is_negative());
    let expected =
        || "expected a duration in hours, minutes and seconds, as in 168h or 1h30m; a day is 24h";
    duration
        .map(Duration::from)
        .ok_or_else(|| expected().to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let settings = args.settings();
    kubeci_runtime::run("workflow-operator", args.runtime, move |context| {
        operator::operate(context, settings)
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

    #[test]
    fn a_history_is_a_week_unless_told() {
        let parsed = |args: &[&str]| {
            let args = Args::try_parse_from([&["operator"], args].concat());
            args.map(|args| args.settings().history)
        };
        assert_eq!(parsed(&[]).unwrap(), HistoryLimits::default());
        let hour = parsed(&["--history-ttl=1h", "--history-failed=0"]).unwrap();
        assert_eq!((hour.ttl, hour.failed), (Duration::from_hours(1), 0));
        for wrong in ["7d", "-1h", "1", ""] {
            let said = parsed(&["--history-ttl", wrong]).map(|_| ()).unwrap_err();
            assert!(
                wrong == "-1h" || said.to_string().contains("168h"),
                "{said}"
            );
        }
    }
}
