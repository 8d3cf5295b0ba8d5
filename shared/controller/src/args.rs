use std::{net::SocketAddr, str::FromStr as _};

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::Error;

/// The arguments that all operators share; flatten it into the operator's own parser.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// The format of log lines.
    #[arg(long, env = "KUBECI_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// The log level, optionally with other levels for some modules, such as "info,kube=debug".
    #[arg(
        long,
        env = "KUBECI_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info",
        value_parser = log_level
    )]
    pub log_level: Targets,

    /// The address of /healthz, /readyz and /metrics.
    #[arg(
        long,
        env = "KUBECI_ADMIN_ADDRESS",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8080"
    )]
    pub admin_address: SocketAddr,

    /// The operator's own namespace, with its Lease and its sweep pods
    /// [default: `POD_NAMESPACE`, otherwise the namespace of the kubeconfig or ServiceAccount].
    #[arg(long, env = "KUBECI_NAMESPACE")]
    pub namespace: Option<String>,

    /// The name of this replica in the Lease. No two replicas may have the same name
    /// [default: `POD_NAME`, otherwise the host name and the process id].
    #[arg(long, env = "KUBECI_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text for each entry.
    Text,
    /// One JSON object per line, for log collectors.
    Json,
}

impl ControllerArgs {
    pub(crate) fn namespace_or(&self, clients: &str) -> String {
        let given = self.namespace.clone().or_else(|| variable("POD_NAMESPACE"));
        given.unwrap_or_else(|| clients.to_owned())
    }

    pub(crate) fn identity(&self) -> Result<String, Error> {
        if let Some(given) = self.identity.clone().or_else(|| variable("POD_NAME")) {
            return Ok(given);
        }
        let host = hostname::get().map_err(Error::Hostname)?;
        Ok(format!("{}-{}", host.display(), std::process::id()))
    }
}

/// A word without `=` must be a level, because tracing reads a misspelt level as the name of a module.
fn log_level(levels: &str) -> Result<Targets, String> {
    let bare = levels.split(',').filter(|part| !part.contains('='));
    for level in bare {
        LevelFilter::from_str(level).map_err(|_| {
            format!("{level:?} is not a log level; use off, error, warn, info, debug or trace")
        })?;
    }
    levels.parse().map_err(|error| format!("{error}"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        controller: ControllerArgs,
    }

    fn parse(args: &[&str]) -> Result<ControllerArgs, clap::Error> {
        let args = [&["operator"], args].concat();
        Command::try_parse_from(args).map(|command| command.controller)
    }

    #[test]
    fn log_level_accepts_levels_by_module() {
        assert!(parse(&["--log-level=info,kube=debug"]).is_ok());
        assert!(parse(&["--log-level=loud"]).is_err());
    }

    #[test]
    fn arguments_win_over_defaults() {
        let args = parse(&["--namespace=ops", "--identity=me"]).unwrap();
        assert_eq!(args.namespace_or("default"), "ops");
        assert_eq!(args.identity().unwrap(), "me");
    }
}
