//! The API clients: each attempt has a timeout and is counted, transient errors are retried, and fewer requests are in
//! flight when the API server is slow.

mod attempt;
mod latency;
mod limit;
mod limit_layer;
mod request;
mod retry;
mod transport;
mod watch_interval;

use http::{HeaderValue, header::USER_AGENT};
use kube::{Client, Config};
use tower::{ServiceBuilder, retry::RetryLayer};

use crate::{Error, Metrics, lease::Fence};
use attempt::Attempts;
use limit::Limit;
use limit_layer::Limited;
use retry::Retries;

/// The clients of one process.
pub struct Clients {
    /// For the operator.
    pub operator: Client,
    /// For the lease, with separate connections. No other request delays its requests, and only the leader election
    /// retries them.
    pub lease: Client,
}

impl Clients {
    /// The clients of the kubeconfig, else of the pod's service account.
    pub async fn connect(operator: &str, metrics: &Metrics, fence: &Fence) -> Result<Self, Error> {
        let mut config = Config::infer().await.map_err(Error::NoCluster)?;
        let agent = format!("kubeci-{operator}/{}", env!("CARGO_PKG_VERSION"));
        if let Ok(agent) = HeaderValue::try_from(agent) {
            config.headers.push((USER_AGENT, agent));
        }
        Ok(Self {
            operator: for_operator(&config, metrics, fence)?,
            lease: for_lease(&config, metrics)?,
        })
    }
}

fn for_operator(config: &Config, metrics: &Metrics, fence: &Fence) -> Result<Client, Error> {
    let limit = Limit::new(metrics.clone());
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(Retries::default()))
        .layer_fn(|inner| Limited::new(inner, limit.clone(), fence.clone()))
        .layer_fn(|inner| Attempts::new(inner, metrics.clone()))
        .service(transport::connect(config)?);
    Ok(Client::new(service, &*config.default_namespace))
}

fn for_lease(config: &Config, metrics: &Metrics) -> Result<Client, Error> {
    let service = Attempts::new(transport::connect(config)?, metrics.clone());
    Ok(Client::new(service, &*config.default_namespace))
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use futures::StreamExt as _;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{PostParams, WatchParams},
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        time::Instant,
    };

    use super::*;

    /// A server that answers each connection with the next of these texts, and later ones not at all.
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

    async fn read_head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
        }
        String::from_utf8(head).unwrap()
    }

    fn open() -> Fence {
        let fence = Fence::closed();
        fence.open_until(Instant::now() + Duration::from_hours(1));
        fence
    }

    fn client(address: SocketAddr) -> (Client, Metrics) {
        let metrics = Metrics::new();
        let client = for_operator(&config(address), &metrics, &open()).unwrap();
        (client, metrics)
    }

    /// Runs with a faster clock that leaves time for real I/O.
    async fn with_fast_clock<T>(future: impl Future<Output = T>) -> T {
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
    async fn transient_errors_are_retried_and_counted() {
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
    async fn create_without_answer_fails_in_time() {
        let (client, metrics) = client(server(&[]).await);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let (params, map) = (PostParams::default(), ConfigMap::default());
        let error = with_fast_clock(maps.create(&params, &map))
            .await
            .unwrap_err();
        let (error, text) = (error.to_string(), metrics.exposition().unwrap());
        let expected = "did not answer a create of configmaps within 10 s";
        assert!(error.contains(expected), "{error}");
        assert!(text.contains(r#"code="timeout"} 1"#), "{text}");
    }

    #[tokio::test]
    async fn stalled_answer_fails_in_time() {
        let (client, metrics) = client(server(&[HALF]).await);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let got = tokio::spawn(async move { maps.get("x").await });
        while !metrics.exposition().unwrap().contains(r#"code="200""#) {
            tokio::task::yield_now().await;
        }
        assert!(with_fast_clock(got).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn watch_may_be_quiet() {
        let (client, _) = client(server(&[EVENT]).await);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let params = WatchParams::default();
        let mut events = maps.watch(&params, "0").await.unwrap().boxed();
        assert!(events.next().await.unwrap().is_ok());
        let a_minute = Duration::from_mins(1);
        let quiet = tokio::time::timeout(a_minute, events.next());
        assert!(with_fast_clock(quiet).await.is_err());
    }

    #[tokio::test]
    async fn missing_server_is_an_error_after_retries() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, metrics) = client(listener.local_addr().unwrap());
        drop(listener);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        assert!(with_fast_clock(maps.get("x")).await.is_err());
        let text = metrics.exposition().unwrap();
        assert!(text.contains(r#"code="error"} 5"#), "{text}");
    }

    fn config(address: SocketAddr) -> Config {
        Config::new(format!("http://{address}").parse().unwrap())
    }

    #[tokio::test]
    async fn changes_wait_for_the_fence() {
        let fence = Fence::closed();
        let metrics = Metrics::new();
        let address = server(&[CONFIG_MAP, CONFIG_MAP]).await;
        let client = for_operator(&config(address), &metrics, &fence).unwrap();
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        maps.get("x").await.unwrap();
        let create = tokio::spawn(async move {
            let (params, map) = (PostParams::default(), ConfigMap::default());
            maps.create(&params, &map).await
        });
        with_fast_clock(tokio::time::sleep(Duration::from_mins(1))).await;
        assert!(!create.is_finished());
        fence.open_until(Instant::now() + Duration::from_hours(1));
        create.await.unwrap().unwrap();
        let text = metrics.exposition().unwrap();
        assert!(
            text.contains(r#"verb="create",resource="configmaps",code="200"} 1"#),
            "{text}"
        );
        assert!(text.contains("kubeci_api_slots_used 0\n"), "{text}");
    }

    #[tokio::test]
    async fn too_many_requests_delays_all_others() {
        const TOO_MANY: &str = "HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nConnection: close\r\n\
            Content-Length: 0\r\n\r\n";
        let (client, metrics) = client(server(&[TOO_MANY, CONFIG_MAP, CONFIG_MAP]).await);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let first = tokio::spawn({
            let maps = maps.clone();
            async move { maps.get("x").await }
        });
        while !metrics.exposition().unwrap().contains(r#"code="429""#) {
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        with_fast_clock(maps.get("x")).await.unwrap();
        assert!(
            begun.elapsed() > Duration::from_millis(2500),
            "{:?}",
            begun.elapsed()
        );
        with_fast_clock(first).await.unwrap().unwrap();
    }

    /// A proxy that answers one CONNECT request and then acts as the API server; returns both requests.
    async fn proxy() -> (SocketAddr, tokio::task::JoinHandle<[String; 2]>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let connect = read_head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
                .await
                .unwrap();
            let request = read_head(&mut stream).await;
            stream.write_all(CONFIG_MAP.as_bytes()).await.unwrap();
            [connect, request]
        });
        (address, requests)
    }

    #[tokio::test]
    async fn requests_use_the_proxy() {
        let (address, requests) = proxy().await;
        let mut config = Config::new("http://kubernetes.test:6443".parse().unwrap());
        config.proxy_url = Some(format!("http://me:p%40ss@{address}").parse().unwrap());
        let client = for_operator(&config, &Metrics::new(), &open()).unwrap();
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        maps.get("x").await.unwrap();
        let [connect, request] = requests.await.unwrap();
        assert!(
            connect.starts_with("CONNECT kubernetes.test:6443 HTTP/1.1\r\n"),
            "{connect}"
        );
        assert!(connect.contains("Basic bWU6cEBzcw=="), "{connect}");
        assert!(
            request.starts_with("GET /api/v1/namespaces/default/configmaps/x"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn kubeconfig_headers_and_impersonation_are_sent() {
        let (address, requests) = proxy().await;
        let mut config = Config::new("http://kubernetes.test".parse().unwrap());
        config.proxy_url = Some(format!("http://{address}").parse().unwrap());
        config.auth_info.impersonate = Some("jane".into());
        config.auth_info.token = Some("secret".to_owned().into());
        let client = for_lease(&config, &Metrics::new()).unwrap();
        Api::<ConfigMap>::default_namespaced(client)
            .get("x")
            .await
            .unwrap();
        let [_, request] = requests.await.unwrap();
        let request = request.to_lowercase();
        for header in ["impersonate-user: jane", "authorization: bearer secret"] {
            assert!(request.contains(header), "{request}");
        }
    }
}
