use std::{net::SocketAddr, time::Duration};

use kube::config::InferConfigError;
use tower::BoxError;

use crate::{EndedTask, lease::LeaseLost};

/// Why an operator process ended, other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a kubeconfig nor a service account was found.
    #[error(
        "no cluster is configured; set KUBECONFIG to the path of a kubeconfig file, or run the operator in a pod \
         with a ServiceAccount: {0}"
    )]
    NoCluster(#[source] InferConfigError),

    /// The kubeconfig or service account was found, but no client can be made of it.
    #[error(
        "cannot create a client for the cluster; check the user and the certificates of the kubeconfig: {0}"
    )]
    Client(#[source] kube::Error),

    /// The kubeconfig names a proxy that cannot be used.
    #[error(
        "cannot use the proxy {0}; set proxy-url (or HTTPS_PROXY) to http://HOST:PORT, https://HOST:PORT \
         or socks5://HOST:PORT"
    )]
    Proxy(String),

    /// The admin server cannot listen.
    #[error("cannot listen on {address}; set --admin-address to a free address: {source}")]
    Admin {
        /// The requested address.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },

    /// The process has no name to hold the lease with.
    #[error("the host name is unknown; set --identity: {0}")]
    Hostname(#[source] std::io::Error),

    /// Signal handlers cannot be installed.
    #[error("cannot listen for SIGTERM and SIGINT: {0}")]
    Signals(#[source] std::io::Error),

    /// The lease was lost; the process exits so that it does not run beside the next leader.
    #[error("the process is no longer the leader, restart it: {0}")]
    LeaseLost(#[from] LeaseLost),

    /// The operator failed.
    #[error("{0}")]
    Operator(#[source] BoxError),

    /// The operator's main task panicked.
    #[error("the main task of the operator panicked: {0}")]
    Panicked(#[source] tokio::task::JoinError),

    /// The operator's main task ended without a signal.
    #[error("the main task of the operator has ended unexpectedly")]
    Ended,

    /// A task that must not end has ended.
    #[error("{0} unexpectedly; restarting is safe")]
    TaskEnded(#[from] EndedTask),

    /// The operator did not stop in time after a signal.
    #[error("the operator did not stop within {0:?}; the next leader repeats the unfinished work")]
    Unfinished(Duration),
}

/// An error with its causes, each once.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |error| error.source());
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_appears_once() {
        let os = std::io::Error::other("no route");
        let http = std::io::Error::other(format!("cannot connect: {os}"));
        let error = Error::Operator(Box::new(Error::Hostname(http)));
        let text = "the host name is unknown; set --identity: \
                    cannot connect: no route";
        assert_eq!(with_causes(&error), text);
    }
}
