//! Finds out where the API serves the kinds that triggers name: one poller per group and version that has
//! a kind which is not found yet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use kubeci_runtime::Tasks;
use tokio::{sync::watch, task::AbortHandle, time::sleep};

use crate::{
    api_error::said,
    input::{Inbox, Input},
};
use kubeci_triggers::{
    resource::Kind,
    trigger_state::{KindState, Served},
};

const POLL: Duration = Duration::from_secs(2);

pub struct Resolver {
    client: Client,
    inbox: Inbox,
    tasks: Tasks,
    pollers: HashMap<String, Poller>,
}

struct Poller {
    task: AbortHandle,
    kinds: watch::Sender<BTreeSet<Kind>>,
}

impl Resolver {
    pub fn new(client: Client, inbox: Inbox, tasks: Tasks) -> Self {
        Self {
            client,
            inbox,
            tasks,
            pollers: HashMap::new(),
        }
    }

    /// These kinds, and only these, are to be found.
    pub fn find(&mut self, kinds: BTreeSet<Kind>) {
        let mut wanted: BTreeMap<String, BTreeSet<Kind>> = BTreeMap::new();
        for kind in kinds {
            wanted.entry(kind.api_version()).or_default().insert(kind);
        }
        self.pollers.retain(|api_version, poller| {
            let keep = wanted.contains_key(api_version);
            if !keep {
                poller.task.abort();
            }
            keep
        });
        for (api_version, kinds) in wanted {
            match self.pollers.get(&api_version) {
                Some(poller) => {
                    poller.kinds.send_if_modified(|current| {
                        let changed = *current != kinds;
                        *current = kinds;
                        changed
                    });
                }
                None => self.start(api_version, kinds),
            }
        }
    }

    fn start(&mut self, api_version: String, kinds: BTreeSet<Kind>) {
        let (sender, receiver) = watch::channel(kinds);
        let poll = poll(
            self.client.clone(),
            api_version.clone(),
            receiver,
            self.inbox.clone(),
        );
        let task = self
            .tasks
            .spawn(format!("the discovery of {api_version}"), poll);
        self.pollers.insert(
            api_version,
            Poller {
                task,
                kinds: sender,
            },
        );
    }
}

async fn poll(
    client: Client,
    api_version: String,
    mut kinds: watch::Receiver<BTreeSet<Kind>>,
    inbox: Inbox,
) {
    let mut missing: BTreeMap<Kind, u32> = BTreeMap::new();
    loop {
        let wanted = kinds.borrow_and_update().clone();
        missing.retain(|kind, _| wanted.contains(kind));
        let answer = list(&client, &api_version).await;
        for kind in wanted {
            let state = match &answer {
                Ok(list) => state(list.as_ref(), &kind),
                Err(error) => KindState::Unanswered(said(error)),
            };
            let times = missing.entry(kind.clone()).or_default();
            *times = if matches!(state, KindState::Missing { .. }) {
                *times + 1
            } else {
                0
            };
            // Once may be an API server that is just starting.
            let gone = *times == 2 && served_nowhere(&client, &kind).await;
            if gone && inbox.send(Input::KindGone(kind.clone())).await.is_err() {
                return;
            }
            if inbox.send(Input::Kind(kind, state)).await.is_err() {
                return;
            }
        }
        let pause = POLL.mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::select! {
            () = sleep(pause) => {}
            changed = kinds.changed() => if changed.is_err() { return },
        }
    }
}

/// The resources of a group and version; none if it is not served.
async fn list(client: &Client, api_version: &str) -> kube::Result<Option<APIResourceList>> {
    let list = if api_version.contains('/') {
        client.list_api_group_resources(api_version).await
    } else {
        client.list_core_api_resources(api_version).await
    };
    match list {
        Ok(list) => Ok(Some(list)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

fn state(list: Option<&APIResourceList>, kind: &Kind) -> KindState {
    let resources = || list.into_iter().flat_map(|list| &list.resources);
    let resources = || resources().filter(|resource| !resource.name.contains('/'));
    let of_kind = resources().filter(|resource| resource.kind == kind.name);
    let served = of_kind.map(|resource| Served {
        plural: resource.name.clone(),
        namespaced: resource.namespaced,
        watchable: ["list", "watch"]
            .iter()
            .all(|verb| resource.verbs.iter().any(|v| v == verb)),
    });
    let served: Vec<Served> = served.collect();
    if !served.is_empty() {
        return KindState::Served(served);
    }
    let given = kind.name.to_lowercase();
    let mut meant = resources().filter(|resource| {
        let names = [&resource.name, &resource.singular_name, &resource.kind];
        names.iter().any(|name| name.to_lowercase() == given)
    });
    KindState::Missing {
        meant: meant.next().map(|resource| resource.kind.clone()),
    }
}

/// Whether the kind's group has it at no version: then none of its objects exists.
async fn served_nowhere(client: &Client, kind: &Kind) -> bool {
    if kind.group.is_empty() {
        return false;
    }
    let Ok(groups) = client.list_api_groups().await else {
        return false;
    };
    let group = groups
        .groups
        .into_iter()
        .find(|group| group.name == kind.group);
    for version in group.into_iter().flat_map(|group| group.versions) {
        match list(client, &version.group_version).await {
            Ok(list) if matches!(state(list.as_ref(), kind), KindState::Missing { .. }) => {}
            _ => return false,
        }
    }
    true
}
