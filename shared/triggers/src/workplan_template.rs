//! The Workplan of a Workflow, serialized once. An event adds the metadata and the trigger.

use kube_core::Resource;
use kubeci_api::{TriggeredBy, Workflow, WorkflowSpec, Workplan, names};
use kubeci_compiler::{Plan, workplan, workplan_spec};

/// A compiled Workflow of one generation. The template holds the tasks as JSON, which takes less memory than the
/// types. The JSON is copied only into the body of a request.
#[derive(Debug)]
pub struct WorkplanTemplate {
    /// The Workflow without its steps.
    workflow: Workflow,
    /// The plan without its tasks.
    plan: Plan,
    /// The Workplan's spec without the trigger: `{"tasks":...}`.
    spec: String,
    /// The number of steps and of tasks.
    pub size: (usize, usize),
    /// The warnings of the compiler.
    pub warnings: Vec<String>,
}

impl WorkplanTemplate {
    /// The template of a Workflow and its plan.
    ///
    /// # Errors
    /// The plan cannot be serialized, which its types exclude.
    pub fn new(workflow: Workflow, plan: Plan, warnings: Vec<String>) -> serde_json::Result<Self> {
        let (order, workspace) = (plan.order, workflow.spec.workspace);
        let steps = workflow.spec.steps.len() + workflow.spec.finally.len();
        let size = (steps, plan.tasks.len());
        let spec = workplan_spec(&workflow.spec, plan, None);
        let mut metadata = workflow.metadata;
        metadata.managed_fields = None;
        metadata.annotations = None;
        Ok(Self {
            spec: serde_json::to_string(&spec)?,
            workflow: Workflow {
                metadata,
                spec: WorkflowSpec {
                    workspace,
                    ..WorkflowSpec::default()
                },
                status: None,
            },
            plan: Plan {
                order,
                tasks: Vec::new(),
                finally: Vec::new(),
            },
            size,
            warnings,
        })
    }

    /// The generation of the Workflow.
    #[must_use]
    pub fn generation(&self) -> Option<i64> {
        self.workflow.metadata.generation
    }

    /// The approximate size of a request that creates a Workplan.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.spec.len()
    }

    /// The Workplan of an event without its tasks and without the settings of their pods.
    #[must_use]
    pub fn outline(
        &self,
        trigger: TriggeredBy,
        previous_head: Option<&str>,
        sequence: i64,
    ) -> Workplan {
        let mut outline = workplan(&self.workflow, &self.plan, trigger, previous_head);
        let labels = outline.metadata.labels.get_or_insert_default();
        labels.insert(names::SEQUENCE_LABEL.to_owned(), sequence.to_string());
        outline
    }

    /// The whole Workplan of an outline, as JSON.
    ///
    /// # Errors
    /// The outline cannot be serialized, which its types exclude.
    pub fn body(&self, outline: &Workplan) -> serde_json::Result<Vec<u8>> {
        let api_version = serde_json::to_string(&Workplan::api_version(&()))?;
        let kind = serde_json::to_string(&Workplan::kind(&()))?;
        let metadata = serde_json::to_string(&outline.metadata)?;
        let trigger = serde_json::to_string(&outline.spec.trigger)?;
        // A spec has at least one task, so that a comma may follow the trigger.
        let rest = self.spec.strip_prefix('{').unwrap_or(&self.spec);
        let body = format!(
            r#"{{"apiVersion":{api_version},"kind":{kind},"metadata":{metadata},"spec":{{"trigger":{trigger},{rest}}}"#
        );
        Ok(body.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use kubeci_api::TriggerEvent;
    use kubeci_compiler::{Settings, compile_workflow};
    use serde_json::json;

    use super::*;

    #[test]
    fn body_equals_the_compiled_workplan() {
        let workflow = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow",
            "metadata": {"name": "w", "namespace": "own", "uid": "workflow", "generation": 3},
            "spec": {
                "steps": [
                    {"name": "a", "image": "b", "args": ["\"}{,\u{e4}\n"]},
                    {"name": "c", "image": "d", "dependency": ["a"], "env": [{"name": "E", "value": "v"}]},
                ],
                "finally": [{"name": "f", "image": "g"}],
                "maxParallel": 2, "serviceAccountName": "builder", "nodeSelector": {"disk": "ssd"},
            },
        });
        let workflow: Workflow = serde_json::from_value(workflow).unwrap();
        let plan = compile_workflow(&workflow.spec, &Settings::default()).unwrap();
        let trigger = TriggeredBy {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: Some("own".to_owned()),
            name: "o".to_owned(),
            uid: "u".to_owned(),
            event: TriggerEvent::Add,
            token: "1".to_owned(),
            generation: Some(4),
            summary: None,
        };
        let mut whole = workplan(&workflow, &plan, trigger.clone(), Some("before"));
        let labels = whole.metadata.labels.as_mut().unwrap();
        labels.insert(names::SEQUENCE_LABEL.to_owned(), "7".to_owned());

        let template = WorkplanTemplate::new(workflow, plan, Vec::new()).unwrap();
        let outline = template.outline(trigger, Some("before"), 7);
        assert!(outline.spec.tasks.is_empty());
        let body = template.body(&outline).unwrap();
        let sent: Workplan = serde_json::from_slice(&body).unwrap();
        assert_eq!(sent, whole);
        assert_eq!(template.size, (3, 2));
    }
}
