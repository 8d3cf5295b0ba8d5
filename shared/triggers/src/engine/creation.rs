use std::sync::Arc;

use kubeci_api::{TriggeredBy, Workplan};

use crate::{dispatch_queue::Firing, object::Uid, transition::Fire, workplan_template::Template};

/// A Workplan to create. While it waits for its turn it holds the event, and shares the plan.
#[derive(Clone, Debug)]
pub struct Creation {
    pub workflow: Uid,
    pub object: Uid,
    fire: Fire,
    sequence: i64,
    template: Arc<Template>,
}

impl Creation {
    pub(super) fn new(workflow: Uid, firing: Firing, template: Arc<Template>) -> Self {
        let Firing {
            uid,
            fire,
            sequence,
        } = firing;
        Self {
            workflow,
            object: uid,
            fire,
            sequence,
            template,
        }
    }

    /// About how many bytes the request takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.template.bytes()
    }

    /// The Workplan without its tasks and without what holds for their pods.
    #[must_use]
    pub fn outline(&self) -> Workplan {
        let fire = &self.fire;
        let trigger = TriggeredBy {
            api_version: fire.object.resource.kind.api_version(),
            kind: fire.object.resource.kind.name.clone(),
            namespace: fire.object.namespace.clone(),
            name: fire.object.name.clone(),
            uid: self.object.to_string(),
            event: fire.event,
            token: fire.token.clone(),
        };
        let previous = fire.previous.as_deref();
        self.template.outline(trigger, previous, self.sequence)
    }

    /// The Workplan of this outline in full, as JSON.
    ///
    /// # Errors
    /// It cannot be serialized, which its types exclude.
    pub fn body(&self, outline: &Workplan) -> serde_json::Result<Vec<u8>> {
        self.template.body(outline)
    }

    #[cfg(test)]
    pub fn shares_plan(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.template, &other.template)
    }

    /// The Workplan as the API server stores it.
    #[cfg(test)]
    #[must_use]
    pub fn workplan(&self) -> Workplan {
        let body = self.body(&self.outline()).unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}
