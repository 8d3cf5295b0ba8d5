//! The part of a Workplan that decisions read. The watch decodes no tasks, steps or managed fields.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube_core::Resource;
use kubeci_api::{Phase, TriggeredBy, Workplan};
use serde::{Deserialize, Deserializer};

/// A Workplan without its tasks and steps.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialWorkplan {
    #[serde(deserialize_with = "partial_metadata")]
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: PartialSpec,
    pub(crate) status: Option<PartialStatus>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PartialSpec {
    pub trigger: Option<TriggeredBy>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PartialStatus {
    pub phase: Option<Phase>,
    pub finished_at: Option<MicroTime>,
    #[serde(default)]
    pub conditions: Vec<PartialCondition>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PartialCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub reason: String,
}

impl PartialStatus {
    /// Whether the folder stays on its node for some time. The deletion of the Workplan removes it.
    pub fn keeps_workspace(&self) -> bool {
        let mut conditions = self.conditions.iter();
        conditions.any(|it| it.type_ == "WorkspaceCleaned" && it.reason == "Kept")
    }
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
