//! What is remembered of the Workplans of one Workflow: how they are doing, and for a Workflow that has
//! not been read yet the chains of events that they are links of.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time},
    jiff::Timestamp,
};
use kube_core::Resource;
use kubeci_api::{GROUP, Phase, TriggeredBy, Workplan, names};
use serde::{Deserialize, Deserializer};

use crate::{ledger::Link, object::Uid, resource::Kind};

/// A Workplan as far as decisions need it: without its tasks, its steps and who manages which field.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialWorkplan {
    #[serde(deserialize_with = "partial_metadata")]
    metadata: ObjectMeta,
    spec: TriggerOnly,
    status: Option<EndOnly>,
}

#[derive(Clone, Debug, Deserialize)]
struct TriggerOnly {
    trigger: Option<TriggeredBy>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndOnly {
    phase: Option<Phase>,
    finished_at: Option<MicroTime>,
}

fn partial_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Partial {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        labels: Option<std::collections::BTreeMap<String, String>>,
        owner_references: Option<Vec<OwnerReference>>,
        finalizers: Option<Vec<String>>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
    }
    let partial = Partial::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: partial.name,
        namespace: partial.namespace,
        uid: partial.uid,
        resource_version: partial.resource_version,
        labels: partial.labels,
        owner_references: partial.owner_references,
        finalizers: partial.finalizers,
        creation_timestamp: partial.creation_timestamp,
        deletion_timestamp: partial.deletion_timestamp,
        ..ObjectMeta::default()
    })
}

impl Resource for PartialWorkplan {
    type DynamicType = ();
    type Scope = <Workplan as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        Workplan::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Workplan::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Workplan::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Workplan::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A Workflow as its Workplans name it. No owner is in another namespace than what it owns, though a
/// Workplan may say so until the garbage collector comes by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    pub namespace: String,
    pub uid: Uid,
}

/// A Workplan of a Workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub workflow: Owner,
    pub name: String,
    pub state: RunState,
    /// Absent for one that somebody wrote by hand.
    pub link: Option<Link>,
}

/// How a Workplan is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    pub uid: Uid,
    pub phase: Phase,
    /// When it ended, or when it was created if it does not say.
    pub ended: Timestamp,
    /// Its number among all that its Workflow fired; absent for one that somebody wrote by hand.
    pub sequence: Option<i64>,
    /// Whether its folder may still be on a node.
    pub held: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Run {
    /// Reads a Workplan; nothing if no Workflow controls it.
    #[must_use]
    pub fn new(workplan: &PartialWorkplan) -> Option<Self> {
        let metadata = &workplan.metadata;
        let owner = metadata.owner_references.iter().flatten().find(|owner| {
            let kind = Kind::new(&owner.api_version, &owner.kind);
            owner.controller == Some(true) && kind.group == GROUP && kind.name == "Workflow"
        })?;
        let label = |name: &str| metadata.labels.as_ref()?.get(name).map(String::as_str);
        let sequence = label(names::SEQUENCE_LABEL).and_then(|label| label.parse().ok());
        let link = || {
            Some(Link {
                sequence: sequence?,
                previous_head: Some(label(names::PREVIOUS_HEAD_LABEL)?.to_owned())
                    .filter(|head| !head.is_empty()),
                head: label(names::HEAD_LABEL)?.to_owned(),
                trigger: workplan.spec.trigger.clone()?,
            })
        };
        let link = link();
        Some(Self {
            workflow: Owner {
                namespace: metadata.namespace.clone()?,
                uid: owner.uid.as_str().into(),
            },
            name: metadata.name.clone()?,
            state: RunState::new(workplan, link.as_ref().map(|link| link.sequence)),
            link,
        })
    }
}

impl RunState {
    fn new(workplan: &PartialWorkplan, sequence: Option<i64>) -> Self {
        let metadata = &workplan.metadata;
        let status = workplan.status.as_ref();
        let finished = status.and_then(|status| Some(status.finished_at.as_ref()?.0));
        let created = || Some(metadata.creation_timestamp.as_ref()?.0);
        let mut finalizers = metadata.finalizers.iter().flatten();
        Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            phase: status.and_then(|status| status.phase).unwrap_or_default(),
            ended: finished.or_else(created).unwrap_or_default(),
            sequence,
            held: finalizers.any(|finalizer| finalizer == names::WORKSPACE_FINALIZER),
            deleting: metadata.deletion_timestamp.is_some(),
        }
    }

    /// Where it counts; pending and running count as the same. One that has ended and is being deleted
    /// counts nowhere.
    fn counted(&self) -> Option<Counted> {
        match self.phase {
            Phase::Pending | Phase::Running => Some(Counted::Active),
            _ if self.deleting => None,
            Phase::Completed => Some(Counted::Ended(End::Succeeded)),
            Phase::Failed => Some(Counted::Ended(End::Failed)),
        }
    }

    /// How it ended, if it has and is not being deleted.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match self.counted() {
            Some(Counted::Ended(end)) => Some(end),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Active,
    Ended(End),
}

/// How a Workplan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Succeeded,
    Failed,
}

/// The Workplans that ended in the same way, the earliest first.
pub type Ended = BTreeSet<(Timestamp, Arc<str>)>;

/// All Workplans of one Workflow.
#[derive(Debug, Default)]
pub struct Runs {
    states: HashMap<Arc<str>, RunState>,
    active: usize,
    succeeded: Ended,
    failed: Ended,
    /// Only until the Workflow is read.
    links: HashMap<Arc<str>, Link>,
}

impl Runs {
    /// Takes a Workplan in; whether there is something new for the status or the history.
    pub fn apply(&mut self, name: &str, state: RunState, link: Option<Link>) -> bool {
        let before = self.take(name);
        let changed = before
            .as_ref()
            .map(|before| (before.counted(), before.held))
            != Some((state.counted(), state.held));
        let name: Arc<str> = name.into();
        match state.counted() {
            Some(Counted::Active) => self.active += 1,
            Some(Counted::Ended(end)) => {
                self.ended_mut(end).insert((state.ended, name.clone()));
            }
            None => {}
        }
        self.links.extend(link.map(|link| (name.clone(), link)));
        self.states.insert(name, state);
        changed
    }

    /// The events that the Workplans stand for.
    pub fn take_links(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.links).into_values().collect()
    }

    /// Forgets a Workplan; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.links.remove(name);
        self.take(name).is_some()
    }

    /// Forgets all Workplans but these; whether there were others.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) -> bool {
        let gone = self.states.keys().filter(|name| !exists(name));
        let gone: Vec<Arc<str>> = gone.cloned().collect();
        for name in &gone {
            self.remove(name);
        }
        !gone.is_empty()
    }

    fn take(&mut self, name: &str) -> Option<RunState> {
        let (name, state) = self.states.remove_entry(name)?;
        match state.counted() {
            Some(Counted::Active) => self.active -= 1,
            Some(Counted::Ended(end)) => {
                self.ended_mut(end).remove(&(state.ended, name));
            }
            None => {}
        }
        Some(state)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RunState> {
        self.states.get(name)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// How many are pending or running.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active
    }

    /// Those that have ended so, the earliest first.
    #[must_use]
    pub fn ended(&self, end: End) -> &Ended {
        match end {
            End::Succeeded => &self.succeeded,
            End::Failed => &self.failed,
        }
    }

    fn ended_mut(&mut self, end: End) -> &mut Ended {
        match end {
            End::Succeeded => &mut self.succeeded,
            End::Failed => &mut self.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn run(metadata: &Value) -> Option<Run> {
        let owner = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow", "name": "w", "uid": "1", "controller": true,
        });
        let trigger = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u", "event": "add", "token": "1",
        });
        let mut workplan = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan",
            "metadata": {"name": "w-h", "namespace": "own", "ownerReferences": [owner], "labels": {
                "kube.ci/head": "h", "kube.ci/previous-head": "", "kube.ci/sequence": "1",
            }},
            "spec": {"trigger": trigger},
        });
        for (path, value) in metadata.as_object().unwrap() {
            *workplan["metadata"].pointer_mut(path).unwrap() = value.clone();
        }
        Run::new(&serde_json::from_value(workplan).unwrap())
    }

    #[rstest]
    #[case(json!({}), true)]
    #[case(json!({"/ownerReferences/0/apiVersion": "kube.ci/v2"}), true)]
    #[case(json!({"/ownerReferences/0/apiVersion": "example.com/v1alpha1"}), false)]
    #[case(json!({"/ownerReferences/0/kind": "Workplan"}), false)]
    #[case(json!({"/ownerReferences/0/controller": false}), false)]
    #[case(json!({"/ownerReferences": []}), false)]
    #[case(json!({"/namespace": null}), false)]
    fn a_workplan_is_of_the_workflow_that_controls_it(#[case] metadata: Value, #[case] is: bool) {
        let owner = run(&metadata).map(|run| run.workflow);
        let workflow = Owner {
            namespace: "own".to_owned(),
            uid: "1".into(),
        };
        assert_eq!(owner, is.then_some(workflow));
    }

    #[rstest]
    #[case("1", Some(1))]
    #[case("9223372036854775807", Some(i64::MAX))]
    #[case("9223372036854775808", None)]
    #[case("18446744073709551615", None)]
    #[case("one", None)]
    #[case("", None)]
    fn a_number_that_no_status_can_tell_links_nothing(
        #[case] label: &str,
        #[case] sequence: Option<i64>,
    ) {
        let run = run(&json!({"/labels/kube.ci~1sequence": label})).unwrap();
        assert_eq!(run.link.map(|link| link.sequence), sequence);
    }
}
