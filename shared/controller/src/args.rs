use std::{net::SocketAddr, str::FromStr as _};

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::Error;

/// The arguments that all operators share; flatten it into the operator's own parser.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// How log lines are written.
    #[arg(long, env = "KUBECI_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: a level, optionally with other levels for some modules, as in
    /// "info,kube=debug".
    #[arg(
        long,
        env = "KUBECI_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info",
        value_parser = log_level
    )]
    pub log_level: Targets,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(
        long,
        env = "KUBECI_ADMIN_ADDRESS",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8080"
    )]
    pub admin_address: SocketAddr,

    /// The operator's own namespace, which holds its lease and its helper pods
    /// [default: `POD_NAMESPACE`, else the namespace of the kubeconfig or service account].
    #[arg(long, env = "KUBECI_NAMESPACE")]
    pub namespace: Option<String>,

    /// The name under which this process holds the lease; no two processes may share one
    /// [default: `POD_NAME`, else host name and process id].
    #[arg(long, env = "KUBECI_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for log collectors.
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

/// A word without `=` must be a level; tracing takes a misspelt one for the name of a module.
fn log_level(levels: &str) -> Result<Targets, String> {
    let bare = levels.split(',').filter(|part| !part.contains('='));
    for level in bare {
        LevelFilter::from_str(level)
            .map_err(|_| format!("{level:?} is none of off, error, warn, info, debug, trace"))?;
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
