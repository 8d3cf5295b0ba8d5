//! One attempt at one request: bounded and counted.

use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    task::{self, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::Either;
use tower::{BoxError, Service};
use tower_http::timeout::TimeoutBody;

use super::request::{Verb, classify};
use crate::{Metrics, metrics::ApiRequest};

/// Bounds how long an answer may take to begin and, but for watches, to go on; counts how it began.
/// A watch is quiet by nature: kube's watcher bounds it by its own timeout.
#[derive(Clone)]
pub struct Attempts<S> {
    inner: S,
    metrics: Metrics,
}

/// The API server did not begin to answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer a {verb} of {resource} within {} s", .within.as_secs())]
pub struct Unanswered {
    verb: &'static str,
    resource: String,
    within: Duration,
}

impl<S> Attempts<S> {
    pub fn new(inner: S, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

impl<S, Req, Res> Service<Request<Req>> for Attempts<S>
where
    S: Service<Request<Req>, Response = Response<Res>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Either<TimeoutBody<Res>, Res>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let (verb, resource) = classify(request.method(), request.uri());
        let metrics = self.metrics.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = tokio::time::timeout(verb.patience(), answer).await;
            let code = match &answer {
                Ok(Ok(response)) => Cow::Owned(response.status().as_str().to_owned()),
                Ok(Err(_)) => Cow::Borrowed("error"),
                Err(_) => Cow::Borrowed("timeout"),
            };
            let counted = ApiRequest {
                verb: verb.name(),
                resource,
                code,
            };
            metrics.requested(&counted);
            match answer {
                Ok(response) => response.map(|response| response.map(|body| bound(verb, body))),
                Err(_) => Err(BoxError::from(Unanswered {
                    verb: verb.name(),
                    resource: counted.resource,
                    within: verb.patience(),
                })),
            }
        })
    }
}

fn bound<B>(verb: Verb, body: B) -> Either<TimeoutBody<B>, B> {
    match verb {
        Verb::Watch => Either::Right(body),
        _ => Either::Left(TimeoutBody::new(verb.patience(), body)),
    }
}
