//! The command line.

use std::{num::NonZeroUsize, time::Duration};

use clap::{Parser, ValueEnum};
use kubeci_api::names::STEPS_MAX;
use kubeci_controller::ControllerArgs;
use kubeci_triggers::{HistoryLimits, Settings};

/// Watches the Kubernetes objects that Workflows name in their triggers, and creates a Workplan for each event.
///
/// Any number of replicas may run. One is the leader, the others wait. The operator uses the cluster in KUBECONFIG,
/// otherwise the cluster in which it runs.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// The execution of Workflows without spec.execution: `pods` runs steps as init containers, containers and pods;
    /// `relay` runs steps as containers of as few pods as possible.
    #[arg(long, value_enum, default_value_t, env = "KUBECI_EXECUTION")]
    execution: Execution,

    /// The maximum number of steps in one relay pod, 1 to 500. With more than 110 steps the kubelet may lose the times
    /// of some steps.
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = containers,
        default_value_t = kubeci_compiler::Settings::default().containers,
        env = "KUBECI_RELAY_CONTAINERS"
    )]
    relay_containers: NonZeroUsize,

    /// How many completed Workplans are kept of a Workflow without spec.history.succeeded.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = HistoryLimits::default().succeeded,
        env = "KUBECI_HISTORY_SUCCEEDED"
    )]
    history_succeeded: usize,

    /// How many failed and cancelled Workplans are kept of a Workflow without spec.history.failed.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = HistoryLimits::default().failed,
        env = "KUBECI_HISTORY_FAILED"
    )]
    history_failed: usize,

    /// How long ended Workplans are kept of a Workflow without spec.history.ttl, such as 168h or 1h30m.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        default_value = "168h",
        env = "KUBECI_HISTORY_TTL"
    )]
    history_ttl: Duration,

    /// The maximum number of Workplans that are pending or running, of all Workflows. Other events wait
    /// [default: no maximum].
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 0,
        hide_default_value = true,
        env = "KUBECI_MAX_ACTIVE_WORKPLANS"
    )]
    max_active_workplans: usize,

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
            max_active: NonZeroUsize::new(self.max_active_workplans),
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
        || "expected a duration in hours, minutes and seconds, such as 168h or 1h30m; a day is 24h";
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
    fn cap_of_zero_is_none() {
        let parsed = |args: &[&str]| {
            let args = Args::try_parse_from([&["operator"], args].concat());
            args.map(|args| args.settings().max_active)
        };
        assert_eq!(parsed(&[]).unwrap(), None);
        assert_eq!(parsed(&["--max-active-workplans=0"]).unwrap(), None);
        let cap = parsed(&["--max-active-workplans", "500"]).unwrap();
        assert_eq!(cap, NonZeroUsize::new(500));
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
