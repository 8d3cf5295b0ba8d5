//! Applies the events of a watch to a store, and passes on what has changed.

use std::fmt::Debug;

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use kubeci_controller::{ReadinessCondition, Watch};
use serde::de::DeserializeOwned;

/// A change in a store.
pub enum Change<'a, K> {
    /// An object was created, changed or deleted.
    Object(&'a K),
    /// A list replaced all objects.
    List,
}

/// Applies all events of a watch, without an end: `read` and `trim` an object, `apply` the event, `notify` of the change.
/// The condition is done after the first list.
pub async fn pump<E, K>(
    mut events: Watch<E>,
    listed: ReadinessCondition,
    read: impl Fn(Event<E>) -> Option<Event<K>>,
    mut trim: impl FnMut(&mut K),
    mut apply: impl FnMut(&Event<K>),
    mut notify: impl FnMut(Change<K>),
) where
    E: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K: Resource,
{
    loop {
        let Some(mut event) = read(events.next_event().await) else {
            continue;
        };
        if let Event::Apply(object) | Event::InitApply(object) = &mut event {
            object.managed_fields_mut().clear();
            trim(object);
        }
        apply(&event);
        match &event {
            Event::Apply(object) | Event::Delete(object) => notify(Change::Object(object)),
            Event::InitDone => {
                notify(Change::List);
                listed.done();
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }
}

/// The event of a valid object. An invalid object is logged and ignored.
pub fn valid<K: Resource<DynamicType = ()>>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
    let read = |guard: DeserializeGuard<K>| {
        let warn = |error: &kube::core::error_boundary::InvalidObject| {
            let (namespace, name) = (&error.metadata.namespace, &error.metadata.name);
            tracing::warn!(kind = %K::kind(&()), ?namespace, ?name, %error, "the object is not valid and is ignored");
        };
        guard.0.inspect_err(warn).ok()
    };
    Some(match event {
        Event::Apply(object) => Event::Apply(read(object)?),
        Event::Delete(object) => Event::Delete(read(object)?),
        Event::InitApply(object) => Event::InitApply(read(object)?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::runtime::watcher;
    use kubeci_controller::testing::client;
    use kubeci_controller::{Metrics, Readiness};
    use serde_json::{Value, json};
    use tokio::time::timeout;

    use super::*;

    /// Pumps from an API server: its lists fail once, contain an invalid object, and its watches have expired.
    async fn pumped(duration: Duration) -> (Vec<String>, ReadinessCondition) {
        let mut lists = 0;
        let client = client(move |request| {
            if request.query.contains("watch=true") {
                return (410, Value::Null);
            }
            lists += 1;
            if lists == 1 {
                return (503, Value::Null);
            }
            let name = format!("list-{lists}");
            let items = json!([{"metadata": {"name": name, "resourceVersion": "1"}}, {"metadata": {"name": "b"}, "data": 1}]);
            (
                200,
                json!({"metadata": {"resourceVersion": "1"}, "items": items}),
            )
        });
        let api: Api<DeserializeGuard<ConfigMap>> = Api::all(client);
        let events = Watch::new(
            api,
            watcher::Config::default(),
            "configmaps",
            &Metrics::default(),
        );
        let listed = Readiness::default().condition("config maps listed");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (applied, notified) = (Arc::clone(&log), Arc::clone(&log));
        let apply = move |event: &Event<ConfigMap>| {
            if let Event::InitApply(object) = event {
                applied.lock().unwrap().push(object.name_any());
            }
        };
        let notify = move |change: Change<ConfigMap>| {
            let line = match change {
                Change::Object(object) => object.name_any(),
                Change::List => "listed".to_owned(),
            };
            notified.lock().unwrap().push(line);
        };
        let pump = pump(events, listed.clone(), valid, |_| {}, apply, notify);
        let _ = timeout(duration, pump).await;
        let log = log.lock().unwrap().clone();
        (log, listed)
    }

    #[tokio::test(start_paused = true)]
    async fn failed_list_is_retried_without_the_invalid_object() {
        let (log, listed) = pumped(Duration::from_millis(300)).await;
        assert_eq!(log, ["list-2", "listed"]);
        assert!(listed.is_done());
    }

    #[tokio::test(start_paused = true)]
    async fn expired_watch_lists_again() {
        let (log, _) = pumped(Duration::from_mins(1)).await;
        assert!(log.len() > 4, "{log:?}");
        assert_eq!(log[..4], ["list-2", "listed", "list-3", "listed"]);
    }
}
