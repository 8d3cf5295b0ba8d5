use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{list_by_type, without_item_rules};
use crate::{PodSettings, Step, TriggeredBy, WorkspaceKind};

/// The tasks to run, each as one pod.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kube.ci",
    version = "v1alpha1",
    kind = "Workplan",
    namespaced,
    status = "WorkplanStatus",
    derive = "PartialEq",
    shortname = "wp",
    category = "kubeci",
    doc = "A Workplan is one run of a Workflow: tasks of serial and parallel steps, each task a pod, all pods with one shared folder on one node.",
    validation = Rule::new("self.metadata.name.size() <= 59").message("the name of a Workplan has at most 59 characters, so that the names of its pods fit"),
    selectable = ".status.phase",
    printcolumn(name = "Workflow", type_ = "string", json_path = r".metadata.labels.kube\.ci/workflow"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Trigger", type_ = "string", json_path = ".spec.trigger.name"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node", priority = 1),
    printcolumn(name = "Started", type_ = "date", json_path = ".status.startedAt", priority = 1),
    printcolumn(name = "Finished", type_ = "date", json_path = ".status.finishedAt", priority = 1),
)]
#[x_kube(
    validation = Rule::new("!has(self.workspace) || self.workspace != 'emptyDir' || self.tasks.size() == 1")
        .message("an emptyDir is a folder of one pod; put all steps into one task or use workspace: hostPath"),
    validation = Rule::new("!has(self.order) || self.order != 'Relay' || self.tasks.all(t, !has(t.SerialSteps) || t.SerialSteps.size() == 0)")
        .message("with order: Relay all steps stand in ParallelSteps, each with its dependencies; move those of SerialSteps there"),
)]
pub struct WorkplanSpec {
    /// The pods to run, in order.
    #[schemars(length(min = 1, max = 500))]
    pub tasks: Vec<Task>,

    /// How the tasks, and the steps inside them, follow each other. Absent: `Linear`.
    #[serde(default, skip_serializing_if = "Order::is_linear")]
    pub order: Order,

    /// What the shared folder is. `hostPath` (default): a folder of the node. `emptyDir`: a folder of the
    /// pod, for a single task.
    #[serde(default, skip_serializing_if = "WorkspaceKind::is_host_path")]
    pub workspace: WorkspaceKind,

    /// The event that fired it; absent when somebody wrote it by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggeredBy>,

    /// What holds for every pod.
    #[serde(flatten)]
    pub pod: PodSettings,
}

/// One pod: steps one after the other, then steps at the same time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("(has(self.SerialSteps) && self.SerialSteps.size() > 0) || (has(self.ParallelSteps) && self.ParallelSteps.size() > 0)")
        .message("a task needs at least one step in SerialSteps or ParallelSteps"),
)]
pub struct Task {
    /// Steps that run one after the other, as init containers.
    #[serde(rename = "SerialSteps", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), transform = without_item_rules, extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub serial_steps: Vec<Step>,

    /// Steps that start together after the serial ones. Absent: the task ends with its last serial step.
    #[serde(
        rename = "ParallelSteps",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 500), transform = without_item_rules, extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parallel_steps: Vec<Step>,
}

impl Task {
    /// All steps of the task, the serial ones first.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.serial_steps.iter().chain(&self.parallel_steps)
    }
}

/// How the tasks of a Workplan follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// Each task starts when the one before it has ended.
    #[default]
    Linear,
    /// A task starts when the steps outside it that its own steps depend on have ended.
    Graph,
    /// As `Graph`, and inside a task each parallel step starts as soon as its own dependencies have ended.
    Relay,
}

impl Order {
    /// Whether this is the order that need not be said.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's skip_serializing_if passes a reference
    pub fn is_linear(&self) -> bool {
        *self == Self::Linear
    }
}

/// Where a Workplan is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// No step has started.
    #[default]
    Pending,
    /// A step has started.
    Running,
    /// Every step has completed.
    Completed,
    /// A step failed, or the plan cannot run.
    Failed,
}

impl Phase {
    /// Whether nothing more will run.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// The phase as it is written in a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// Where a step is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepPhase {
    /// It has not started: it waits for its turn, or for its container.
    #[default]
    Pending,
    /// It runs.
    Running,
    /// It ended with exit code 0.
    Completed,
    /// It ended otherwise, or could not run.
    Failed,
    /// It will not run, because a step that it depends on did not complete.
    Skipped,
}

impl StepPhase {
    /// Whether the step will not change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped)
    }

    /// Whether the step may have run: a failed one too, though it may have failed before.
    #[must_use]
    pub fn has_started(self) -> bool {
        matches!(self, Self::Running | Self::Completed | Self::Failed)
    }
}

/// How a Workplan is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkplanStatus {
    /// `pending`, `running`, `completed` or `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// Why it is in this phase, in one CamelCase word: `StepFailed`, `QuotaExceeded`. Absent while all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// The reason in a few words, with the step at fault: `build: exit code 3`. The column REASON shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,

    /// The lowest index of a task that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_index: Option<i64>,

    /// Why it is in this phase, in a sentence, with what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// The node on which its pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,

    /// When its first step started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,

    /// When its last step ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,

    /// Steps completed, of all: `3/5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,

    /// Each step, in the order of the tasks.
    // One list to the API server: told apart by name, who owns each field of each step is 50 KB more
    // of 500 steps, and twice the work of a write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub steps: Vec<StepStatus>,

    /// `Succeeded`, `WorkspaceCleaned`, `Relayed` and `PodsEnded`: whether it holds, why, and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_by_type::<Vec<Condition>>")]
    pub conditions: Vec<Condition>,

    /// The generation of the Workplan that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// How one step is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// The step.
    pub name: String,

    /// `pending`, `running`, `completed`, `failed` or `skipped`.
    pub phase: StepPhase,

    /// The pod in which it runs or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,

    /// The container in which it runs or ran, for `kubectl logs POD -c CONTAINER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,

    /// When its command started; its container, in a pod whose steps do not hand over inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,

    /// When its command ended, or its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,

    /// The exit code of its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,

    /// Why it failed or cannot start, in one CamelCase word: `Error` (its exit code is not 0), `OOMKilled`,
    /// `ImagePullBackOff`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// Why it is in this phase, and what to do about it; the end of its log where its command failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Each attempt to run it, the first one first. Absent if there is only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub attempts: Vec<StepAttempt>,
}

impl StepStatus {
    /// The number of the attempt that the other fields are about; the first one has 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(1, |attempt| attempt.number)
    }
}

/// One attempt to run a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepAttempt {
    /// Its number; the first one has 1.
    pub number: u32,

    /// The pod in which it runs or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,

    /// The container in which it runs or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,

    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,

    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,

    /// The exit code of its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,

    /// Why it failed, in one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// Why it failed, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
