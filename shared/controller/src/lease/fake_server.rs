//! An API server with one lease, for tests: it can be slow, frozen, or away.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, ResourceExt, client::Body};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tower::{BoxError, service_fn};

use super::record;

/// That of the real client.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Server(Arc<Mutex<State>>);

struct State {
    /// Absent before its creation and after its deletion.
    lease: watch::Sender<Option<Lease>>,
    version: u64,
    requests: u32,
    latency: Duration,
    /// Requests are held until then.
    frozen_until: Instant,
    /// Answers to changes are lost, although the changes are made.
    unanswering: bool,
    away: bool,
}

type Answer = Response<Either<Full<Bytes>, StreamBody<stream::BoxStream<'static, FrameResult>>>>;
type FrameResult = Result<Frame<Bytes>, Infallible>;

impl Server {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            lease: watch::Sender::new(None),
            version: 0,
            requests: 0,
            latency: Duration::from_millis(1),
            frozen_until: Instant::now(),
            unanswering: false,
            away: false,
        })))
    }

    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request| {
            let server = server.clone();
            let answer = tokio::spawn(server.answer(request));
            async move { timeout(TIMEOUT, answer).await?? }
        });
        Client::new(service, "kubeci-system")
    }

    pub fn requests(&self) -> u32 {
        self.change(|state| state.requests)
    }

    pub fn latency(&self, latency: Duration) {
        self.change(|state| state.latency = latency);
    }

    pub fn freeze(&self, span: Duration) {
        self.change(|state| state.frozen_until = Instant::now() + span);
    }

    pub fn unanswering(&self, unanswering: bool) {
        self.change(|state| state.unanswering = unanswering);
    }

    pub fn away(&self, away: bool) {
        self.change(|state| state.away = away);
    }

    pub fn lease(&self) -> Option<Lease> {
        self.change(|state| state.lease.borrow().clone())
    }

    pub fn holder(&self) -> Option<String> {
        let lease = self.lease()?;
        record::holder(&lease).map(str::to_owned)
    }

    pub fn put(&self, lease: &Lease) {
        let body = serde_json::to_vec(lease).unwrap();
        assert_eq!(self.write(&Method::PUT, &body).unwrap().0, 200);
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Continues after the client has timed out, as a server does.
    async fn answer(self, request: Request<Body>) -> Result<Answer, BoxError> {
        let (latency, frozen_until, away) = self.change(|state| {
            state.requests += 1;
            (state.latency, state.frozen_until, state.away)
        });
        if away {
            return Err("connection refused".into());
        }
        sleep_until(frozen_until).await;
        sleep(latency / 2).await;
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let watches = head.uri.query().is_some_and(|it| it.contains("watch=true"));
        let (code, answer) = match head.method {
            Method::GET if watches => return Ok(self.watch()),
            Method::GET => self.get(),
            method => {
                let written = self.write(&method, &body)?;
                if self.change(|state| state.unanswering) {
                    return Err("connection reset".into());
                }
                written
            }
        };
        sleep(latency / 2).await;
        let body = Either::Left(Full::from(answer));
        Ok(Response::builder().status(code).body(body)?)
    }

    fn get(&self) -> (u16, Vec<u8>) {
        match self.lease() {
            Some(lease) => (200, serde_json::to_vec(&lease).unwrap()),
            None => failure(404, "NotFound"),
        }
    }

    fn write(&self, method: &Method, body: &[u8]) -> Result<(u16, Vec<u8>), BoxError> {
        let mut written: Lease = serde_json::from_slice(body)?;
        self.change(|state| {
            let known = state
                .lease
                .borrow()
                .as_ref()
                .map(ResourceExt::resource_version);
            match known {
                Some(_) if method == Method::POST => return Ok(failure(409, "AlreadyExists")),
                Some(known) if known != written.resource_version() => {
                    return Ok(failure(409, "Conflict"));
                }
                None if method == Method::PUT => return Ok(failure(404, "NotFound")),
                _ => {}
            }
            state.version += 1;
            written.metadata.resource_version = Some(state.version.to_string());
            let answer = serde_json::to_vec(&written)?;
            state.lease.send_replace(Some(written));
            Ok((200, answer))
        })
    }

    fn watch(&self) -> Answer {
        let mut lease = self.change(|state| state.lease.subscribe());
        lease.mark_unchanged();
        let events = stream::unfold(lease, |mut lease| async {
            lease.changed().await.ok()?;
            let event = match &*lease.borrow_and_update() {
                Some(lease) => json!({"type": "MODIFIED", "object": lease}),
                None => json!({"type": "DELETED", "object": Lease::default()}),
            };
            let line = format!("{event}\n");
            Some((Ok(Frame::data(Bytes::from(line))), lease))
        });
        Response::new(Either::Right(StreamBody::new(events.boxed())))
    }
}

fn failure(code: u16, reason: &str) -> (u16, Vec<u8>) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code,
    });
    (code, status.to_string().into_bytes())
}
