//! Objects, reduced to the fields that decisions read.

use std::{collections::BTreeMap, sync::Arc};

use kube_core::DynamicObject;

use crate::{fingerprint::Fingerprint, origin::Origin, resource::Resource, uid::Uid};

/// The resource, namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// The resource that the object belongs to.
    pub resource: Arc<Resource>,
    /// The namespace; `None` for a cluster-scoped object.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// The observed state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedObject {
    /// The uid of the object.
    pub uid: Uid,
    /// Resource, namespace and name.
    pub object: ObjectRef,
    /// The labels, for the label selectors of triggers.
    pub labels: BTreeMap<String, String>,
    /// The fingerprint of the object's state.
    pub fingerprint: Fingerprint,
    /// Whether `metadata.deletionTimestamp` is set: the object waits for its finalizers or its grace period.
    pub deleting: bool,
    /// Whether kubeci created the object.
    pub origin: Origin,
}

impl ObservedObject {
    /// Reduces an object. Returns `None` if it has no name or no uid, which every stored object has.
    #[must_use]
    pub fn new(resource: &Arc<Resource>, object: &DynamicObject) -> Option<Self> {
        let metadata = &object.metadata;
        let object_ref = ObjectRef {
            resource: resource.clone(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone()?,
        };
        Some(Self {
            uid: metadata.uid.as_deref()?.into(),
            object: object_ref,
            labels: metadata.labels.clone().unwrap_or_default(),
            fingerprint: Fingerprint::of(object),
            deleting: metadata.deletion_timestamp.is_some(),
            origin: Origin::of(resource, object),
        })
    }
}
