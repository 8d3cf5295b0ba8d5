//! A watch that lists and resumes without an end, with a backoff while it fails.

mod paged;

use std::{fmt::Debug, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::watcher::{self, Error, Event},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{Backoff, Metrics, api_error::watch_message};

const LONGEST_DELAY: Duration = Duration::from_secs(30);
const BACKOFF: Backoff = Backoff::up_to(LONGEST_DELAY);
/// The failures are forgotten after this time without another one.
const RESET_AFTER: Duration = Duration::from_mins(1);
/// After this many rejections in a row a watch begins with a list.
const REJECTIONS: u32 = 10;

/// A watch that never ends. It resumes where it was, as long as the API server knows that version. After a failure it
/// waits, longer after each one, until there is a change or a minute without a failure. A complete list does not reset
/// this backoff, because the watch after it may fail each time.
///
/// kube's `default_backoff` resets on the begin of each list: a list that keeps failing never slows down.
pub struct Watch<K> {
    resource: String,
    metrics: Metrics,
    start: Box<dyn Fn() -> Events<K> + Send + Sync>,
    events: Events<K>,
    backoff: WatchBackoff,
}

type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

impl<K> Watch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// Watches what `config` selects; `resource` is the plural for metrics and log lines, as in `pods`.
    #[must_use]
    pub fn new(api: Api<K>, config: watcher::Config, resource: &str, metrics: &Metrics) -> Self
    where
        Api<K>: Clone + Send + Sync,
    {
        let start = move || paged::watcher(api.clone(), config.clone());
        Self::started_by(start, resource, metrics)
    }
}

impl<K> Watch<K> {
    fn started_by(
        start: impl Fn() -> Events<K> + Send + Sync + 'static,
        resource: &str,
        metrics: &Metrics,
    ) -> Self {
        Self {
            resource: resource.to_owned(),
            metrics: metrics.clone(),
            events: start(),
            start: Box::new(start),
            backoff: WatchBackoff::default(),
        }
    }

    /// The failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.backoff.failures
    }

    /// The next event, after the backoff. Safe to cancel.
    ///
    /// # Errors
    /// When a list or the watch fails; the next call retries.
    pub async fn next(&mut self) -> watcher::Result<Event<K>> {
        let next = loop {
            self.backoff.wait().await;
            if let Some(next) = self.events.next().await {
                break next;
            }
            // The stream never ends; if it did, another would start.
            self.failed();
            self.events = (self.start)();
        };
        match &next {
            Ok(Event::Apply(_) | Event::Delete(_)) => self.backoff.reset(),
            Ok(_) => {}
            Err(error) => {
                self.failed();
                if self.has_expired(error) {
                    self.events = (self.start)();
                }
            }
        }
        next
    }

    /// The next event. Failures are logged and retried.
    pub async fn next_event(&mut self) -> Event<K> {
        loop {
            match self.next().await {
                Ok(event) => return event,
                Err(error) => {
                    let (resource, error) = (&self.resource, watch_message(&error));
                    tracing::warn!(%resource, error, "the watch failed and is restarted");
                }
            }
        }
    }

    /// The next event; none after this long without one. Then the watch counts as successful.
    pub async fn next_within(&mut self, quiet: Duration) -> Option<watcher::Result<Event<K>>> {
        let next = timeout(LONGEST_DELAY + quiet, self.next()).await.ok();
        if next.is_none() {
            self.backoff.reset();
        }
        next
    }

    fn failed(&mut self) {
        self.backoff.failed();
        self.metrics.watch_restarted(&self.resource);
    }

    /// Whether the API server no longer knows the version of the watch. The stream would resume from it forever.
    fn has_expired(&self, error: &Error) -> bool {
        let Error::WatchStartFailed(kube::Error::Api(status)) = error else {
            return false;
        };
        status.code == 410 || (self.failures() >= REJECTIONS && status.code != 429)
    }
}

/// The backoff of one watch.
#[derive(Default)]
struct WatchBackoff {
    failures: u32,
    /// The end of the delay after the last failure.
    resumes: Option<Instant>,
}

impl WatchBackoff {
    async fn wait(&self) {
        if let Some(resumes) = self.resumes {
            sleep_until(resumes).await;
        }
    }

    fn failed(&mut self) {
        let now = Instant::now();
        if self
            .resumes
            .is_some_and(|resumed| now >= resumed + RESET_AFTER)
        {
            self.failures = 0;
        }
        self.failures += 1;
        self.resumes = Some(now + BACKOFF.delay(self.failures));
    }

    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::Status;

    use super::*;

    type Next = fn(usize) -> Option<watcher::Result<Event<ConfigMap>>>;

    /// A watch whose streams return this for each call, counted over all streams; and the number of streams.
    fn watch(next: Next) -> (Watch<ConfigMap>, Arc<AtomicUsize>) {
        let (began, called) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let count = began.clone();
        let start = move || {
            count.fetch_add(1, Relaxed);
            let called = called.clone();
            stream::poll_fn(move |_| next(called.fetch_add(1, Relaxed)).into()).boxed()
        };
        (
            Watch::started_by(start, "configmaps", &Metrics::new()),
            began,
        )
    }

    fn rejected(code: u16) -> Error {
        let status = Status::failure("refused", "Refused").with_code(code);
        Error::WatchStartFailed(kube::Error::Api(status.boxed()))
    }

    async fn fail(watch: &mut Watch<ConfigMap>, times: u32) -> Duration {
        let begun = Instant::now();
        let mut failed = 0;
        while failed < times {
            failed += u32::from(watch.next().await.is_err());
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn list_that_keeps_failing_slows_down() {
        let (mut watch, _) = watch(|at| match at % 2 {
            0 => Some(Ok(Event::Init)),
            _ => Some(Err(Error::NoResourceVersion)),
        });
        let took = fail(&mut watch, 20).await;
        assert!(took > LONGEST_DELAY * 6, "{took:?}");
        assert_eq!(watch.failures(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn watch_that_fails_after_each_list_slows_down() {
        let (mut watch, _) = watch(|at| match at % 3 {
            0 => Some(Ok(Event::Init)),
            1 => Some(Ok(Event::InitDone)),
            _ => Some(Err(Error::NoResourceVersion)),
        });
        let took = fail(&mut watch, 20).await;
        assert!(took > LONGEST_DELAY * 6, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn change_resets_the_backoff() {
        let (mut watch, _) = watch(|at| match at {
            10 => Some(Ok(Event::Apply(ConfigMap::default()))),
            _ => Some(Err(Error::NoResourceVersion)),
        });
        fail(&mut watch, 10).await;
        watch.next().await.unwrap();
        assert_eq!(watch.failures(), 0);
        let took = fail(&mut watch, 2).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn minute_without_failure_resets_the_backoff() {
        let (mut watch, _) = watch(|_| Some(Err(Error::NoResourceVersion)));
        fail(&mut watch, 10).await;
        tokio::time::advance(LONGEST_DELAY + RESET_AFTER).await;
        fail(&mut watch, 1).await;
        assert_eq!(watch.failures(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn stream_that_ends_restarts_with_backoff() {
        let (mut watch, streams) = watch(|at| (at >= 10).then(|| Ok(Event::Init)));
        let begun = Instant::now();
        watch.next().await.unwrap();
        assert_eq!(streams.load(Relaxed), 11);
        assert!(begun.elapsed() > LONGEST_DELAY, "{:?}", begun.elapsed());
        let metrics = watch.metrics.exposition().unwrap();
        let counted = r#"kubeci_watch_restarts_total{resource="configmaps"} 10"#;
        assert!(metrics.contains(counted), "{metrics}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_expired_watch_is_listed_again() {
        let (mut gone, began) = watch(|_| Some(Err(rejected(410))));
        fail(&mut gone, 1).await;
        assert_eq!(began.load(Relaxed), 2);
        let (mut busy, began) = watch(|_| Some(Err(rejected(429))));
        fail(&mut busy, 30).await;
        assert_eq!(began.load(Relaxed), 1);
        let (mut ahead, began) = watch(|_| Some(Err(rejected(504))));
        fail(&mut ahead, 9).await;
        assert_eq!(began.load(Relaxed), 1);
        fail(&mut ahead, 1).await;
        assert_eq!(began.load(Relaxed), 2);
    }
}
