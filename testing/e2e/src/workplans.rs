use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use kubeci_api::{Phase, StepPhase, StepStatus, Task, Workplan, names};
use serde_json::{Value, json};

use crate::{Inspector, Test, eventually, eventually_within, kubectl, workspace_path};

/// What many Workplans at once may take on a small machine.
const MANY: Duration = Duration::from_mins(6);

impl Test {
    /// The Workplans of a Workflow.
    pub async fn workplans(&self, workflow: &str) -> Vec<Workplan> {
        let of_workflow =
            ListParams::default().labels(&format!("{}={workflow}", names::WORKFLOW_LABEL));
        let list = self.api::<Workplan>().list(&of_workflow).await;
        list.expect("a list of Workplans").items
    }

    /// Patches the spec of a Workplan, as a user does.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn patch_workplan(&self, name: &str, spec: Value) -> kube::Result<Workplan> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let plans = self.api::<Workplan>();
        plans.patch(name, &PatchParams::default(), &patch).await
    }

    /// Creates a file in the container of a step that runs.
    ///
    /// # Panics
    /// The step has no pod, or the file cannot be created.
    pub async fn touch(&self, plan: &Workplan, name: &str, file: &str) {
        let pod = step(plan, name).pod.expect("a pod");
        let namespace = self.namespace.as_str();
        let touch = [
            "exec", "-n", namespace, &pod, "-c", name, "--", "touch", file,
        ];
        kubectl(&touch, "").await.expect("a file");
    }

    /// The one Workplan of a Workflow, once it is there.
    pub async fn workplan(&self, workflow: &str) -> Workplan {
        self.workplans_reach(workflow, 1).await.remove(0)
    }

    /// The Workplans of a Workflow, once there are `count` of them; more is a failure.
    pub async fn workplans_reach(&self, workflow: &str, count: usize) -> Vec<Workplan> {
        let plans = eventually(&format!("{count} Workplans of {workflow}"), async || {
            let plans = self.workplans(workflow).await;
            if plans.len() >= count {
                Ok(plans)
            } else {
                Err(crate::fired(&plans))
            }
        })
        .await;
        let fired = crate::fired(&plans);
        assert_eq!(
            plans.len(),
            count,
            "one Workplan for each event of {workflow}: {fired:?}"
        );
        plans
    }

    /// A Workplan, once `is` holds of it.
    pub async fn workplan_when(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&Workplan) -> bool,
    ) -> Workplan {
        let api = self.api::<Workplan>();
        eventually_within(MANY, &format!("Workplan {name} {what}"), async || {
            let plan = api.get(name).await.map_err(|error| error.to_string())?;
            if is(&plan) {
                Ok(plan)
            } else {
                Err(format!("{:?}", plan.status))
            }
        })
        .await
    }

    /// A Workplan, once it says all these words in its reason, summary or message, in capitals or not.
    pub async fn workplan_says(&self, name: &str, words: &[&str]) -> Workplan {
        self.workplan_when(name, &format!("says {words:?}"), |plan| {
            let status = plan.status.clone().unwrap_or_default();
            let said =
                [status.reason, status.summary, status.message].map(Option::unwrap_or_default);
            all_in(&said.join(" "), words)
        })
        .await
    }

    /// A Workplan, once a step of it runs.
    pub async fn runs(&self, name: &str, step: &str) -> Workplan {
        self.workplan_when(name, &format!("runs {step}"), |plan| {
            let mut steps = plan.status.iter().flat_map(|it| &it.steps);
            steps.any(|it| it.name == step && it.phase == StepPhase::Running)
        })
        .await
    }

    /// A Workplan, once it has ended in `phase`; another end is a failure.
    pub async fn ends(&self, name: &str, phase: Phase) -> Workplan {
        let plan = self
            .workplan_when(name, "has ended", |plan| {
                let phase = plan.status.as_ref().and_then(|it| it.phase);
                phase.is_some_and(Phase::is_final)
            })
            .await;
        let status = plan.status.clone().unwrap_or_default();
        assert_eq!(status.phase, Some(phase), "{name}: {status:?}");
        plan
    }

    /// Waits until the operator has let go of a Workplan: its folder is said to be gone and its finalizer is.
    pub async fn cleaned(&self, name: &str) -> Workplan {
        self.workplan_when(name, "is cleaned up", |plan| {
            let mut conditions = plan.status.iter().flat_map(|it| &it.conditions);
            let cleaned =
                conditions.any(|it| it.type_ == "WorkspaceCleaned" && it.status == "True");
            cleaned && plan.finalizers().is_empty()
        })
        .await
    }

    /// Asserts that the folder of a Workplan of `workflow` is gone from every node.
    pub async fn assert_folder_gone(&self, workflow: &str, plan: &str) {
        let path = workspace_path(&self.namespace, workflow, plan);
        Inspector::get(&self.client).await.assert_gone(&path).await;
    }
}

/// The status of a step of a Workplan.
///
/// # Panics
/// When the Workplan's status has no such step.
pub fn step(plan: &Workplan, name: &str) -> StepStatus {
    let mut steps = plan.status.iter().flat_map(|it| &it.steps);
    let found = steps.find(|step| step.name == name);
    found
        .cloned()
        .unwrap_or_else(|| panic!("no step {name} in {:?}", plan.status))
}

/// Asserts that no step of a Workplan started before all that it depends on had ended.
///
/// # Panics
/// When one did, or the status does not say.
pub fn assert_in_order(plan: &Workplan) {
    for dependent in plan.spec.tasks.iter().flat_map(Task::steps) {
        let started = step(plan, &dependent.name).started_at.expect("a start");
        for dependency in &dependent.dependency {
            let ended = step(plan, dependency).finished_at.expect("an end");
            assert!(ended <= started, "{dependency}, then {}", dependent.name);
        }
    }
}

/// The status of a Workplan without times, its node and its own name. Equal for runs with equal results.
pub fn status_text(plan: &Workplan) -> String {
    let mut status = plan.status.clone().unwrap_or_default();
    let node = status.node.take().unwrap_or_default();
    (status.started_at, status.finished_at) = (None, None);
    for step in &mut status.steps {
        (step.started_at, step.finished_at) = (None, None);
    }
    for condition in &mut status.conditions {
        condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
    }
    let text = format!("{status:#?}").replace(&plan.name_any(), "NAME");
    text.replace(&format!("the node {node}"), "the node")
}

/// How much later `end` is than `start`, zero when it is not.
///
/// # Panics
/// When one of them is absent.
pub fn duration_between(start: Option<&MicroTime>, end: Option<&MicroTime>) -> Duration {
    let (start, end) = (start.expect("a start"), end.expect("an end"));
    Duration::try_from(end.0.duration_since(start.0)).unwrap_or_default()
}

/// Whether a text has all these words, in capitals or not.
pub fn all_in(text: &str, words: &[&str]) -> bool {
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(&word.to_lowercase()))
}
