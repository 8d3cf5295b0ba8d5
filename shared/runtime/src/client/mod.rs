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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use futures::StreamExt as _;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{PostParams, WatchParams},
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A server that answers each connection with the next of these bytes, then stays silent.
    async fn server(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut open = Vec::new();
            for answer in answers.iter().chain(std::iter::repeat(&"")) {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                open.push(stream);
            }
        });
        address
    }

    async fn read_head(stream: &mut TcpStream) {
        let mut head = Vec::new();
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
        }
    }

    fn client(address: SocketAddr) -> (Client, Metrics) {
        let metrics = Metrics::new();
        let uri = format!("http://{address}").parse().unwrap();
        (build(Config::new(uri), &metrics).unwrap(), metrics)
    }

    /// Runs with the clock going faster, yet slowly enough for real I/O to happen.
    async fn hastened<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return done,
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            tokio::time::pause();
            tokio::time::advance(Duration::from_millis(100)).await;
            tokio::time::resume();
        }
    }

    const CONFIG_MAP: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 27\r\n\r\n\
        {\"metadata\": {\"name\": \"x\"}}";
    const EVENT: &str = "HTTP/1.1 200 OK\r\n\r\n\
        {\"type\": \"ADDED\", \"object\": {\"metadata\": {\"name\": \"x\"}}}\n";
    const BUSY: &str = "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{";

    #[tokio::test]
    async fn passing_failures_are_retried_and_every_attempt_is_counted() {
        let (client, metrics) = client(server(&[BUSY, CONFIG_MAP]).await);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        assert_eq!(maps.get("x").await.unwrap().metadata.name.unwrap(), "x");
        let text = metrics.exposition().unwrap();
        for code in ["503", "200"] {
            let line = format!(
                r#"kubeci_api_requests_total{{verb="get",resource="configmaps",code="{code}"}} 1"#
            );
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn a_create_that_is_not_answered_fails_in_time() {
        let (client, metrics) = client(server(&[]).await);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let (params, map) = (PostParams::default(), ConfigMap::default());
        let error = hastened(maps.create(&params, &map)).await.unwrap_err();
        let (error, text) = (error.to_string(), metrics.exposition().unwrap());
        let told = "did not answer a create of configmaps within 10 s";
        assert!(error.contains(told), "{error}");
        assert!(text.contains(r#"code="timeout"} 1"#), "{text}");
    }

    #[tokio::test]
    async fn an_answer_that_stalls_fails_in_time() {
        let (client, metrics) = client(server(&[HALF]).await);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let got = tokio::spawn(async move { maps.get("x").await });
        while !metrics.exposition().unwrap().contains(r#"code="200""#) {
            tokio::task::yield_now().await;
        }
        assert!(hastened(got).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_watch_may_be_quiet() {
        let (client, _) = client(server(&[EVENT]).await);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let params = WatchParams::default();
        let mut events = maps.watch(&params, "0").await.unwrap().boxed();
        assert!(events.next().await.unwrap().is_ok());
        let a_minute = Duration::from_mins(1);
        let quiet = tokio::time::timeout(a_minute, events.next());
        assert!(hastened(quiet).await.is_err());
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error_after_some_attempts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, metrics) = client(listener.local_addr().unwrap());
        drop(listener);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        assert!(hastened(maps.get("x")).await.is_err());
        let text = metrics.exposition().unwrap();
        assert!(text.contains(r#"code="error"} 5"#), "{text}");
    }
}
