//! The admin server: `/healthz`, `/readyz` and `/metrics`.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::{Error, Liveness, Metrics, Readiness};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The state that the admin server returns.
#[derive(Clone)]
pub struct Admin {
    pub liveness: Liveness,
    pub readiness: Readiness,
    pub metrics: Metrics,
}

impl Admin {
    /// Serves in the background until the process ends; returns the address, with the port that the system chose for
    /// port 0.
    pub async fn serve(self, address: SocketAddr) -> Result<SocketAddr, Error> {
        let failed = |source| Error::Admin { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let routes = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(bound)
    }
}

async fn healthz(State(admin): State<Admin>) -> Response {
    let stuck = admin.liveness.stuck();
    if stuck.is_empty() {
        return "ok\n".into_response();
    }
    let lines = stuck
        .iter()
        .map(|(name, silence)| format!("{name}: has not run for {} s\n", silence.as_secs()));
    unavailable(lines.collect())
}

async fn readyz(State(admin): State<Admin>) -> Response {
    match admin.readiness.report() {
        (true, lines) => lines.into_response(),
        (false, lines) => unavailable(lines),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.exposition() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn unavailable(lines: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    async fn serve() -> (Admin, SocketAddr) {
        let admin = Admin {
            liveness: Liveness::default(),
            readiness: Readiness::default(),
            metrics: Metrics::new(),
        };
        let any_port = ([127, 0, 0, 1], 0).into();
        let address = admin.clone().serve(any_port).await.unwrap();
        (admin, address)
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn standby_is_ready() {
        let (admin, address) = serve().await;
        let waiting = get(address, "/readyz").await;
        assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
        assert!(
            waiting.contains("waiting for the first read of the Lease"),
            "{waiting}"
        );
        admin.readiness.standing_by("other");
        let ready = get(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        assert!(
            ready.contains("waiting for the Lease, other is the leader"),
            "{ready}"
        );
    }

    #[tokio::test]
    async fn healthz_fails_once_a_loop_is_stuck() {
        let (admin, address) = serve().await;
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let _heartbeat = admin.liveness.heartbeat("main loop", Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let stuck = get(address, "/healthz").await;
        assert!(stuck.starts_with("HTTP/1.1 503"), "{stuck}");
        assert!(stuck.contains("main loop: has not run"), "{stuck}");
    }

    #[tokio::test]
    async fn metrics_have_the_open_metrics_format() {
        let (_, address) = serve().await;
        let answer = get(address, "/metrics").await;
        assert!(answer.contains(OPEN_METRICS), "{answer}");
        assert!(answer.contains("kubeci_leader 0\n"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }

    #[tokio::test]
    async fn address_in_use_error_names_the_flag() {
        let (admin, address) = serve().await;
        let error = admin.serve(address).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains("--admin-address"), "{error}");
    }
}
