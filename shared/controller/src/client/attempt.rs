//! One attempt at a request, with a timeout and a count.

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

/// Limits the time until an answer begins and, except for watches, until it continues; counts each answer. A watch may be
/// quiet: it has a timeout of its own.
#[derive(Clone)]
pub struct Attempts<S> {
    inner: S,
    metrics: Metrics,
}

/// The API server did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer a {verb} of {resource} within {} s", .within.as_secs())]
pub struct ResponseTimeout {
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
            let answer = tokio::time::timeout(verb.response_timeout(), answer).await;
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
                Ok(response) => {
                    response.map(|response| response.map(|body| with_timeout(verb, body)))
                }
                Err(_) => Err(BoxError::from(ResponseTimeout {
                    verb: verb.name(),
                    resource: counted.resource,
                    within: verb.response_timeout(),
                })),
            }
        })
    }
}

fn with_timeout<B>(verb: Verb, body: B) -> Either<TimeoutBody<B>, B> {
    match verb {
        Verb::Watch => Either::Right(body),
        _ => Either::Left(TimeoutBody::new(verb.response_timeout(), body)),
    }
}
