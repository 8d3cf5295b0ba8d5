//! A watch that fills a store and tells what has changed.

use std::fmt::Debug;

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use kubeci_controller::Watch;
use serde::de::DeserializeOwned;

/// What a watch has put into its store.
pub enum Change<'a, K> {
    /// An object appeared, changed or went.
    Touched(&'a K),
    /// All were listed anew, some may be gone.
    Listed,
}

/// Follows all objects for ever: `apply` sees each event that `read` lets pass, before the change is noticed.
pub async fn follow<E, K>(
    mut events: Watch<E>,
    read: impl Fn(Event<E>) -> Option<Event<K>>,
    mut prepare: impl FnMut(&mut K),
    mut apply: impl FnMut(&Event<K>),
    mut notice: impl FnMut(Change<K>),
) where
    E: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K: Resource<DynamicType = ()>,
{
    let resource = <K as Resource>::plural(&());
    loop {
        let event = match events.next().await {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%resource, %error, "the watch broke, it is started again");
                continue;
            }
        };
        let Some(mut event) = read(event) else {
            continue;
        };
        if let Event::Apply(object) | Event::InitApply(object) = &mut event {
            object.managed_fields_mut().clear();
            prepare(object);
        }
        apply(&event);
        match &event {
            Event::Apply(object) | Event::Delete(object) => notice(Change::Touched(object)),
            Event::InitDone => notice(Change::Listed),
            Event::Init | Event::InitApply(_) => {}
        }
    }
}

/// An event of an object that can be read; one that cannot is reported in the log and left out.
pub fn readable<K: Resource<DynamicType = ()>>(
    event: Event<DeserializeGuard<K>>,
) -> Option<Event<K>> {
    let read = |guard: DeserializeGuard<K>| {
        let warn = |error: &kube::core::error_boundary::InvalidObject| {
            let (namespace, name) = (&error.metadata.namespace, &error.metadata.name);
            tracing::warn!(kind = %K::kind(&()), ?namespace, ?name, %error, "cannot be read and is left alone");
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
