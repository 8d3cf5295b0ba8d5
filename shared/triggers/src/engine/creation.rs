use std::sync::Arc;

use kubeci_api::{TriggeredBy, Workplan};

use crate::{
    dispatch_queue::Dispatch, object::Uid, transition::Transition, workplan_template::Template,
};

/// A Workplan to create. While it waits for its turn it holds the event, and shares the plan.
#[derive(Clone, Debug)]
pub struct Creation {
    pub workflow: Uid,
    pub object: Uid,
    transition: Transition,
    sequence: i64,
    template: Arc<Template>,
}

impl Creation {
    pub(super) fn new(workflow: Uid, dispatch: Dispatch, template: Arc<Template>) -> Self {
        let Dispatch {
            uid,
            transition,
            sequence,
        } = dispatch;
        Self {
            workflow,
            object: uid,
            transition,
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
        let transition = &self.transition;
        let trigger = TriggeredBy {
            api_version: transition.object.resource.kind.api_version(),
            kind: transition.object.resource.kind.name.clone(),
            namespace: transition.object.namespace.clone(),
            name: transition.object.name.clone(),
            uid: self.object.to_string(),
            event: transition.event,
            token: transition.hash.clone(),
        };
        let previous = transition.previous_head.as_deref();
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
