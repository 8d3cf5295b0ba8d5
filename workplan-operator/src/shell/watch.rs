//! A watch that fills a store and tells what has changed.

use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Lookup;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt};
use kubeci_runtime::{Metrics, Watch};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// What a watch has put into its store.
pub enum Change<'a, K> {
    /// An object appeared, changed or went.
    Touched(&'a K),
    /// All were listed anew, some may be gone.
    Listed,
}

/// Follows all objects for ever. One that cannot be read is reported in the log and left out, and a watch
/// that breaks is started again.
pub async fn follow<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    mut store: Writer<K>,
    metrics: Metrics,
    mut prepare: impl FnMut(&mut K),
    mut notice: impl FnMut(Change<K>),
) where
    K: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let resource = <K as Resource>::plural(&());
    let mut events = Watch::new(api, config, &resource, &metrics);
    loop {
        match events.next().await {
            Ok(event) => {
                let Some(mut event) = readable(event) else {
                    continue;
                };
                if let Event::Apply(object) | Event::InitApply(object) = &mut event {
                    object.managed_fields_mut().clear();
                    prepare(object);
                }
                store.apply_watcher_event(&event);
                match &event {
                    Event::Apply(object) | Event::Delete(object) => notice(Change::Touched(object)),
                    Event::InitDone => notice(Change::Listed),
                    Event::Init | Event::InitApply(_) => {}
                }
            }
            Err(error) => {
                tracing::warn!(%resource, %error, "the watch broke, it is started again");
            }
        }
    }
}

fn readable<K: Resource<DynamicType = ()>>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
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
