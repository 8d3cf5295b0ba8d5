//! Applies the events of a watch to a store, and passes on what has changed.

use std::fmt::Debug;

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use kubeci_controller::{Condition, Watch};
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
    listed: Condition,
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
