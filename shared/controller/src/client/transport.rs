//! Connections to the API server with the TLS, credentials and proxy of the kubeconfig.

use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::{
    client::{
        legacy::connect::{
            HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioExecutor,
};
use kube::{
    Config,
    client::{Body, ConfigExt as _},
};
use tower::{BoxError, ServiceBuilder, util::BoxCloneService};

use crate::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Detects a dead connection of a quiet watch long before the timeout of the watch.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Sends requests over separate connections.
pub type Transport = BoxCloneService<Request<Body>, Response<Incoming>, BoxError>;

/// Not kube's stack: that has no timeout, delays small writes (Nagle) and retries creations.
pub fn connect(config: &Config) -> Result<Transport, Error> {
    let Some(proxy) = proxy(config)? else {
        return over(tcp(), config);
    };
    let at = proxy.uri().clone();
    match at.scheme_str() {
        Some("https") => {
            let tls = config.rustls_https_connector_with_connector(tcp());
            over(tunnel(&proxy, tls.map_err(Error::Client)?), config)
        }
        Some("http") => over(tunnel(&proxy, tcp()), config),
        _ => {
            let socks = SocksV5::new(at, tcp()).local_dns(false);
            let socks = match proxy.raw_auth() {
                Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
                None => socks,
            };
            over(socks, config)
        }
    }
}

fn tunnel<C>(proxy: &Intercept, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.uri().clone(), connector);
    match proxy.basic_auth() {
        Some(credentials) => tunnel.with_auth(credentials.clone()),
        None => tunnel,
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp
}

/// The kubeconfig's `proxy-url`, else `HTTPS_PROXY`, unless `NO_PROXY` excepts the API server.
fn proxy(config: &Config) -> Result<Option<Intercept>, Error> {
    let excepted = ["NO_PROXY", "no_proxy"].map(|name| std::env::var(name).unwrap_or_default());
    let [upper, lower] = excepted;
    proxy_but_for(config, if upper.is_empty() { lower } else { upper })
}

fn proxy_but_for(config: &Config, excepted: String) -> Result<Option<Intercept>, Error> {
    let Some(url) = &config.proxy_url else {
        return Ok(None);
    };
    if !matches!(
        url.scheme_str(),
        None | Some("http" | "https" | "socks5" | "socks5h")
    ) {
        return Err(Error::Proxy(without_credentials(url)));
    }
    // The matcher applies this to domains only.
    if excepted.trim() == "*" {
        return Ok(None);
    }
    let matcher = Matcher::builder().all(url.to_string()).no(excepted).build();
    Ok(matcher.intercept(&config.cluster_url))
}

fn without_credentials(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    format!("{scheme}://{}", url.host().unwrap_or_default())
}

fn over<C>(connector: C, config: &Config) -> Result<Transport, Error>
where
    C: tower::Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: hyper_util::client::legacy::connect::Connection
        + hyper::rt::Read
        + hyper::rt::Write
        + Send
        + Unpin
        + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let tls = config.rustls_https_connector_with_connector(connector);
    let tls = tls.map_err(Error::Client)?;
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(Error::Client)?)
        .layer(config.extra_headers_layer().map_err(Error::Client)?)
        .map_err(BoxError::from)
        .service(http);
    Ok(BoxCloneService::new(service))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn config(proxy: &str) -> Config {
        let mut config = Config::new("https://10.0.0.1:6443".parse().unwrap());
        config.proxy_url = Some(proxy.parse().unwrap());
        config
    }

    #[rstest]
    #[case("http://proxy:3128")]
    #[case("https://proxy")]
    #[case("socks5://me:secret@proxy:1080")]
    #[tokio::test]
    async fn supported_proxies_are_used(#[case] url: &str) {
        let config = config(url);
        assert!(proxy_but_for(&config, String::new()).unwrap().is_some());
        assert!(connect(&config).is_ok());
    }

    #[test]
    fn unsupported_proxy_is_an_error() {
        let refused = proxy_but_for(&config("ftp://me:secret@proxy:21"), String::new());
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains("the proxy ftp://proxy;"), "{refused}");
    }

    #[rstest]
    #[case("10.0.0.0/8", false)]
    #[case("*", false)]
    #[case("proxy, example.com", true)]
    fn api_server_in_no_proxy_has_no_proxy(#[case] excepted: &str, #[case] used: bool) {
        let proxy = proxy_but_for(&config("http://proxy:3128"), excepted.to_owned());
        assert_eq!(proxy.unwrap().is_some(), used);
    }

    #[tokio::test]
    async fn server_names_and_certificates_are_checked() {
        let mut config = config("http://proxy:3128");
        config.tls_server_name = Some("not a name".to_owned());
        assert!(connect(&config).is_err());
        config.tls_server_name = Some("kubernetes".to_owned());
        assert!(connect(&config).is_ok());
        config.accept_invalid_certs = true;
        assert!(connect(&config).is_ok());
        config.root_cert = Some(vec![b"no certificate".to_vec()]);
        assert!(connect(&config).is_err());
    }
}
