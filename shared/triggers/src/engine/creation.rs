use std::sync::Arc;

use kubeci_api::{TriggeredBy, Workplan};

use crate::{
    dispatch_queue::Dispatch, transition::Transition, uid::Uid, workplan_template::WorkplanTemplate,
};

/// A Workplan to create. It shares the plan with other creations of the same Workflow.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The uid of the Workflow.
    pub workflow: Uid,
    /// The uid of the object.
    pub object: Uid,
    transition: Transition,
    sequence: i64,
    template: Arc<WorkplanTemplate>,
}

impl Creation {
    pub(super) fn new(workflow: Uid, dispatch: Dispatch, template: Arc<WorkplanTemplate>) -> Self {
        Self {
            workflow,
            object: dispatch.uid,
            transition: dispatch.transition,
            sequence: dispatch.sequence,
            template,
        }
    }

    /// The approximate size of the request.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.template.bytes()
    }

    /// The Workplan without its tasks and without the settings of their pods.
    #[must_use]
    pub fn outline(&self) -> Workplan {
        let Transition {
            object,
            event,
            fingerprint,
            previous_head,
        } = &self.transition;
        let trigger = TriggeredBy {
            api_version: object.resource.kind.api_version(),
            kind: object.resource.kind.name.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: self.object.to_string(),
            event: *event,
            token: fingerprint.hash().to_owned(),
            generation: fingerprint.generation(),
            summary: Some(format!(
                "{} {}/{}",
                event.as_str(),
                object.resource.kind.name,
                object.name
            )),
        };
        self.template
            .outline(trigger, previous_head.as_deref(), self.sequence)
    }

    /// The whole Workplan of this outline, as JSON.
    ///
    /// # Errors
    /// It cannot be serialized, which its types exclude.
    pub fn body(&self, outline: &Workplan) -> serde_json::Result<Vec<u8>> {
        self.template.body(outline)
    }

    /// Whether both hold the same plan in memory.
    #[cfg(test)]
    pub(crate) fn shares_plan(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.template, &other.template)
    }

    /// The Workplan as the API server stores it.
    #[cfg(test)]
    pub(crate) fn workplan(&self) -> Workplan {
        let body = self.body(&self.outline()).unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}
