//! Watches what triggers name: one task per resource and scope.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
    runtime::watcher::{self, Event},
};
use kubeci_runtime::{Context, Metrics, Tasks, Watch};
use tokio::task::AbortHandle;

use crate::{
    api_error::{refusal, said_of_watch},
    input::{Inbox, Input},
};
use kubeci_triggers::{
    ObjectRef, ObservedObject, Resource, Scope, Uid, Uids, WatchCommand, WatchError, WatchKey,
};

/// An interrupted watch goes on by itself; only one that fails this often in a row is worth a word.
const INTERRUPTIONS: u32 = 3;
/// A watch that was troubled and says nothing for so long works again.
const QUIET: Duration = Duration::from_secs(15);

/// What a watch shows.
pub enum Shown {
    Seen(ObservedObject),
    Gone(Uid, ObjectRef),
    /// A list is complete.
    Listed(Uids),
    WatchError(Option<WatchError>),
    NotServed,
}

/// The watches that run.
pub struct Watches {
    client: Client,
    inbox: Inbox,
    metrics: Metrics,
    tasks: Tasks,
    running: HashMap<WatchKey, AbortHandle>,
}

impl Watches {
    pub fn new(context: &Context, inbox: Inbox) -> Self {
        Self {
            client: context.client.clone(),
            inbox,
            metrics: context.metrics.clone(),
            tasks: context.tasks.clone(),
            running: HashMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.running.len()
    }

    pub fn apply(&mut self, order: WatchCommand) {
        let (key, epoch) = match order {
            WatchCommand::Start { key, epoch } => (key, Some(epoch)),
            WatchCommand::Stop { key } => (key, None),
        };
        if let Some(before) = self.running.remove(&key) {
            before.abort();
        }
        let Some(epoch) = epoch else {
            tracing::info!(%key, "watch stopped");
            return;
        };
        tracing::info!(%key, epoch, "watch started");
        let api = api(self.client.clone(), &key);
        let plural = &key.resource.plural;
        let events = Watch::new(api, watcher::Config::default(), plural, &self.metrics);
        let follower = Follower {
            resource: key.resource.clone(),
            key: key.clone(),
            epoch,
            inbox: self.inbox.clone(),
            listing: Uids::new(),
            troubled: false,
        };
        let name = format!("the watch of {key}");
        let task = self.tasks.spawn(name, follower.follow(events));
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

struct Follower {
    key: WatchKey,
    resource: Arc<Resource>,
    epoch: u64,
    inbox: Inbox,
    listing: Uids,
    troubled: bool,
}

impl Follower {
    async fn follow(mut self, mut events: Watch<DynamicObject>) {
        loop {
            let shown = match events.next_within(QUIET).await {
                Some(Ok(event)) => self.event(event),
                Some(Err(error)) => self.error(&error, events.failures()),
                None => self.well(),
            };
            let Some(shown) = shown else {
                continue;
            };
            let input = Input::Watch {
                key: self.key.clone(),
                epoch: self.epoch,
                shown,
            };
            if self.inbox.send(input).await.is_err() {
                return;
            }
        }
    }

    fn event(&mut self, event: Event<DynamicObject>) -> Option<Shown> {
        match event {
            Event::Init => {
                self.listing.clear();
                None
            }
            Event::InitApply(object) => {
                let seen = ObservedObject::new(&self.resource, &object)?;
                self.listing.insert(seen.uid.clone());
                Some(Shown::Seen(seen))
            }
            Event::InitDone => {
                self.troubled = false;
                Some(Shown::Listed(std::mem::take(&mut self.listing)))
            }
            Event::Apply(object) => ObservedObject::new(&self.resource, &object).map(Shown::Seen),
            Event::Delete(object) => {
                let seen = ObservedObject::new(&self.resource, &object)?;
                Some(Shown::Gone(seen.uid, seen.object))
            }
        }
    }

    fn error(&mut self, error: &watcher::Error, failures: u32) -> Option<Shown> {
        let status = refusal(error);
        tracing::debug!(key = %self.key, "watch interrupted: {}", said_of_watch(error));
        let code = status.map(|status| status.code);
        let listing = matches!(error, watcher::Error::InitialListFailed(_));
        let error = match code {
            Some(404) => return Some(Shown::NotServed),
            Some(403) => WatchError::Forbidden,
            _ if listing || failures >= INTERRUPTIONS => WatchError::Failing(said_of_watch(error)),
            _ => return None,
        };
        self.troubled = true;
        Some(Shown::WatchError(Some(error)))
    }

    fn well(&mut self) -> Option<Shown> {
        std::mem::take(&mut self.troubled).then_some(Shown::WatchError(None))
    }
}
