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

/// A Workplan of a Workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub workflow: Uid,
    pub name: String,
    pub phase: Phase,
    /// Absent for one that somebody wrote by hand.
    pub link: Option<Link>,
}

impl Run {
    /// Reads a Workplan; nothing if no Workflow owns it.
    #[must_use]
    pub fn new(workplan: &PartialWorkplan) -> Option<Self> {
        let metadata = &workplan.metadata;
        let owner = metadata.owner_references.iter().flatten().find(|owner| {
            owner.kind == "Workflow" && Kind::new(&owner.api_version, &owner.kind).group == GROUP
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
            workflow: owner.uid.as_str().into(),
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
    /// Kept only until the Workflow is read.
    pub links: Vec<Link>,
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

    /// Forgets a Workplan; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.phases.remove(name).is_some()
    }

    /// Forgets all Workplans but these; whether there were others.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) -> bool {
        let before = self.phases.len();
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
