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

/// What the admin server answers from.
#[derive(Clone)]
pub struct Admin {
    pub liveness: Liveness,
    pub readiness: Readiness,
    pub metrics: Metrics,
}

impl Admin {
    /// Serves in the background until the process ends; returns the address, whose port the system
    /// chose where 0 was asked for.
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
        .map(|(name, silence)| format!("{name}: has not turned for {} s\n", silence.as_secs()));
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
