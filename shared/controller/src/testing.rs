//! A mocked API server for tests.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body, core::Status};
use serde_json::Value;
use tower::BoxError;

/// The code of a request whose connection breaks.
pub const NO_ANSWER: u16 = 0;

/// The code of a request whose answer never comes.
pub const HANGS: u16 = 1;

/// A request.
#[derive(Debug)]
pub struct Received {
    /// The HTTP method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query; empty without one.
    pub query: String,
    /// The body as JSON; null without one.
    pub body: Value,
}

/// An answer: its code and its body. A code of 300 or more without a body has a `Status` with the reason of the code.
pub type Answer = (u16, Value);

/// A client of an API server that answers requests so.
pub fn client(answer: impl FnMut(&Received) -> Answer + Send + 'static) -> Client {
    let answer = Arc::new(Mutex::new(answer));
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = Arc::clone(&answer);
        async move {
            let received = received(request).await?;
            let (code, mut value) =
                answer.lock().unwrap_or_else(PoisonError::into_inner)(&received);
            if code == NO_ANSWER {
                return Err(BoxError::from("the API server did not answer"));
            }
            if code == HANGS {
                return std::future::pending().await;
            }
            let status = StatusCode::from_u16(code)?;
            if code >= 300 && value.is_null() {
                let reason = status.canonical_reason().unwrap_or_default();
                let reason = reason.replace(' ', "");
                value = rejected(code, &reason, &reason).1;
            }
            let body = match value {
                Value::Null => Body::empty(),
                value => Body::from(value.to_string().into_bytes()),
            };
            Ok(Response::builder().status(status).body(body)?)
        }
    });
    Client::new(service, "ns")
}

async fn received(request: Request<Body>) -> Result<Received, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await?;
    Ok(Received {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// An answer that rejects a request.
#[must_use]
pub fn rejected(code: u16, reason: &str, message: &str) -> Answer {
    let status = Status::failure(message, reason).with_code(code);
    (code, serde_json::to_value(status).unwrap_or_default())
}
