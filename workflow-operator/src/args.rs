//! The command line.

use std::{num::NonZeroUsize, time::Duration};

use clap::{Parser, ValueEnum};
use kubeci_api::names::STEPS_MAX;
use kubeci_controller::ControllerArgs;
use kubeci_triggers::{HistoryLimits, Settings};

/// Watches the Kubernetes objects that Workflows name in their triggers, and creates a Workplan for each event.
///
/// Any number of replicas may run: one leads, the others stand by. The operator uses the cluster of KUBECONFIG, else
/// the cluster in which it runs as a pod.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// How the steps of a Workflow run that has no spec.execution: `pods` runs them as init containers, containers and
    /// pods; `relay` runs them as containers of as few pods as possible.
    #[arg(long, value_enum, default_value_t, env = "KUBECI_EXECUTION")]
    execution: Execution,

    /// The most steps in one pod of the relay execution, 1 to 500. With more than 110 the kubelet may not report
    /// when each one started and ended.
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = containers,
        default_value_t = kubeci_compiler::Settings::default().containers,
        env = "KUBECI_RELAY_CONTAINERS"
    )]
    relay_containers: NonZeroUsize,

    /// How many completed Workplans to keep of a Workflow without spec.history; older ones are deleted.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = HistoryLimits::default().succeeded,
        env = "KUBECI_HISTORY_SUCCEEDED"
    )]
    history_succeeded: usize,

    /// How many failed Workplans to keep of a Workflow without spec.history; older ones are deleted.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = HistoryLimits::default().failed,
        env = "KUBECI_HISTORY_FAILED"
    )]
    history_failed: usize,

    /// How long to keep the finished Workplans of a Workflow without spec.history, as in 168h or 1h30m; older ones are
    /// deleted.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        default_value = "168h",
        env = "KUBECI_HISTORY_TTL"
    )]
    history_ttl: Duration,

    #[command(flatten)]
    pub controller: ControllerArgs,
}

impl Args {
    pub fn settings(&self) -> Settings {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_containers_are_between_1_and_500() {
        let parsed = |count: &str| {
            Args::try_parse_from(["operator", "--relay-containers", count])
                .map(|args| args.relay_containers.get())
        };
        assert_eq!(parsed("1").unwrap(), 1);
        assert_eq!(parsed("500").unwrap(), 500);
        for invalid in ["0", "501", "-1", "many"] {
            let error = parsed(invalid).unwrap_err().to_string();
            assert!(
                error.contains("from 1 to 500") || invalid == "-1",
                "{error}"
            );
        }
    }

    #[test]
    fn history_ttl_defaults_to_a_week() {
        let parsed = |args: &[&str]| {
            let args = Args::try_parse_from([&["operator"], args].concat());
            args.map(|args| args.settings().history)
        };
        assert_eq!(parsed(&[]).unwrap(), HistoryLimits::default());
        let hour = parsed(&["--history-ttl=1h", "--history-failed=0"]).unwrap();
        assert_eq!((hour.ttl, hour.failed), (Duration::from_hours(1), 0));
        for invalid in ["7d", "-1h", "1", ""] {
            let error = parsed(&["--history-ttl", invalid]).map(|_| ()).unwrap_err();
            assert!(
                invalid == "-1h" || error.to_string().contains("168h"),
                "{error}"
            );
        }
    }
}
