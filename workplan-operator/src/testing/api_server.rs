//! A mocked API server.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// One request.
pub struct Received {
    pub method: Method,
    pub path: String,
    pub body: Value,
}

/// A client of an API server that answers so. An answer of 300 or more is a `Status` with the reason of its code.
pub fn client(answer: impl FnMut(&Received) -> (u16, Value) + Send + 'static) -> Client {
    let answer = Arc::new(Mutex::new(answer));
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = Arc::clone(&answer);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap_or_default();
            let received = Received {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let (code, mut value) = answer.lock().unwrap()(&received);
            if code >= 300 {
                value = failure(code);
            }
            let response = Response::builder().status(code);
            let body = Body::from(value.to_string().into_bytes());
            Ok::<_, Infallible>(response.body(body).unwrap())
        }
    });
    Client::new(service, "ns")
}

fn failure(code: u16) -> Value {
    let reason = StatusCode::from_u16(code).unwrap();
    let reason = reason.canonical_reason().unwrap().replace(' ', "");
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason})
}
