//! What is remembered of the Workplans of one Workflow: how they are doing, and for a Workflow that has
//! not been read yet the chains of events that they are links of.

use std::collections::HashMap;

use kube::core::Object;
use kubeci_api::{GROUP, Phase, TriggeredBy, names};
use serde::{Deserialize, Serialize};

use super::{
    ledger::Link,
    object::{Kind, Uid},
};

/// A Workplan without its tasks.
pub type PartialWorkplan = Object<TriggerOnly, PhaseOnly>;

/// Of a Workplan's spec only what fired it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TriggerOnly {
    pub trigger: Option<TriggeredBy>,
}

/// Of a Workplan's status only its phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PhaseOnly {
    pub phase: Option<Phase>,
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
    pub phase: Phase,
    /// Absent for one that somebody wrote by hand.
    pub link: Option<Link>,
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
        let link = || {
            Some(Link {
                sequence: label(names::SEQUENCE_LABEL)?.parse().ok()?,
                previous: Some(label(names::PREVIOUS_HEAD_LABEL)?.to_owned())
                    .filter(|head| !head.is_empty()),
                head: label(names::HEAD_LABEL)?.to_owned(),
                trigger: workplan.spec.trigger.clone()?,
            })
        };
        Some(Self {
            workflow: Owner {
                namespace: metadata.namespace.clone()?,
                uid: owner.uid.as_str().into(),
            },
            name: metadata.name.clone()?,
            phase: workplan
                .status
                .as_ref()
                .and_then(|status| status.phase)
                .unwrap_or_default(),
            link: link(),
        })
    }
}

/// All Workplans of one Workflow.
#[derive(Debug, Default)]
pub struct Runs {
    phases: HashMap<String, Phase>,
    /// Only until the Workflow is read.
    links: HashMap<String, Link>,
}

/// How many Workplans are in which phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub active: i64,
    pub succeeded: i64,
    pub failed: i64,
}

impl Runs {
    /// Takes a Workplan in; whether the counts changed.
    pub fn apply(&mut self, name: String, phase: Phase) -> bool {
        let before = self.phases.insert(name, phase);
        before.map(counted_as) != Some(counted_as(phase))
    }

    /// Remembers which event a Workplan stands for.
    pub fn link(&mut self, name: &str, link: Option<Link>) {
        self.links.extend(link.map(|link| (name.to_owned(), link)));
    }

    /// The events that the Workplans stand for.
    pub fn take_links(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.links).into_values().collect()
    }

    /// Forgets a Workplan; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.links.remove(name);
        self.phases.remove(name).is_some()
    }

    /// Forgets all Workplans but these; whether there were others.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) -> bool {
        let before = self.phases.len();
        self.links.retain(|name, _| exists(name));
        self.phases.retain(|name, _| exists(name));
        before != self.phases.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.phases.is_empty()
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for phase in self.phases.values() {
            *match phase {
                Phase::Pending | Phase::Running => &mut counts.active,
                Phase::Completed => &mut counts.succeeded,
                Phase::Failed => &mut counts.failed,
            } += 1;
        }
        counts
    }
}

/// Pending and running count as the same.
fn counted_as(phase: Phase) -> Phase {
    if phase.is_final() {
        phase
    } else {
        Phase::Pending
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
