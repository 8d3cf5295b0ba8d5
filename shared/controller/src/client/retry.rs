//! Which errors are transient and retried, and when.

use std::time::Duration;

use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use kube::client::Body;
use tokio::time::{Instant, Sleep, sleep};
use tower::{BoxError, retry::Policy};

use super::{
    attempt::ResponseTimeout,
    request::{Verb, classify},
};
use crate::Backoff;

const ATTEMPTS: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const BACKOFF: Backoff = Backoff::new(FIRST_DELAY, Duration::from_secs(2));
/// No attempt begins later than this after the first; the caller requeues instead.
const BUDGET: Duration = Duration::from_secs(20);

/// The retry policy of one request.
#[derive(Clone, Debug, Default)]
pub struct Retries {
    attempted: u32,
    give_up: Option<Instant>,
}

/// An error that may be transient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transient {
    /// The server did nothing: it rejected the request, or was not reached.
    NotExecuted { wait: Option<Duration> },
    /// The server may have executed the request.
    Unknown { wait: Option<Duration> },
}

impl Transient {
    fn of<B>(result: &Result<Response<B>, BoxError>) -> Option<Self> {
        match result {
            Ok(response) => Self::of_response(response),
            Err(error) => Self::of_error(error),
        }
    }

    fn of_response<B>(response: &Response<B>) -> Option<Self> {
        let wait = retry_after(response);
        match response.status() {
            StatusCode::TOO_MANY_REQUESTS => Some(Self::NotExecuted { wait }),
            StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Some(Self::Unknown { wait }),
            _ => None,
        }
    }

    fn of_error(error: &BoxError) -> Option<Self> {
        if error.is::<ResponseTimeout>() {
            return Some(Self::Unknown { wait: None });
        }
        let error = error.downcast_ref::<hyper_util::client::legacy::Error>()?;
        Some(if error.is_connect() {
            Self::NotExecuted { wait: None }
        } else {
            Self::Unknown { wait: None }
        })
    }

    /// The delay that the server asks for, if the request can be repeated.
    fn repeatable(self, verb: Verb) -> Option<Duration> {
        match self {
            // The watcher resumes a watch.
            _ if verb == Verb::Watch => None,
            Self::Unknown { .. } if !verb.repeatable() => None,
            Self::NotExecuted { wait } | Self::Unknown { wait } => Some(wait.unwrap_or_default()),
        }
    }
}

/// The delay that the server asks for.
pub fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Retries {
    type Future = Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Sleep> {
        let (verb, _) = classify(request.method(), request.uri());
        let wait = Transient::of(result)?.repeatable(verb)?;
        self.attempted += 1;
        let delay = wait.max(BACKOFF.delay(self.attempted));
        let left = self.give_up?.saturating_duration_since(Instant::now());
        (self.attempted < ATTEMPTS && delay <= left).then(|| sleep(delay))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        self.give_up.get_or_insert_with(|| Instant::now() + BUDGET);
        let body = request.body().try_clone()?;
        let mut copy = Request::new(body);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Response<()> {
        let mut response = Response::builder().status(status);
        if let Some(seconds) = retry_after {
            response = response.header(RETRY_AFTER, seconds);
        }
        response.body(()).unwrap()
    }

    fn request(method: &str, uri: &str) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(uri)
            .body(Body::empty())
            .unwrap()
    }

    fn delays(method: &str, uri: &str, status: u16, retry_after: Option<&str>) -> Vec<Duration> {
        let mut policy = Retries::default();
        let mut request = request(method, uri);
        let clone = <Retries as Policy<_, Response<()>, _>>::clone_request(&mut policy, &request);
        assert!(clone.is_some());
        std::iter::from_fn(|| policy.retry(&mut request, &mut Ok(answer(status, retry_after))))
            .map(|delay| delay.deadline() - Instant::now())
            .collect()
    }

    #[rstest]
    #[case("GET", 503, true)]
    #[case("GET", 429, true)]
    #[case("GET", 404, false)]
    #[case("PUT", 409, false)]
    #[case("PUT", 500, true)]
    #[case("PATCH", 504, true)]
    #[case("PATCH", 422, false)]
    #[case("DELETE", 502, true)]
    #[case("POST", 429, true)]
    #[case("POST", 500, false)]
    #[case("POST", 409, false)]
    #[tokio::test(start_paused = true)]
    async fn only_transient_repeatable_errors_are_retried(
        #[case] method: &str,
        #[case] status: u16,
        #[case] retried: bool,
    ) {
        let delays = delays(method, "/api/v1/namespaces/a/pods/b", status, None);
        assert_eq!(!delays.is_empty(), retried, "{delays:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn watches_are_not_retried() {
        assert!(delays("GET", "/api/v1/pods?watch=true", 429, None).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn delays_grow_and_end() {
        let delays = delays("GET", "/api/v1/pods", 503, None);
        assert_eq!(delays.len(), 4);
        for (attempted, delay) in (0..).zip(&delays) {
            let full = FIRST_DELAY * 2_u32.pow(attempted);
            assert!((full / 2..=full).contains(delay), "{delays:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_respected() {
        let three = Duration::from_secs(3);
        let waits = delays("GET", "/api/v1/pods", 429, Some("3"));
        assert_eq!(waits, [three; 4]);
        // Longer than the budget: the caller gets the error.
        assert!(delays("GET", "/api/v1/pods", 429, Some("60")).is_empty());
        let never = u64::MAX.to_string();
        assert!(delays("GET", "/api/v1/pods", 429, Some(&never)).is_empty());
    }
}
