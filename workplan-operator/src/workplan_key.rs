//! The namespace and the name of a Workplan.

use kube::{Resource, ResourceExt};

/// The key of a Workplan in the index and the queue. Workplans that follow each other may have the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkplanKey {
    pub namespace: Box<str>,
    pub name: Box<str>,
}

impl WorkplanKey {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    pub fn of(object: &impl Resource) -> Self {
        Self::new(
            object.meta().namespace.as_deref().unwrap_or_default(),
            &object.name_any(),
        )
    }
}
