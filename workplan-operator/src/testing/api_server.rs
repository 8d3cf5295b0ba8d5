//! A mocked API server.

use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

/// The code of a request that has no answer.
pub const NO_ANSWER: u16 = 0;

/// One request.
pub struct Received {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub body: Value,
}

/// An answer: its code and its body. Without a body a code of 300 or more has a `Status` with the reason of the code.
pub type Answer = (u16, Value);

/// A client of an API server that answers so.
pub fn client(answer: impl FnMut(&Received) -> Answer + Send + 'static) -> Client {
    let answer = Arc::new(Mutex::new(answer));
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = Arc::clone(&answer);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap_or_default();
            let received = Received {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let (code, mut value) = answer.lock().unwrap()(&received);
            if code == NO_ANSWER {
                return Err(BoxError::from("the API server did not answer"));
            }
            if code >= 300 && value.is_null() {
                value = failure(code);
            }
            let response = Response::builder().status(code);
            let body = Body::from(value.to_string().into_bytes());
            Ok(response.body(body)?)
        }
    });
    Client::new(service, "ns")
}

/// An answer that rejects a request.
pub fn rejected(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({
        "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    (code, status)
}

fn failure(code: u16) -> Value {
    let reason = StatusCode::from_u16(code).unwrap();
    let reason = reason.canonical_reason().unwrap().replace(' ', "");
    rejected(code, &reason, &reason).1
}
