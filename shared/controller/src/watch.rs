use std::{fmt::Debug, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::watcher::{self, Error, Event},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{Metrics, backoff, pages};

const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A watch that has gone on for so long without a failure has left those before behind.
const STEADY: Duration = Duration::from_mins(1);
/// After this many failures in a row a watch that is refused begins with a list.
const REFUSALS: u32 = 10;

/// A watch that never ends and slows down while it fails: it pauses after each failure, longer each time,
/// until it shows a change or has gone on for a minute. A list that succeeds is not enough, since the watch
/// after it may fail each time. It resumes where it was wherever the API server still knows that.
///
/// kube's `default_backoff` takes the beginning of each list for a success and never gets slower.
pub struct Watch<K> {
    resource: String,
    metrics: Metrics,
    start: Box<dyn Fn() -> Events<K> + Send + Sync>,
    events: Events<K>,
    failures: u32,
    /// When the pause after the last failure ends.
    resumes: Option<Instant>,
}

type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

impl<K> Watch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// Watches what `config` selects; `resource` is the plural for the metrics, as in `pods`.
    #[must_use]
    pub fn new(api: Api<K>, config: watcher::Config, resource: &str, metrics: &Metrics) -> Self
    where
        Api<K>: Clone + Send + Sync,
    {
        let start = move || pages::watcher(api.clone(), config.clone());
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
            failures: 0,
            resumes: None,
        }
    }

    /// How often it has failed in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What comes next, after the pause that is due. Safe to cancel.
    ///
    /// # Errors
    /// When a list or the watch has failed; the next call tries again.
    pub async fn next(&mut self) -> watcher::Result<Event<K>> {
        let next = loop {
            if let Some(resumes) = self.resumes {
                sleep_until(resumes).await;
            }
            if let Some(next) = self.events.next().await {
                break next;
            }
            // kube's watcher never ends; should it, another begins.
            self.failed();
            self.events = (self.start)();
        };
        match &next {
            Ok(Event::Apply(_) | Event::Delete(_)) => self.failures = 0,
            Ok(_) => {}
            Err(error) => {
                self.failed();
                if self.is_lost(error) {
                    self.events = (self.start)();
                }
            }
        }
        next
    }

    /// What comes next, or nothing if nothing came for so long after the pause that is due: a quiet watch is
    /// a good one.
    pub async fn next_within(&mut self, quiet: Duration) -> Option<watcher::Result<Event<K>>> {
        let next = timeout(LONGEST_PAUSE + quiet, self.next()).await.ok();
        if next.is_none() {
            self.failures = 0;
        }
        next
    }

    fn failed(&mut self) {
        let now = Instant::now();
        if self.resumes.is_some_and(|resumed| now >= resumed + STEADY) {
            self.failures = 0;
        }
        self.failures += 1;
        self.resumes = Some(now + backoff(self.failures, LONGEST_PAUSE));
        self.metrics.watch_restarted(&self.resource);
    }

    /// Whether the API server no longer knows where the watch was, which kube's watcher tries for ever.
    fn is_lost(&self, error: &Error) -> bool {
        let Error::WatchStartFailed(kube::Error::Api(status)) = error else {
            return false;
        };
        status.code == 410 || (self.failures >= REFUSALS && status.code != 429)
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

    /// A watch whose stream shows this for each call, counted over all its streams; and how many it began.
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

    fn refused(code: u16) -> Error {
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
        assert!(took > LONGEST_PAUSE * 6, "{took:?}");
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
        assert!(took > LONGEST_PAUSE * 6, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn watch_that_shows_a_change_is_quick_again() {
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
    async fn watch_that_went_on_for_a_minute_is_quick_again() {
        let (mut watch, _) = watch(|_| Some(Err(Error::NoResourceVersion)));
        fail(&mut watch, 10).await;
        tokio::time::advance(LONGEST_PAUSE + STEADY).await;
        fail(&mut watch, 1).await;
        assert_eq!(watch.failures(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn stream_that_ends_begins_anew_ever_slower() {
        let (mut watch, streams) = watch(|at| (at >= 10).then(|| Ok(Event::Init)));
        let begun = Instant::now();
        watch.next().await.unwrap();
        assert_eq!(streams.load(Relaxed), 11);
        assert!(begun.elapsed() > LONGEST_PAUSE, "{:?}", begun.elapsed());
        let metrics = watch.metrics.exposition().unwrap();
        let counted = r#"kubeci_watch_restarts_total{resource="configmaps"} 10"#;
        assert!(metrics.contains(counted), "{metrics}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_lost_is_listed_again() {
        let (mut gone, began) = watch(|_| Some(Err(refused(410))));
        fail(&mut gone, 1).await;
        assert_eq!(began.load(Relaxed), 2);
        let (mut busy, began) = watch(|_| Some(Err(refused(429))));
        fail(&mut busy, 30).await;
        assert_eq!(began.load(Relaxed), 1);
        let (mut ahead, began) = watch(|_| Some(Err(refused(504))));
        fail(&mut ahead, 9).await;
        assert_eq!(began.load(Relaxed), 1);
        fail(&mut ahead, 1).await;
        assert_eq!(began.load(Relaxed), 2);
    }
}
