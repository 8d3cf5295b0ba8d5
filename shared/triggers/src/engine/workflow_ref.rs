use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{observed_workplan::WorkflowKey, uid::Uid};

/// The identity and the generation of a Workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowRef {
    /// The uid.
    pub uid: Uid,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The observed generation.
    pub generation: i64,
}

impl WorkflowRef {
    /// Reads the metadata. Returns `None` if it lacks a uid, a namespace or a name, which every stored Workflow has.
    #[must_use]
    pub fn new(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self {
            uid: metadata.uid.as_deref()?.into(),
            namespace: metadata.namespace.clone()?,
            name: metadata.name.clone()?,
            generation: metadata.generation.unwrap_or_default(),
        })
    }

    /// The key by which Workplans name the Workflow.
    #[must_use]
    pub(super) fn key(&self) -> WorkflowKey {
        WorkflowKey {
            namespace: self.namespace.clone(),
            uid: self.uid.clone(),
        }
    }
}
