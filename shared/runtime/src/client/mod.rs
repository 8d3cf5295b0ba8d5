//! The API client: every attempt bounded and counted, passing failures retried.

mod attempt;
mod request;
mod retry;

use std::time::Duration;

use http::{HeaderValue, header::USER_AGENT};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use kube::{Client, Config, client::ConfigExt as _};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};

use crate::{Error, Metrics};
use attempt::Attempts;
use retry::Retries;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Finds a dead connection under a quiet watch long before the watch's own timeout.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Makes a client of the kubeconfig, else of the pod's service account.
pub async fn connect(operator: &str, metrics: &Metrics) -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(Error::NoCluster)?;
    let agent = format!("kubeci-{operator}/{}", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = HeaderValue::try_from(agent) {
        config.headers.push((USER_AGENT, agent));
    }
    build(config, metrics).map_err(Error::Client)
}

/// kube's own stack has no timeout, delays small writes (Nagle) and retries creations, so this is ours.
fn build(config: Config, metrics: &Metrics) -> kube::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(tls);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(Retries::default()))
        .layer_fn(|inner| Attempts::new(inner, metrics.clone()))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}
