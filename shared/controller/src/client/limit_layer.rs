//! Delays each attempt at a request until it may be sent.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use hyper::body::Body;
use tokio::time::Instant;
use tower::{BoxError, Service};

use super::{
    latency::Latency,
    limit::{Answer, Limit, Permit, slots},
    request::{Verb, classify},
    retry::retry_after,
    watch_interval::WatchInterval,
};
use crate::lease::Fence;

/// The slots of a request for many objects.
const SLOTS_OF_LIST: u32 = 8;

/// Limits the requests in flight. Changes also wait for the fence of the lease. A watch waits for neither, since it lasts,
/// but for an interval after the watch before it.
#[derive(Clone)]
pub struct Limited<S> {
    inner: S,
    admission: Admission,
}

impl<S> Limited<S> {
    pub fn new(inner: S, limit: Limit, fence: Fence) -> Self {
        let admission = Admission {
            limit,
            fence,
            latency: Arc::default(),
            watches: Arc::default(),
        };
        Self { inner, admission }
    }
}

impl<S, Req, Res> Service<Request<Req>> for Limited<S>
where
    S: Service<Request<Req>, Response = Response<Res>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send + 'static,
    Req: Body + Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let (verb, resource) = classify(request.method(), request.uri());
        let admission = self.admission.clone();
        // The service that is ready is called; its clone may not be ready.
        let clone = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, clone);
        if verb == Verb::Watch {
            return Box::pin(async move {
                admission.watches.wait(request.uri().path()).await;
                ready.call(request).await
            });
        }
        let slots = match verb {
            Verb::List | Verb::DeleteCollection => SLOTS_OF_LIST,
            _ => slots(request.body().size_hint().lower()),
        };
        Box::pin(async move {
            let permit = admission.permit(verb, slots).await;
            let sent = Instant::now();
            let result = ready.call(request).await;
            permit.answered(admission.answer(verb, &resource, &result, sent.elapsed()));
            result
        })
    }
}

#[derive(Clone)]
struct Admission {
    limit: Limit,
    fence: Fence,
    latency: Arc<Latency>,
    watches: Arc<WatchInterval>,
}

impl Admission {
    async fn permit(&self, verb: Verb, slots: u32) -> Permit {
        if verb.reads() {
            return self.limit.acquire(slots).await;
        }
        loop {
            self.fence.open().await;
            let permit = self.limit.acquire(slots).await;
            if self.fence.is_open() {
                return permit;
            }
        }
    }

    fn answer<B>(
        &self,
        verb: Verb,
        resource: &str,
        result: &Result<Response<B>, BoxError>,
        took: Duration,
    ) -> Answer {
        let Ok(response) = result else {
            return Answer::Overloaded { retry_after: None };
        };
        let retry_after = retry_after(response);
        // The API server returns 503 without it for an aggregated API that is down.
        if response.status() == StatusCode::TOO_MANY_REQUESTS || retry_after.is_some() {
            return Answer::Overloaded { retry_after };
        }
        // The time of a list depends on its length, and that of discovery on other servers.
        let measures_load =
            !matches!(verb, Verb::List | Verb::DeleteCollection) && !resource.is_empty();
        if measures_load && self.latency.is_slow(verb, resource, took) {
            Answer::Slow
        } else {
            Answer::Prompt
        }
    }
}
