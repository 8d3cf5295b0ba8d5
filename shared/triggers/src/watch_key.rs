//! What one watch covers.

use std::{fmt, sync::Arc};

use crate::{object::ObjectRef, resource::Resource};

/// The objects of a resource that a watch covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The whole cluster.
    All,
    /// One namespace.
    Namespace(String),
}

impl Scope {
    /// Whether the scope contains an object of this namespace.
    #[must_use]
    pub fn contains(&self, namespace: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(own) => namespace == Some(own),
        }
    }
}

/// The resource and the scope of a watch. Workflows with the same key share the watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchKey {
    /// The watched resource.
    pub resource: Arc<Resource>,
    /// The watched part of the cluster.
    pub scope: Scope,
}

impl WatchKey {
    /// The key of the same resource in all namespaces.
    #[must_use]
    pub fn all_namespaces(&self) -> Self {
        Self {
            resource: self.resource.clone(),
            scope: Scope::All,
        }
    }

    /// Whether the watch covers this object.
    #[must_use]
    pub fn covers(&self, object: &ObjectRef) -> bool {
        self.resource.kind.same_objects(&object.resource.kind)
            && self.scope.contains(object.namespace.as_deref())
    }
}

impl fmt::Display for WatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = self.resource.rbac_name();
        match &self.scope {
            Scope::All => write!(f, "{resource} in all namespaces"),
            Scope::Namespace(namespace) => write!(f, "{resource} in namespace {namespace}"),
        }
    }
}
