//! The watches of the objects that triggers name: one task for each resource and scope.

use std::{collections::HashMap, time::Duration};

use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
    runtime::watcher::{self, Event},
};
use kubeci_controller::{
    Context, Metrics, Tasks, Watch,
    api_error::{watch_message, watch_status},
};
use kubeci_triggers::{ObservedObject, Resource, Scope, Uids, WatchCommand, WatchError, WatchKey};
use tokio::task::AbortHandle;

use crate::input::{Input, InputSender, WatchUpdate};

/// After this many errors in a row a watch counts as failing. Single errors are normal.
const FAILING_AFTER: u32 = 3;
/// A failing watch without errors for this time works again.
const RECOVERED_AFTER: Duration = Duration::from_secs(15);

/// The watches that run.
pub struct ObjectWatches {
    client: Client,
    inputs: InputSender,
    metrics: Metrics,
    tasks: Tasks,
    running: HashMap<WatchKey, AbortHandle>,
}

impl ObjectWatches {
    pub fn new(context: &Context, inputs: InputSender) -> Self {
        Self {
            client: context.client.clone(),
            inputs,
            metrics: context.metrics.clone(),
            tasks: context.tasks.clone(),
            running: HashMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.running.len()
    }

    pub fn apply(&mut self, command: WatchCommand) {
        match command {
            WatchCommand::Start { key, epoch } => {
                self.abort(&key);
                self.start(key, epoch);
            }
            WatchCommand::Stop { key } => {
                self.abort(&key);
                tracing::info!(%key, "watch stopped");
            }
        }
    }

    fn abort(&mut self, key: &WatchKey) {
        if let Some(task) = self.running.remove(key) {
            task.abort();
        }
    }

    fn start(&mut self, key: WatchKey, epoch: u64) {
        tracing::info!(%key, epoch, "watch started");
        let api = api(self.client.clone(), &key);
        let plural = &key.resource.plural;
        let events = Watch::new(api, watcher::Config::default(), plural, &self.metrics);
        let watch = ObjectWatch {
            key: key.clone(),
            epoch,
            inputs: self.inputs.clone(),
            listing: Uids::new(),
            failing: false,
        };
        let name = format!("the watch of {key}");
        let task = self.tasks.spawn(name, watch.run(events));
        self.running.insert(key, task);
    }

    pub fn stop(&mut self) {
        for (_, task) in self.running.drain() {
            task.abort();
        }
    }
}

fn api(client: Client, key: &WatchKey) -> Api<DynamicObject> {
    let Resource { kind, plural } = &*key.resource;
    let resource = ApiResource {
        group: kind.group.clone(),
        version: kind.version.clone(),
        api_version: kind.api_version(),
        kind: kind.name.clone(),
        plural: plural.clone(),
    };
    match &key.scope {
        Scope::All => Api::all_with(client, &resource),
        Scope::Namespace(namespace) => Api::namespaced_with(client, namespace, &resource),
    }
}

/// One watch.
struct ObjectWatch {
    key: WatchKey,
    epoch: u64,
    inputs: InputSender,
    /// The uids of the current list.
    listing: Uids,
    failing: bool,
}

impl ObjectWatch {
    async fn run(mut self, mut events: Watch<DynamicObject>) {
        loop {
            let update = match events.next_within(RECOVERED_AFTER).await {
                Some(Ok(event)) => self.on_event(event),
                Some(Err(error)) => self.on_error(&error, events.failures()),
                None => self.on_quiet(),
            };
            let Some(update) = update else {
                continue;
            };
            let input = Input::Watch {
                key: self.key.clone(),
                epoch: self.epoch,
                update,
            };
            if self.inputs.send(input).await.is_err() {
                return;
            }
        }
    }

    fn on_event(&mut self, event: Event<DynamicObject>) -> Option<WatchUpdate> {
        match event {
            Event::Init => {
                self.listing.clear();
                None
            }
            Event::InitApply(object) => {
                let observed = self.observed(&object)?;
                self.listing.insert(observed.uid.clone());
                Some(WatchUpdate::Applied(observed))
            }
            Event::InitDone => {
                self.failing = false;
                Some(WatchUpdate::Listed(std::mem::take(&mut self.listing)))
            }
            Event::Apply(object) => self.observed(&object).map(WatchUpdate::Applied),
            Event::Delete(object) => {
                let observed = self.observed(&object)?;
                Some(WatchUpdate::Deleted(observed.uid, observed.object))
            }
        }
    }

    fn observed(&self, object: &DynamicObject) -> Option<ObservedObject> {
        ObservedObject::new(&self.key.resource, object)
    }

    fn on_error(&mut self, error: &watcher::Error, failures: u32) -> Option<WatchUpdate> {
        let message = watch_message(error);
        tracing::debug!(key = %self.key, "watch interrupted: {message}");
        let list_failed = matches!(error, watcher::Error::InitialListFailed(_));
        let error = match watch_status(error).map(|status| status.code) {
            Some(404) => return Some(WatchUpdate::NotServed),
            Some(403) => WatchError::Forbidden,
            _ if list_failed || failures >= FAILING_AFTER => WatchError::Failing(message),
            _ => return None,
        };
        self.failing = true;
        Some(WatchUpdate::Error(Some(error)))
    }

    fn on_quiet(&mut self) -> Option<WatchUpdate> {
        std::mem::take(&mut self.failing).then_some(WatchUpdate::Error(None))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kubeci_controller::testing::{Answer, HANGS, NO_ANSWER, client, rejected};
    use kubeci_triggers::Kind;
    use serde_json::{Value, json};
    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    /// The updates of a watch within this time. The API server answers its lists, and then its watches, so; the last
    /// answer is repeated.
    async fn updates(lists: Vec<Answer>, watches: Vec<Answer>, duration: Duration) -> Vec<String> {
        let (mut lists, mut watches) = (repeating(lists), repeating(watches));
        let client = client(move |request| {
            if request.query.contains("watch=true") {
                watches()
            } else {
                lists()
            }
        });
        let key = WatchKey {
            resource: Arc::new(Resource {
                kind: Kind::new("v1", "ConfigMap"),
                plural: "configmaps".into(),
            }),
            scope: Scope::All,
        };
        let metrics = Metrics::default();
        let api = api(client, &key);
        let events = Watch::new(api, watcher::Config::default(), "configmaps", &metrics);
        let (inputs, mut received) = mpsc::channel(100);
        let watch = ObjectWatch {
            key,
            epoch: 1,
            inputs,
            listing: Uids::new(),
            failing: false,
        };
        let _ = timeout(duration, watch.run(events)).await;
        let mut log = Vec::new();
        while let Some(input) = received.recv().await {
            if let Input::Watch { update, .. } = input {
                log.push(line(&update));
            }
        }
        log
    }

    fn repeating(answers: Vec<Answer>) -> impl FnMut() -> Answer + Send + 'static {
        let mut at = 0;
        move || {
            let answer = answers[at.min(answers.len() - 1)].clone();
            at += 1;
            answer
        }
    }

    fn line(update: &WatchUpdate) -> String {
        match update {
            WatchUpdate::Applied(object) => format!("applied {}", object.uid),
            WatchUpdate::Deleted(uid, _) => format!("deleted {uid}"),
            WatchUpdate::Listed(uids) => format!("listed {}", uids.len()),
            WatchUpdate::Error(error) => format!("error {error:?}"),
            WatchUpdate::NotServed => "not served".to_owned(),
        }
    }

    fn list() -> Answer {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "ns", "uid": "1", "resourceVersion": "1"},
        });
        (
            200,
            json!({"metadata": {"resourceVersion": "1"}, "items": [object]}),
        )
    }

    fn failure(code: u16) -> Answer {
        (code, Value::Null)
    }

    fn event(type_: &str) -> Answer {
        let object = list().1["items"][0].clone();
        (200, json!({"type": type_, "object": object}))
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn resource_that_is_not_served_is_reported() {
        let log = updates(vec![failure(404)], vec![failure(HANGS)], MINUTE).await;
        assert_eq!(log[0], "not served");
    }

    #[tokio::test(start_paused = true)]
    async fn forbidden_list_is_reported_until_it_succeeds() {
        let lists = vec![failure(403), list()];
        let log = updates(lists, vec![failure(HANGS)], MINUTE).await;
        assert_eq!(log, ["error Some(Forbidden)", "applied 1", "listed 1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn single_watch_error_is_not_reported() {
        let watches = vec![failure(500), failure(NO_ANSWER), failure(HANGS)];
        let log = updates(vec![list()], watches, MINUTE).await;
        assert_eq!(log, ["applied 1", "listed 1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn failing_watch_is_reported_and_recovers() {
        let watches = vec![failure(500), failure(503), failure(504), failure(HANGS)];
        let log = updates(vec![list()], watches, MINUTE).await;
        assert_eq!(log[..2], ["applied 1", "listed 1"]);
        assert!(log[2].starts_with("error Some(Failing("), "{log:?}");
        assert_eq!(log[3..], ["error None"]);
    }

    #[tokio::test(start_paused = true)]
    async fn expired_watch_lists_again() {
        let expired = rejected(410, "Expired", "too old resource version");
        let watches = vec![expired, failure(HANGS)];
        let log = updates(vec![list()], watches, MINUTE).await;
        assert_eq!(log, ["applied 1", "listed 1", "applied 1", "listed 1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn watch_that_ends_is_resumed_without_a_list() {
        let watches = vec![event("MODIFIED"), event("DELETED"), failure(HANGS)];
        let log = updates(vec![list()], watches, MINUTE).await;
        assert_eq!(log, ["applied 1", "listed 1", "applied 1", "deleted 1"]);
    }
}
