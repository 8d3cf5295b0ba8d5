use std::collections::BTreeMap;

use kubeci_api::{Workflow, WorkflowStatus, Workplan};
use serde_json::json;

use crate::{
    fingerprint::Fingerprint,
    object::{ObjectRef, ObservedObject},
    observed_workplan::ObservedWorkplan,
    origin::Origin,
    uid::Uid,
    watch_key::WatchKey,
};

/// A simulated `ConfigMap` in the Workflow's namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub uid: Uid,
    pub content: u8,
    pub labelled: bool,
    pub deleting: bool,
    /// The generation, which changes with every write, as that of a Deployment does with its annotations.
    pub generation: i64,
}

impl Object {
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::named(&self.content.to_string()).at(self.generation)
    }

    pub fn hash(&self) -> String {
        self.fingerprint().hash().to_owned()
    }
}

/// A version of an object, or its deletion.
pub struct Change {
    pub name: usize,
    pub object: Object,
    pub exists: bool,
}

/// The state of the simulated API server.
#[derive(Default)]
pub struct Cluster {
    pub objects: BTreeMap<usize, Object>,
    pub history: Vec<Change>,
    pub workplans: BTreeMap<String, Workplan>,
    /// Workplans in another namespace that name the Workflow as their owner.
    pub forged: Vec<Workplan>,
    pub status: WorkflowStatus,
    pub uids: usize,
}

impl Cluster {
    /// Creates an object or changes it.
    pub fn write(&mut self, name: usize, change: impl FnOnce(&mut Object)) {
        let object = self.objects.entry(name).or_insert_with(|| {
            self.uids += 1;
            Object {
                uid: format!("uid-{}", self.uids).into(),
                content: 0,
                labelled: true,
                deleting: false,
                generation: 0,
            }
        });
        change(object);
        object.generation += 1;
        self.history.push(Change {
            name,
            object: object.clone(),
            exists: true,
        });
    }

    pub fn delete(&mut self, name: usize) {
        if let Some(object) = self.objects.remove(&name) {
            self.history.push(Change {
                name,
                object,
                exists: false,
            });
        }
    }

    /// The Workflow with the stored status.
    pub fn workflow(&self) -> Workflow {
        let trigger = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "onAddOrUpdate": true, "onDelete": true,
            "selector": {"matchExpressions": [{"key": "on", "operator": "Exists"}]},
        });
        let workflow = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow",
            "metadata": {"name": "w", "namespace": "own", "uid": "workflow", "generation": 1},
            "spec": {"steps": [{"name": "a", "image": "b"}], "triggers": [trigger]},
            "status": self.status,
        });
        serde_json::from_value(workflow).unwrap()
    }
}

pub fn object_ref(key: &WatchKey, name: usize) -> ObjectRef {
    let (resource, namespace) = (key.resource.clone(), Some("own".to_owned()));
    ObjectRef {
        resource,
        namespace,
        name: format!("object-{name}"),
    }
}

pub fn observed_object(key: &WatchKey, name: usize, object: &Object) -> ObservedObject {
    let label = ("on".to_owned(), String::new());
    ObservedObject {
        uid: object.uid.clone(),
        object: object_ref(key, name),
        labels: object.labelled.then_some(label).into_iter().collect(),
        fingerprint: object.fingerprint(),
        deleting: object.deleting,
        origin: Origin::Other,
    }
}

pub fn observed_workplan(workplan: &Workplan) -> ObservedWorkplan {
    let partial = serde_json::from_value(serde_json::to_value(workplan).unwrap()).unwrap();
    ObservedWorkplan::new(&partial).unwrap()
}
