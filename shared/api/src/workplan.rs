use std::collections::BTreeMap;
use std::num::NonZeroU16;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{duration, list_by_step, list_by_type, without_item_rules};
use crate::{
    FolderStatus, PodSettings, Rerun, RetryOn, Step, StepApproval, TriggeredBy, Workspace,
};

/// The tasks to run. Each task becomes one pod.
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
    doc = "A Workplan is one run: tasks of serial and parallel steps. Each task runs as a pod. All pods run on one node and share a folder. A Workflow creates Workplans; you can also create one yourself.",
    validation = Rule::new("self.metadata.name.size() <= 59").message("the name of a Workplan has at most 59 characters"),
    selectable = ".status.phase",
    printcolumn(name = "Workflow", type_ = "string", json_path = r".metadata.labels.kube\.ci/workflow"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Trigger", type_ = "string", json_path = ".spec.trigger.summary"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node", priority = 1),
    printcolumn(name = "Started", type_ = "date", json_path = ".status.startedAt", priority = 1),
    printcolumn(name = "Finished", type_ = "date", json_path = ".status.finishedAt", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
)]
#[x_kube(
    validation = Rule::new("has(self.tasks) || has(self.rerun)")
        .message("a Workplan needs tasks, or rerun with the name of a Workplan that has ended"),
    validation = Rule::new("!has(self.tasks) || self.tasks.size() == 1 || !has(self.workspace) || !has(self.workspace.emptyDir)")
        .message("an emptyDir belongs to one pod; put all steps into one task, or use workspace: {hostPath: {}}"),
    validation = Rule::new("!has(self.order) || self.order != 'Relay' || !has(self.tasks) || self.tasks.all(t, !has(t.SerialSteps) || t.SerialSteps.size() == 0)")
        .message("with order: Relay all steps are in ParallelSteps; move the steps of SerialSteps there and set their dependency"),
    validation = Rule::new("!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)")
        .message("a cancelled Workplan cannot be continued; create another Workplan"),
)]
pub struct WorkplanSpec {
    /// The tasks, in order. They have at most 500 steps together. With `rerun` the operator sets them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 500))]
    pub tasks: Vec<Task>,

    /// The names of the final steps, at most 100. They are in `tasks`, and start when all other steps have ended, in
    /// whatever way. They wait only for final steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub finally: Vec<String>,

    /// Runs another Workplan again. It is the only field to write beside `cancel` and `suspend`: the operator sets
    /// the others as that Workplan has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<Rerun>,

    /// When a task starts. `Linear` (default): after the task before it has ended. `Graph`: after the steps
    /// of other tasks that its own steps depend on have ended. `Relay`: as `Graph`, and inside a task each
    /// step starts as soon as its own dependencies have ended; all steps are in `ParallelSteps`.
    #[serde(default, skip_serializing_if = "Order::is_linear")]
    pub order: Order,

    /// The maximum number of steps that run at the same time, 1 to 500. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub max_parallel: Option<NonZeroU16>,

    /// The volume of the shared folder at `/kubeci`. Default: `hostPath: {}`. `emptyDir: {}` is for a Workplan with a
    /// single task. `keep` leaves a folder on the node for some time.
    #[serde(default, skip_serializing_if = "Workspace::is_default")]
    pub workspace: Workspace,

    /// The event that fired the Workplan. Not set for a Workplan that a user wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggeredBy>,

    /// How long the Workplan may run, such as `10m` or `1h30m`, from the start of its first step. After that
    /// the steps that run are stopped, the others are skipped, and the Workplan fails with the reason
    /// `Timeout`. Default: no limit.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::duration::serialize_some"
    )]
    #[schemars(schema_with = "duration")]
    pub timeout: Option<Duration>,

    /// How long the Workplan may wait for the start of its first step, from its creation. After that it fails
    /// with the reason `PendingTimeout`. Default: the operator's `--pending-timeout`, which is `1h` unless set.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::duration::serialize_some"
    )]
    #[schemars(schema_with = "duration")]
    pub pending_timeout: Option<Duration>,

    /// Whether the first failure of a step ends the Workplan: the steps that run are stopped, the others are
    /// skipped. Default: steps that do not depend on the failed step run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fail_fast: bool,

    /// `true` cancels the Workplan: the steps that run are stopped, the others are skipped, and the phase
    /// becomes `cancelled`. It cannot be set back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,

    /// `true` suspends the Workplan: no pod is created. Pods that run continue. Time limits continue to count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,

    /// Settings of every pod.
    #[serde(flatten)]
    pub pod: PodSettings,
}

/// One pod: serial steps, then parallel steps.
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

    /// Steps that start together after the serial steps, as containers. Without them the task ends with its
    /// last serial step. With `order: Relay` each of them waits for its own dependencies.
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

    /// Whether the task has a pod. An approval has none, and a task of its own.
    #[must_use]
    pub fn has_pod(&self) -> bool {
        self.steps().any(|step| step.approval.is_none())
    }
}

/// When a task of a Workplan starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// A task starts after the task before it has ended.
    #[default]
    Linear,
    /// A task starts after the steps of other tasks that its own steps depend on have ended.
    Graph,
    /// As `Graph`; inside a task each step starts as soon as its own dependencies have ended.
    Relay,
}

impl Order {
    /// Whether this is the default.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's skip_serializing_if passes a reference
    pub fn is_linear(&self) -> bool {
        *self == Self::Linear
    }
}

/// The phase of the Workplan. `pending`: no step has started. `running`: a step has started. `completed`: every
/// step has ended, and none failed without `allowFailure`. `failed`: a step failed, or the plan cannot run.
/// `cancelled`: `spec.cancel` ended it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// No step has started.
    #[default]
    Pending,
    /// A step has started.
    Running,
    /// Every step has ended, and none failed without `allowFailure`.
    Completed,
    /// A step failed, or the plan cannot run.
    Failed,
    /// `spec.cancel` ended it before all steps had ended.
    Cancelled,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the Workplan has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The phase as it is written in a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The phase of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepPhase {
    /// The step has not started: it waits for its dependencies, or for its container.
    #[default]
    Pending,
    /// The step runs.
    Running,
    /// The step ended with exit code 0.
    Completed,
    /// The step ended with another exit code, or could not run.
    Failed,
    /// The step does not run, because a step that it waits for ended otherwise than it needs, or the Workplan was
    /// ended.
    Skipped,
}

impl StepPhase {
    /// Whether the step has ended or was skipped.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped)
    }

    /// Whether the step may have run. A failed step may have failed before its container started.
    #[must_use]
    pub fn has_started(self) -> bool {
        matches!(self, Self::Running | Self::Completed | Self::Failed)
    }
}

/// The observed state of a Workplan. The workplan operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkplanStatus {
    /// The phase of the Workplan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// The reason of the phase, one CamelCase word such as `StepFailed` or `QuotaExceeded`. Not set if there is no
    /// problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// The reason in a few words, with the step that failed: `build: exit code 3`. The column REASON shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,

    /// The index of the first task that has not ended. After the end: of the last task that started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_index: Option<i64>,

    /// The reason of the phase as a sentence, with what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// The node on which the pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,

    /// Set if a rerun uses the folder of the Workplan that it runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderStatus>,

    /// When the first step started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,

    /// When the last step ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,

    /// When all steps that are not final had ended, so that the final steps could start. Not set without `spec.finally`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finally_at: Option<MicroTime>,

    /// The number of completed steps and of all steps, such as `3/5`. A failure that `allowFailure` allows counts as
    /// completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,

    /// The state of each step, in the order of the tasks.
    // An atomic list: as a map by name, the managed fields of 500 steps take 50 KB more, and a write takes
    // twice the CPU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub steps: Vec<StepStatus>,

    /// `Succeeded`: the Workplan has completed. `Suspended`: `spec.suspend` is true. `WorkspaceCleaned`: no
    /// folder is left on the node. `Relayed`: how many steps of an `order: Relay` Workplan share pods.
    /// `PodsEnded`: whether containers that are not steps keep pods running. The message says what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_by_type::<Vec<Condition>>")]
    pub conditions: Vec<Condition>,

    /// The approvals and rejections of steps with `approval`. Users write them; the operator does not change them.
    /// An entry for a step counts as soon as the step waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_by_step::<Vec<StepApproval>>", length(max = 500))]
    pub approvals: Vec<StepApproval>,

    /// The `metadata.generation` of the Workplan that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The observed state of one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// The name of the step.
    pub name: String,

    /// `pending`: the step has not started. `running`: it runs. `completed`: it ended with exit code 0.
    /// `failed`: it ended with another exit code, was stopped, or could not run. `skipped`: it does not run,
    /// because a step that it waits for ended otherwise than it needs, its condition is false, or the Workplan
    /// was ended.
    pub phase: StepPhase,

    /// The name of the step's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,

    /// The name of the step's container. `kubectl logs POD -c CONTAINER` shows its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,

    /// When the step started. With `order: Relay` this is the start of the command, otherwise of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,

    /// When the step ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,

    /// Since when the operator stops the step. `reason` and `message` say why. Not set after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping_since: Option<MicroTime>,

    /// The exit code of the container. Not set if the container did not run to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,

    /// The reason of a failure or of a wait, one CamelCase word: `Error` (the exit code is not 0), `OOMKilled`,
    /// `Timeout`, `Stopped`, `Rejected`, `ImagePullBackOff`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// The reason of the phase in a sentence, and what to do. If the command failed, the end of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Who approved the step, as `status.approvals` names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,

    /// The Workplan in which the step completed, if this one runs only the steps after it. The pod and the log are
    /// there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_over_from: Option<String>,

    /// The outputs of the step: what its command wrote to the file that `KUBECI_OUTPUT` names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// The kind of the failure, as in `retry.on`. Not set if the step has not failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RetryOn>,

    /// When the next attempt starts at the earliest. Set while the step waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<MicroTime>,

    /// The attempts to run the step, in order. Not set if there is only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub attempts: Vec<StepAttempt>,
}

impl StepStatus {
    /// The number of the attempt that the other fields describe, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(1, |attempt| attempt.number)
    }
}

/// An attempt to run a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepAttempt {
    /// The number of the attempt, from 1.
    pub number: u32,

    /// The pod of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,

    /// The container of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,

    /// When the attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,

    /// When the attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,

    /// The exit code of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,

    /// The reason of the failure, one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// The reason of the failure in a sentence, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// The kind of the failure, as in `retry.on`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RetryOn>,
}
