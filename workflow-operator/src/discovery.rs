//! Discovers the resources of the kinds that triggers name: one poller for each group and version with a kind that
//! is not discovered yet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::{Client, client::APIGroupDiscovery};
use kubeci_controller::{Tasks, api_error::message};
use kubeci_triggers::{DiscoveryResult, Kind, ServedResource, SimilarKind};
use tokio::{
    sync::{mpsc::error::SendError, watch},
    task::AbortHandle,
    time::sleep,
};

use crate::input::{Input, InputSender};

const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// A suggestion needs the whole discovery, so that it is searched for once in so many polls.
const POLLS_A_SUGGESTION: u32 = 15;

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

/// What is known of a kind that is not served.
#[derive(Default)]
struct NotServed {
    /// The number of polls in a row that did not find it.
    polls: u32,
    suggestion: Option<SimilarKind>,
}

impl NotServed {
    /// Counts a poll, and adds the suggestion to its result.
    async fn update(
        &mut self,
        client: &Client,
        kind: &Kind,
        result: DiscoveryResult,
    ) -> DiscoveryResult {
        if !matches!(result, DiscoveryResult::NotServed { .. }) {
            *self = Self::default();
            return result;
        }
        if self.polls.is_multiple_of(POLLS_A_SUGGESTION) {
            self.suggestion = similar_kind(client, kind).await;
        }
        self.polls += 1;
        DiscoveryResult::NotServed {
            suggestion: self.suggestion.clone(),
        }
    }
}

async fn poll(
    client: Client,
    api_version: String,
    mut kinds: watch::Receiver<BTreeSet<Kind>>,
    inputs: InputSender,
) {
    let mut not_served: BTreeMap<Kind, NotServed> = BTreeMap::new();
    loop {
        let wanted = kinds.borrow_and_update().clone();
        not_served.retain(|kind, _| wanted.contains(kind));
        let listed = list(&client, &api_version).await;
        for kind in wanted {
            let result = match &listed {
                Ok(list) => discovery_result(list.as_ref(), &kind),
                Err(error) => DiscoveryResult::Failed(message(error)),
            };
            let state = not_served.entry(kind.clone()).or_default();
            let result = state.update(&client, &kind, result).await;
            if report(&client, &inputs, kind, result, state.polls)
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
    DiscoveryResult::NotServed { suggestion: None }
}

/// The served kind that a trigger may mean; `None` if no kind is similar, or the API server cannot be asked.
async fn similar_kind(client: &Client, kind: &Kind) -> Option<SimilarKind> {
    let core = client.list_core_api_versions_aggregated().await.ok()?;
    let groups = client.list_api_groups_aggregated().await.ok()?;
    let groups = core.items.into_iter().chain(groups.items);
    let kinds: Vec<(String, String, String)> = groups.flat_map(kinds_of).collect();
    let kinds = kinds
        .iter()
        .map(|(api_version, kind, plural)| (&**api_version, &**kind, &**plural));
    SimilarKind::of(kind, kinds)
}

/// The kinds of a group at its preferred version, with their plural names.
fn kinds_of(group: APIGroupDiscovery) -> Vec<(String, String, String)> {
    let group_name = group.metadata.and_then(|metadata| metadata.name);
    let Some(preferred) = group.versions.into_iter().next() else {
        return Vec::new();
    };
    let version = preferred.version.unwrap_or_default();
    let api_version = match group_name.as_deref() {
        None | Some("") => version,
        Some(group) => format!("{group}/{version}"),
    };
    let resources = preferred.resources.into_iter().filter_map(|resource| {
        let kind = resource.response_kind?.kind?;
        Some((api_version.clone(), kind, resource.resource?))
    });
    resources.collect()
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
