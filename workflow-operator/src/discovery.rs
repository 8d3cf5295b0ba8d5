//! Discovers the resources of the kinds that triggers name: one poller for each group and version with a kind that
//! is not discovered yet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use kubeci_runtime::Tasks;
use kubeci_triggers::{DiscoveryResult, Kind, ServedResource};
use tokio::{
    sync::{mpsc::error::SendError, watch},
    task::AbortHandle,
    time::sleep,
};

use crate::{
    api_error::message,
    input::{Input, InputSender},
};

const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The pollers that run.
pub struct Discovery {
    client: Client,
    inputs: InputSender,
    tasks: Tasks,
    pollers: HashMap<String, Poller>,
}

struct Poller {
    task: AbortHandle,
    kinds: watch::Sender<BTreeSet<Kind>>,
}

impl Discovery {
    pub fn new(client: Client, inputs: InputSender, tasks: Tasks) -> Self {
        Self {
            client,
            inputs,
            tasks,
            pollers: HashMap::new(),
        }
    }

    /// Discovers these kinds, and stops the discovery of all others.
    pub fn set_kinds(&mut self, kinds: BTreeSet<Kind>) {
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
            self.inputs.clone(),
        );
        let task = self
            .tasks
            .spawn(format!("the discovery of {api_version}"), poll);
        let poller = Poller {
            task,
            kinds: sender,
        };
        self.pollers.insert(api_version, poller);
    }
}

async fn poll(
    client: Client,
    api_version: String,
    mut kinds: watch::Receiver<BTreeSet<Kind>>,
    inputs: InputSender,
) {
    let mut not_served: BTreeMap<Kind, u32> = BTreeMap::new();
    loop {
        let wanted = kinds.borrow_and_update().clone();
        not_served.retain(|kind, _| wanted.contains(kind));
        let listed = list(&client, &api_version).await;
        for kind in wanted {
            let result = match &listed {
                Ok(list) => discovery_result(list.as_ref(), &kind),
                Err(error) => DiscoveryResult::Failed(message(error)),
            };
            let polls = not_served.entry(kind.clone()).or_default();
            *polls = match result {
                DiscoveryResult::NotServed { .. } => *polls + 1,
                _ => 0,
            };
            if report(&client, &inputs, kind, result, *polls)
                .await
                .is_err()
            {
                return;
            }
        }
        let pause = POLL_INTERVAL.mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::select! {
            () = sleep(pause) => {}
            changed = kinds.changed() => if changed.is_err() { return },
        }
    }
}

/// Sends the result of a poll. A kind is removed if two polls in a row do not find it: an API server that is
/// starting may not serve it yet.
async fn report(
    client: &Client,
    inputs: &InputSender,
    kind: Kind,
    result: DiscoveryResult,
    polls_not_served: u32,
) -> Result<(), SendError<Input>> {
    if polls_not_served == 2 && is_served_nowhere(client, &kind).await {
        inputs.send(Input::KindRemoved(kind.clone())).await?;
    }
    inputs.send(Input::KindDiscovered(kind, result)).await
}

/// The resources of a group and version; `None` if it is not served.
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

fn discovery_result(list: Option<&APIResourceList>, kind: &Kind) -> DiscoveryResult {
    let resources = || list.into_iter().flat_map(|list| &list.resources);
    let resources = || resources().filter(|resource| !resource.name.contains('/'));
    let of_kind = resources().filter(|resource| resource.kind == kind.name);
    let served = of_kind.map(|resource| ServedResource {
        plural: resource.name.clone(),
        namespaced: resource.namespaced,
        watchable: ["list", "watch"]
            .iter()
            .all(|verb| resource.verbs.iter().any(|v| v == verb)),
    });
    let served: Vec<ServedResource> = served.collect();
    if !served.is_empty() {
        return DiscoveryResult::Served(served);
    }
    let given = kind.name.to_lowercase();
    let mut similar = resources().filter(|resource| {
        let names = [&resource.name, &resource.singular_name, &resource.kind];
        names.iter().any(|name| name.to_lowercase() == given)
    });
    DiscoveryResult::NotServed {
        suggestion: similar.next().map(|resource| resource.kind.clone()),
    }
}

/// Whether no version of the kind's group serves the kind. Then none of its objects exists.
async fn is_served_nowhere(client: &Client, kind: &Kind) -> bool {
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
            Ok(list)
                if matches!(
                    discovery_result(list.as_ref(), kind),
                    DiscoveryResult::NotServed { .. }
                ) => {}
            _ => return false,
        }
    }
    true
}
